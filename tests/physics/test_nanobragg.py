"""Absolute intensity, spot shape and polarisation against nanoBragg (J. Holton).

Two noiseless monochromatic images of a crystal of 20 x 20 x 20 cells, brute force, with known
structure factors: as a table of their spots in ``tests/data``, and pixel by pixel where the images
are at hand. A pixel of theirs holds the value at 7/8 of its edges, the last of 4 x 4 points,
instead of its mean: with the detector moved by 3/8 pixel and one point a pixel, our plain sum gives
the images to 0.3 %, and any other displacement or number of points does not.
"""

import h5py
import numpy as np
import pytest

from data.make import HALF, moments
from data.make import spots as listed
from hitfinder.crystal.cell import Cell
from hitfinder.crystal.reflections import StructureFactors
from hitfinder.geometry.detector import Detector, Panel
from hitfinder.geometry.geometry import Geometry
from hitfinder.simulation.bragg import Beam, Crystal, bragg_spots
from hitfinder.simulation.spectrum import tophat
from oracles.bruteforce import brute_force_image

SIZE, DISPLACEMENT = 1024, 0.375
CELL = Cell(67.288, 67.288, 106.582)
EDGES = (20 * CELL.a, 20 * CELL.b, 20 * CELL.c)
IMAGES = {"mono_polarised_x": 1.0, "mono_unpolarised_off": 0.5}


def read(path, name):
    """Spots or image of a name, polarisation, axes, and structure factors."""
    with h5py.File(path) as file:
        factors = StructureFactors(
            CELL, "P 43 21 2", file["hkl"][:], file["F"][:].astype(float) ** 2
        )
        axes = file[name].attrs["reciprocal_axes_inv_angstrom"]
        return file[name][:], IMAGES[name], axes, factors


@pytest.fixture(params=IMAGES)
def table(request, reference_data):
    """Table of spots, polarisation, axes, and structure factors."""
    return read(reference_data / "nanobragg_spots.h5", request.param)


@pytest.fixture(params=IMAGES)
def image(request, shared):
    """Reference image, polarisation, axes, and structure factors."""
    return read(shared / "nanobragg" / "nanobragg_small_crystal.h5", request.param)


def geometry(centre=SIZE / 2):
    corner = -centre + DISPLACEMENT
    panel = Panel("p", 0, 0, SIZE, SIZE, corner, corner)
    return Geometry(Detector("square", (SIZE, SIZE), (panel,)), 0.15, 6000.0)


def simulated(axes, factors, polarisation, shape="parallelepiped"):
    crystal = Crystal(axes, EDGES, shape, fringes=5)
    beam = Beam(tophat(6000.0, 0.0), 1e24, polarisation)
    spots = bragg_spots(factors, geometry(), beam, crystal, min_photons=1.0)
    out = np.zeros((SIZE, SIZE))
    spots.deposit(out)
    return out


def windows(spots):
    """Windows of the listed spots."""
    for fs, ss in zip(spots["fs"], spots["ss"], strict=True):
        yield np.s_[ss - HALF : ss + HALF + 1, fs - HALF : fs + HALF + 1]


def ratios(ours, spots):
    return np.array([ours[w].sum() for w in windows(spots)]) / spots["photons"]


def test_photons_per_spot_within_three_percent(table):
    spots, polarisation, axes, factors = table
    found = ratios(simulated(axes, factors, polarisation), spots)
    assert len(found) >= 10
    assert np.abs(found - 1).max() < 0.03


def one_point_a_pixel(monkeypatch):
    middle = (np.zeros(1), np.full(1, 2.0))
    monkeypatch.setattr(np.polynomial.legendre, "leggauss", lambda _: middle)


def numbers(ours, spots):
    """Photons, brightest pixel, centroid and second moments of spots: ours, and those listed."""
    got = [moments(ours, fs, ss) for fs, ss in zip(spots["fs"], spots["ss"], strict=True)]
    names = spots.dtype.names[2:]
    return np.array(got).T, np.array([spots[name] for name in names])


def test_place_and_width_of_every_spot(table, monkeypatch):
    one_point_a_pixel(monkeypatch)
    spots, polarisation, axes, factors = table
    ours, theirs = numbers(simulated(axes, factors, polarisation), spots)
    np.testing.assert_allclose(ours[:2], theirs[:2], rtol=0.02)
    np.testing.assert_allclose(ours[2:4], theirs[2:4], atol=0.01)
    np.testing.assert_allclose(ours[4:], theirs[4:], atol=0.05)


def test_shape_of_every_spot(image, monkeypatch):
    one_point_a_pixel(monkeypatch)
    reference, polarisation, axes, factors = image
    ours = simulated(axes, factors, polarisation)
    for window in windows(listed(reference)):
        difference = np.abs(ours[window] - reference[window]).sum()
        assert difference < 0.02 * reference[window].sum()
        assert np.corrcoef(ours[window].ravel(), reference[window].ravel())[0, 1] > 0.9999


@pytest.mark.parametrize("wrong", [None, 0.0])
def test_three_percent_needs_the_right_polarisation(table, wrong):
    """Without the factor, or polarised along the other axis, spots leave the three percent."""
    spots, _, axes, factors = table
    ours = simulated(axes, factors, wrong)
    assert np.abs(ratios(ours, spots) - 1).max() > 0.03


def test_solid_angle_and_structure_factors_are_seen(table):
    spots, polarisation, axes, factors = table
    ours = simulated(axes, factors, polarisation)
    solid_angle = geometry().pixels.solid_angle
    assert np.abs(ratios(ours / solid_angle * solid_angle.max(), spots) - 1).max() > 0.03
    assert np.abs(ratios(ours**1.02, spots) - 1).max() > 0.03


def test_gaussian_shape_is_no_substitute_for_the_fringes(table):
    spots, polarisation, axes, factors = table
    ours = simulated(axes, factors, polarisation, "gaussian")
    assert np.abs(ratios(ours, spots) - 1).max() > 0.1


def plain_sum(axes, factors, polarisation, centre=SIZE / 2):
    crystal = Crystal(axes, EDGES, "parallelepiped")
    beam = Beam(tophat(6000.0, 0.0), 1e24, polarisation)
    return brute_force_image(factors, geometry(centre), beam, crystal, 1, 1)


def test_plain_sum_gives_the_same_spots(table):
    """The oracle of the fast way, held to the same spots.

    It sums (sin x / x)², nanoBragg (sin N x / sin x)², a little more away from the peak.
    """
    spots, polarisation, axes, factors = table
    ours, theirs = numbers(plain_sum(axes, factors, polarisation), spots)
    np.testing.assert_allclose(ours[:2].sum(1), theirs[:2].sum(1), rtol=0.005)
    np.testing.assert_allclose(ours[:2], theirs[:2], rtol=0.02)
    np.testing.assert_allclose(ours[2:4], theirs[2:4], atol=0.005)
    np.testing.assert_allclose(ours[4:], theirs[4:], atol=0.02)
    moved, _ = numbers(plain_sum(axes, factors, polarisation, SIZE / 2 + 0.05), spots)
    assert np.abs(moved[2:4] - theirs[2:4]).max() > 0.04


def test_plain_sum_gives_the_same_image(image):
    """The same pixel by pixel."""
    reference, polarisation, axes, factors = image
    ours = plain_sum(axes, factors, polarisation)
    bright = reference > 3
    assert bright.sum() > 200
    assert np.abs(ours - reference)[bright].sum() < 0.005 * reference[bright].sum()
    other = plain_sum(axes, factors, polarisation, SIZE / 2 + 0.05)
    assert np.abs(other - reference)[bright].sum() > 0.03 * reference[bright].sum()

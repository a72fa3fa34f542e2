"""Spots against the closed formula, a plain sum over pixels, and a Monte Carlo of the blur."""

import dataclasses

import numpy as np
import pytest

from hitfinder.crystal.cell import Cell
from hitfinder.crystal.orientation import random_rotation
from hitfinder.crystal.reflections import StructureFactors
from hitfinder.geometry.detector import Detector, Panel
from hitfinder.geometry.geometry import Geometry
from hitfinder.simulation.bragg import Beam, Crystal, bragg_spots
from hitfinder.simulation.rng import random_state
from hitfinder.simulation.spectrum import Spectrum, gaussian, tophat
from hitfinder.units import CLASSICAL_ELECTRON_RADIUS_M, HC_EV_ANGSTROM
from oracles.bruteforce import brute_force_image

CELL = Cell(40, 45, 50)
ENERGY = 7000.0
WAVELENGTH = HC_EV_ANGSTROM / ENERGY


def one_reflection(hkl=(3, -2, 1), f_squared=2.0e5):
    table = np.array([hkl], np.int16)
    return StructureFactors(CELL, "P 1", table, np.array([f_squared]))


def axes_for(hkl, azimuth, offset=0.0):
    """Turn the crystal so that hkl diffracts at ENERGY towards an azimuth.

    `offset` moves the wavelength of exact diffraction by that fraction.
    """
    g = CELL.reciprocal @ np.array(hkl, float)
    length = np.linalg.norm(g)
    sine = WAVELENGTH * (1 + offset) * length / 2
    across = np.sqrt(1 - sine**2)
    target = length * np.array([across * np.cos(azimuth), across * np.sin(azimuth), -sine])
    rotation = rotation_between(g / length, target / length)
    return rotation @ CELL.reciprocal


def rotation_between(a, b):
    axis, cosine = np.cross(a, b), a @ b
    k = np.array([[0, -axis[2], axis[1]], [axis[2], 0, -axis[0]], [-axis[1], axis[0], 0]])
    return np.eye(3) + k + k @ k / (1 + cosine)


def flat_detector(size=200, camera_length_m=0.04, pixel_size_m=7.5e-5, **changes):
    panel = Panel("p", 0, 0, size, size, -size / 2, -size / 2, pixel_size_m=pixel_size_m)
    return Geometry(Detector("flat", (size, size), (panel,)), camera_length_m, ENERGY, **changes)


def image_of(spots, geometry):
    image = np.zeros(geometry.shape)
    spots.deposit(image)
    return image


def formula(hkl, f_squared, beam, crystal, azimuth):
    """N = I_λ r_e² λ⁴ |F|² V P / (2 V_cell² sin²θ), in SI units."""
    g = np.linalg.norm(CELL.reciprocal @ np.array(hkl, float))
    sine, lam = WAVELENGTH * g / 2, WAVELENGTH * 1e-10
    k = 1 / WAVELENGTH
    density = np.interp(k, beam.spectrum.k, beam.spectrum.density) * 1e-10  # photons per m⁻¹
    per_wavelength = beam.fluence_m2 * density / lam**2
    two_theta = 2 * np.arcsin(sine)
    volume, cell = crystal.n_cells * CELL.volume_a3 * 1e-30, CELL.volume_a3 * 1e-30
    p = 1.0
    if beam.polarisation is not None:
        x, y = np.sin(two_theta) * np.array([np.cos(azimuth), np.sin(azimuth)])
        p = 1 - beam.polarisation * x * x - (1 - beam.polarisation) * y * y
    r_e = CLASSICAL_ELECTRON_RADIUS_M
    return per_wavelength * r_e**2 * lam**4 * f_squared * volume * p / (2 * cell**2 * sine**2)


@pytest.mark.parametrize("hkl", [(1, 0, 1), (3, -2, 1), (8, 3, 5)])
@pytest.mark.parametrize("polarisation", [None, 1.0, 0.25])
@pytest.mark.parametrize("spectrum", [tophat(ENERGY, 0.02), gaussian(ENERGY, 0.02)])
def test_photons_of_a_full_reflection_are_those_of_the_formula(hkl, polarisation, spectrum):
    azimuth = 0.4
    beam = Beam(spectrum, 1e19, polarisation)
    crystal = Crystal(axes_for(hkl, azimuth), (1e6, 1.2e6, 1.5e6))
    geometry = flat_detector(400, 0.025)
    spots = bragg_spots(one_reflection(hkl), geometry, beam, crystal)
    assert len(spots) == 1
    expected = formula(hkl, 2.0e5, beam, crystal, azimuth)
    # A Gaussian spectrum bends over the width of the reflection: (width / bandwidth)² at most.
    assert spots.table["photons"][0] == pytest.approx(expected, rel=4e-3)
    assert image_of(spots, geometry).sum() == pytest.approx(spots.table["photons"][0], rel=1e-5)


def test_wrong_powers_of_the_formula_would_be_seen():
    """The comparison above cannot pass without the Lorentz factor or the polarisation."""
    ratios = []
    for hkl in ((1, 0, 1), (8, 3, 5)):
        beam = Beam(tophat(ENERGY, 0.02), 1e19, 1.0)
        crystal = Crystal(axes_for(hkl, 0.4), (1e6, 1.2e6, 1.5e6))
        photons = bragg_spots(one_reflection(hkl), flat_detector(400, 0.025), beam, crystal)
        g = np.linalg.norm(CELL.reciprocal @ np.array(hkl, float))
        sine2 = (WAVELENGTH * g / 2) ** 2
        ratios.append(photons.table["photons"][0] * sine2 / formula(hkl, 2e5, beam, crystal, 0.4))
    assert ratios[1] / ratios[0] > 2
    unpolarised = dataclasses.replace(beam, polarisation=None)
    assert formula(hkl, 2e5, unpolarised, crystal, 0.4) > 1.02 * formula(
        hkl, 2e5, beam, crystal, 0.4
    )


def test_position_and_labels_of_a_spot():
    geometry = flat_detector(400, 0.05)
    crystal = Crystal(axes_for((3, -2, 1), 2.0), (1e5,) * 3)
    spot = bragg_spots(one_reflection(), geometry, Beam(tophat(ENERGY, 0.01), 1e19), crystal).table[
        0
    ]
    assert (spot["h"], spot["k"], spot["l"]) == (3, -2, 1)
    two_theta = 2 * np.arcsin(WAVELENGTH / 2 / spot["d_a"])
    radius = 0.05 * np.tan(two_theta) / 7.5e-5
    assert spot["fs"] == pytest.approx(200 + radius * np.cos(2.0), abs=0.01)
    assert spot["ss"] == pytest.approx(200 + radius * np.sin(2.0), abs=0.01)
    assert spot["wavelength_a"] == pytest.approx(WAVELENGTH, rel=1e-4)
    assert spot["d_a"] == pytest.approx(CELL.inv_d_squared(np.array([[3, -2, 1]]))[0] ** -0.5)


def test_friedel_mate_is_labelled_as_such():
    crystal = Crystal(axes_for((-3, 2, -1), 1.0), (1e5,) * 3)
    table = dataclasses.replace(one_reflection(), f_squared_minus=np.array([8.0e5]))
    beam = Beam(tophat(ENERGY, 0.01), 1e19)
    spot = bragg_spots(table, flat_detector(), beam, crystal).table[0]
    assert (spot["h"], spot["k"], spot["l"]) == (-3, 2, -1)
    plain = bragg_spots(one_reflection(), flat_detector(), beam, crystal).table[0]
    assert spot["photons"] == pytest.approx(4 * plain["photons"], rel=1e-5)


@pytest.mark.parametrize("offset", [-0.0105, -0.0097, 0.0, 0.0101, 0.0104])
def test_edges_of_the_band_cut_a_reflection_smoothly(offset):
    """Share inside a top-hat: the normal integral of the point's width over the band."""
    from scipy.stats import norm

    hkl = (3, -2, 1)
    crystal = Crystal(axes_for(hkl, 0.3, offset), (1e4,) * 3)
    beam = Beam(tophat(ENERGY, 0.02), 1e19, None)
    wide = Beam(tophat(ENERGY, 0.2), 1e20, None)
    geometry = flat_detector(camera_length_m=0.04)
    part, full = (
        bragg_spots(one_reflection(hkl), geometry, b, crystal, min_photons=0).table["photons"]
        for b in (beam, wide)
    )
    g = np.linalg.norm(CELL.reciprocal @ np.array(hkl, float))
    width = 1 / (np.sqrt(2 * np.pi) * 1e4)
    two_sine2 = 2 * (WAVELENGTH * (1 + offset) * g / 2) ** 2
    sigma = width / two_sine2 * WAVELENGTH
    centre = 1 / (1 + offset) - 1
    share = norm.cdf((0.01 - centre) / sigma) - norm.cdf((-0.01 - centre) / sigma)
    assert part[0] / full[0] == pytest.approx(share, rel=0.02)


@pytest.mark.parametrize(
    ("spectrum", "steps", "edge"),
    [(tophat(ENERGY, 0.03), 120, 600.0), (tophat(ENERGY, 0.0), 1, 700.0)],
)
def test_spots_equal_a_sum_over_pixels(spectrum, steps, edge):
    """Small crystals, where pixels sample the lattice points: every pixel of every spot."""
    rng = np.random.default_rng(2)
    hkl = np.array([(h, k, el) for h in range(-4, 5) for k in range(-4, 5) for el in (1, 2, 3)])
    table = StructureFactors(CELL, "P 1", hkl.astype(np.int16), rng.uniform(1e4, 1e6, len(hkl)))
    geometry = flat_detector(100, 0.06, 1e-4)
    beam = Beam(spectrum, 1e24, 1.0)
    crystal = Crystal(axes_for((2, 1, 2), 0.8), (edge,) * 3)
    fast = image_of(bragg_spots(table, geometry, beam, crystal, min_photons=0), geometry)
    slow = brute_force_image(table, geometry, beam, crystal, steps, 3)
    assert slow.max() > 1e-2
    assert fast.sum() == pytest.approx(slow.sum(), rel=0.02)
    assert np.abs(fast - slow).max() < 0.03 * slow.max()
    twisted = dataclasses.replace(crystal, axes=axes_for((2, 1, 2), 0.82))
    other = image_of(bragg_spots(table, geometry, beam, twisted, min_photons=0), geometry)
    assert np.abs(other - slow).max() > 0.2 * slow.max()


@pytest.mark.parametrize("shape", ["parallelepiped", "sphere"])
@pytest.mark.parametrize(("bandwidth", "steps"), [(0.0, 1), (0.02, 60)])
def test_fringes_equal_a_sum_over_pixels(shape, bandwidth, steps):
    """One reflection: the sum gives each pixel to the nearest one, fringes and all."""
    geometry = flat_detector(180, 0.06, 1e-4)
    beam = Beam(tophat(ENERGY, bandwidth), 1e24, 0.5)
    crystal = Crystal(axes_for((2, 1, 2), 0.8, 0.004), (600.0, 500.0, 550.0), shape, fringes=5)
    table = one_reflection((2, 1, 2))
    spots = bragg_spots(table, geometry, beam, crystal, min_photons=0)
    fast, slow = (
        image_of(spots, geometry),
        brute_force_image(table, geometry, beam, crystal, steps, 4),
    )
    assert fast.sum() == pytest.approx(slow.sum(), rel=0.03)
    assert np.abs(fast - slow).max() < 0.01 * slow.max()
    assert (fast > 1e-4 * slow.max()).sum() > 100


def monte_carlo(hkl, f_squared, geometry, beam, crystal, n=200_000):
    """Sample the blur: each sample of lattice point and beam diffracts at its own wavenumber."""
    rng = np.random.default_rng(11)
    g = crystal.axes @ np.array(hkl, float)
    factor = np.linalg.cholesky(crystal.point_covariance)
    turn = (
        rng.normal(0, crystal.mosaicity_rad, (n, 3)) if crystal.mosaicity_rad else np.zeros((n, 3))
    )
    points = g + np.cross(turn, g) + rng.standard_normal((n, 3)) @ factor.T
    tilt = rng.normal(0, max(beam.divergence_rad, 1e-12), (n, 2))
    direction = np.column_stack([tilt, np.ones(n)])
    direction /= np.linalg.norm(direction, axis=1)[:, None]
    k = -(points**2).sum(1) / (2 * (points * direction).sum(1))
    out = points / k[:, None] + direction
    spectrum = beam.spectrum
    density = np.interp(k, spectrum.k, spectrum.density, left=0, right=0)
    one_minus = 1 - (out * direction).sum(1)
    polarisation = 1 - out[:, 0] ** 2
    weight = density / (k**2 * one_minus) * polarisation
    photons = weight.mean() * beam.fluence_m2 * CLASSICAL_ELECTRON_RADIUS_M**2 * f_squared
    photons *= crystal.n_cells / crystal.cell_volume_a3
    panel = geometry.detector.panels[0]
    scale = geometry.camera_length_m / panel.pixel_size_m
    xy = out[:, :2] / out[:, 2:] * scale - [panel.corner_x, panel.corner_y]
    mean = np.average(xy, axis=0, weights=weight)
    return photons, mean, np.cov(xy.T, aweights=weight)


@pytest.mark.parametrize(
    ("mosaicity", "divergence", "edge", "bandwidth"),
    [
        (0.0, 0.0, 2000.0, 0.03),
        (2e-3, 0.0, 1e5, 0.02),
        (0.0, 1e-3, 1e5, 0.02),
        (1.5e-3, 1e-3, 3000.0, 0.05),
        (4e-3, 0.0, 3000.0, 0.01),
    ],
)
@pytest.mark.parametrize("offset", [0.0, 0.004])
def test_blur_has_the_photons_and_extent_of_a_monte_carlo(
    mosaicity, divergence, edge, bandwidth, offset
):
    hkl = (3, -2, 4)
    geometry = flat_detector(400, 0.06)
    beam = Beam(tophat(ENERGY, bandwidth), 1e20, 1.0, divergence)
    crystal = Crystal(axes_for(hkl, 0.9, offset), (edge, 1.2 * edge, edge), mosaicity_rad=mosaicity)
    photons, mean, cov = monte_carlo(hkl, 2e5, geometry, beam, crystal)
    spots = bragg_spots(one_reflection(hkl), geometry, beam, crystal, min_photons=0)
    assert len(spots) == 1
    spot = spots.table[0]
    assert spot["photons"] == pytest.approx(photons, rel=0.015)
    assert spot["fs"] == pytest.approx(mean[0], abs=0.05)
    assert spot["ss"] == pytest.approx(mean[1], abs=0.05)
    # The crystal's own width on the detector is no part of the Monte Carlo.
    blur = (1.2 * edge * 1e-10 / 7.5e-5) ** 2 / 12
    length, width = np.sqrt(np.linalg.eigvalsh(cov)[::-1] + blur)
    assert spot["length_px"] == pytest.approx(length, rel=0.03, abs=0.08)
    assert spot["width_px"] == pytest.approx(width, rel=0.03, abs=0.08)
    # The pixels have the extent that the table says, plus that of a pixel.
    image = image_of(spots, geometry)
    y, x = np.indices(image.shape) + 0.5
    seen = np.cov(np.stack([x.ravel(), y.ravel()]), aweights=image.ravel())
    if width > 0.7:  # narrower ones depend on where in a pixel they lie
        assert np.trace(seen) == pytest.approx(length**2 + width**2 + 1 / 6, rel=0.05)


@pytest.mark.parametrize("what", ["mosaicity_rad", "divergence_rad"])
def test_blur_test_sees_a_missing_term(what):
    hkl = (3, -2, 4)
    geometry = flat_detector(400, 0.06)
    values = {"mosaicity_rad": 2e-3, "divergence_rad": 1e-3}
    values[what] = 0.0
    crystal = Crystal(axes_for(hkl, 0.9), (1e4,) * 3, mosaicity_rad=2e-3)
    beam = Beam(tophat(ENERGY, 0.02), 1e20, 1.0, 1e-3)
    _, _, cov = monte_carlo(hkl, 2e5, geometry, beam, crystal)
    crystal = dataclasses.replace(crystal, mosaicity_rad=values["mosaicity_rad"])
    beam = dataclasses.replace(beam, divergence_rad=values["divergence_rad"])
    spot = bragg_spots(one_reflection(hkl), geometry, beam, crystal).table[0]
    extent = np.array([spot["length_px"], spot["width_px"]])
    assert np.abs(extent / np.sqrt(np.linalg.eigvalsh(cov)[::-1]) - 1).max() > 0.1


def test_panels_share_a_spot_between_them():
    """Four panels cut from one, with masked rows: together they show what the one does."""
    whole = flat_detector(200, 0.06)
    parts = []
    for n in range(4):
        i, j = (n % 2) * 100, (n // 2) * 100
        parts.append(Panel(str(n), i, j, 100, 100, i - 100, j - 100, pixel_size_m=7.5e-5))
    mask = np.zeros((200, 200), bool)
    mask[:, 120:124] = True
    split = dataclasses.replace(whole, detector=Detector("four", (200, 200), tuple(parts), mask))
    rng = np.random.default_rng(4)
    hkl = np.array([(h, k, el) for h in range(-5, 6) for k in range(-5, 6) for el in (1, 2, 3, 4)])
    table = StructureFactors(CELL, "P 1", hkl.astype(np.int16), rng.uniform(1e5, 1e6, len(hkl)))
    beam = Beam(tophat(ENERGY, 0.3), 1e22, 1.0)
    crystal = Crystal(random_rotation(rng) @ CELL.reciprocal, (1500.0,) * 3)
    one = bragg_spots(table, whole, beam, crystal, psf_px=1.0, min_photons=0)
    four = bragg_spots(table, split, beam, crystal, psf_px=1.0, min_photons=0)
    first, second = image_of(one, whole), image_of(four, split)
    assert second[mask].sum() == 0
    assert np.allclose(first[~mask], second[~mask], atol=1e-4 * first.max())
    assert first[mask].sum() > 0


def test_point_spread_widens_a_spot():
    geometry = flat_detector()
    crystal, beam = Crystal(axes_for((3, -2, 1), 0.5), (1e5,) * 3), Beam(tophat(ENERGY, 0.01), 1e19)
    sharp, soft = (
        bragg_spots(one_reflection(), geometry, beam, crystal, psf_px=psf).table[0]
        for psf in (0.0, 0.8)
    )
    assert soft["photons"] == pytest.approx(sharp["photons"], rel=1e-3)
    assert soft["length_px"] ** 2 == pytest.approx(sharp["length_px"] ** 2 + 0.64, rel=0.02)
    assert soft["peak_photons"] < 0.5 * sharp["peak_photons"]


def test_counts_are_poisson_about_the_expected_photons():
    geometry = flat_detector()
    crystal, beam = Crystal(axes_for((3, -2, 1), 0.5), (3e3,) * 3), Beam(tophat(ENERGY, 0.02), 1e22)
    spots = bragg_spots(one_reflection(), geometry, beam, crystal)
    expected, repeats = image_of(spots, geometry), 300
    total = np.zeros(geometry.shape)
    sums = []
    for n in range(repeats):
        counts = np.zeros(geometry.shape, np.uint16)
        sums.append(spots.count(counts, random_state(3, n), 0.5)[0])
        assert sums[-1] == counts.sum()
        total += counts
    mean = 0.5 * expected.sum()
    assert np.mean(sums) == pytest.approx(mean, abs=4.5 * np.sqrt(mean / repeats))
    assert np.var(sums) == pytest.approx(mean, rel=0.4)
    on = expected * repeats > 10
    pulls = (total[on] - 0.5 * repeats * expected[on]) / np.sqrt(0.5 * repeats * expected[on])
    assert (pulls**2).mean() == pytest.approx(1, abs=5 * np.sqrt(2 / on.sum()))


def test_small_changes_of_the_cell_are_followed():
    """Axes from a file may belong to a slightly different cell than the structure factors."""
    crystal = Crystal(axes_for((3, -2, 1), 0.5) * 1.01, (1e5,) * 3)
    beam = Beam(tophat(ENERGY, 0.05), 1e19)
    spot = bragg_spots(one_reflection(), flat_detector(), beam, crystal).table[0]
    assert spot["d_a"] == pytest.approx(
        CELL.inv_d_squared(np.array([[3, -2, 1]]))[0] ** -0.5 / 1.01
    )


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: Beam(tophat(ENERGY, 0.01), -1.0), "fluence"),
        (lambda: Beam(tophat(ENERGY, 0.01), 1.0, 1.0, -0.1), "divergence"),
        (lambda: Crystal(np.eye(3) * 0.02, (0, 1, 1)), "size"),
        (lambda: Crystal(np.eye(3) * 0.02, (1e3,) * 3, mosaicity_rad=-1), "mosaicity"),
        (lambda: Crystal(np.eye(3) * 0.02, (1e3,) * 3, "sphere", 1e-3), "gaussian"),
        (lambda: tophat(ENERGY, 2.0), "bandwidth"),
        (lambda: tophat(-5.0, 0.1), "photon energy"),
        (lambda: Spectrum(1.0, 0.5, np.ones(3)), "spectrum"),
        (lambda: Spectrum(0.5, 1.0, np.zeros(3)), "density"),
    ],
)
def test_impossible_values_are_named(make, words):
    with pytest.raises(ValueError, match=words):
        make()


def test_fringes_know_no_divergence():
    crystal = Crystal(axes_for((3, -2, 1), 0.5), (600.0,) * 3, "parallelepiped")
    beam = Beam(tophat(ENERGY, 0.01), 1.0, 1.0, 1e-3)
    with pytest.raises(ValueError, match="divergence"):
        bragg_spots(one_reflection(), flat_detector(), beam, crystal)


def test_fringes_too_fine_for_the_pixels_are_refused():
    crystal = Crystal(axes_for((3, -2, 1), 0.5), (1e5,) * 3, "parallelepiped")
    with pytest.raises(ValueError, match="10 µm"):
        bragg_spots(one_reflection(), flat_detector(), Beam(tophat(ENERGY, 0.01), 1.0), crystal)

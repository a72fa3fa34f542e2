"""Positions and photons against CrystFEL's pattern_sim: nine frames of 1IC6 (Bragg only).

pattern_sim sums over 4 x 4 points a pixel and 7 wavelengths, which miss most of each narrow peak
and sometimes hit one square: its photons are right on average only.
"""

import h5py
import numpy as np
import pytest
from scipy.ndimage import label

from hitfinder.crystal.tables import packaged_structure_factors
from hitfinder.geometry.detector import Detector, Panel
from hitfinder.geometry.geometry import Geometry
from hitfinder.simulation.bragg import Beam, Crystal, bragg_spots
from hitfinder.simulation.spectrum import tophat

SHAPE = (2163, 2069)
FLUENCE = 3e8 / (np.pi * (5e-6) ** 2)


def clusters(image):
    """Photons and centres (fs, ss) of connected groups of pixels."""
    labels, count = label(image > 0, np.ones((3, 3)))
    ss, fs = np.nonzero(image)
    group, weight = labels[ss, fs] - 1, image[ss, fs].astype(float)
    photons = np.bincount(group, weight, count)
    centre = [np.bincount(group, weight * (x + 0.5), count) / photons for x in (fs, ss)]
    return photons, np.column_stack(centre)


@pytest.fixture
def reference(pattern_sim):
    with h5py.File(pattern_sim) as file:
        names = ("astar_inv_m", "bstar_inv_m", "cstar_inv_m")
        axes = np.stack([file[name][:] for name in names], -1) * 1e-10
        yield (
            [
                (file["photon_energy_ev"][n], file["camera_length_m"][n], axes[n], n)
                for n in range(9)
            ],
            file["entry/data/data"],
        )


def spots_of(energy, camera_length, axes, centre=(1034.5, 1081.5), bandwidth=0.01):
    panel = Panel("p", 0, 0, SHAPE[1], SHAPE[0], -centre[0], -centre[1])
    geometry = Geometry(Detector("report", SHAPE, (panel,)), camera_length, energy)
    beam = Beam(tophat(energy, bandwidth), FLUENCE, None)
    factors = packaged_structure_factors()
    return bragg_spots(factors, geometry, beam, Crystal(axes, (1e5,) * 3), min_photons=1).table


def distances(reference, **changes):
    """Distance of every pattern_sim peak of 30 photons or more to our nearest spot."""
    settings, images = reference
    found = []
    for energy, camera_length, axes, n in settings:
        photons, centre = clusters(images[n])
        table = spots_of(energy, camera_length, axes, **changes)
        ours = np.column_stack([table["fs"], table["ss"]])
        for position in centre[photons >= 30]:
            found.append(np.hypot(*(ours - position).T).min())
    return np.array(found)


def test_peaks_lie_where_pattern_sim_puts_them(reference):
    found = distances(reference)
    assert len(found) > 90
    assert np.median(found) < 1.0
    # The rest are tails of strong reflections just outside the band: sinc² there, Gaussian here.
    assert (found < 2).mean() >= 0.85


def test_the_comparison_sees_a_beam_centre_off_by_two_pixels(reference):
    found = distances(reference, centre=(1036.5, 1081.5))
    assert np.median(found) > 1.0


def test_mean_photons_agree_within_the_scatter(reference):
    settings, images = reference
    ours = np.array([spots_of(*s[:3])["photons"].sum() for s in settings])
    theirs = np.array([images[s[3]].sum() for s in settings], float)
    difference = np.log(theirs / ours)
    error = difference.std(ddof=1) / 3
    assert abs(difference.mean()) < 3 * error
    assert error < 0.35
    # Without the Lorentz factor (1 / sin²θ) the means would be many errors apart.
    off = np.array(
        [(t["photons"] / (2 * t["d_a"] / t["wavelength_a"]) ** 2).sum() for t in
         (spots_of(*s[:3]) for s in settings)]
    )  # fmt: skip
    assert abs(np.log(theirs / off).mean()) > 5 * error

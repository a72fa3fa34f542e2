"""Orientations against CrystFEL's: nine frames of 1IC6 by pattern_sim, with the axes it used."""

import h5py
import numpy as np
import pytest
from scipy.ndimage import center_of_mass, label

from hitfinder.crystal.lattice import Lattice
from hitfinder.crystal.tables import packaged_structure_factors
from hitfinder.geometry.geometry import Geometry
from hitfinder.geometry.named import named_detector
from hitfinder.indexing.batch import LEAST_SCORE
from hitfinder.indexing.indexer import Indexer


@pytest.fixture(params=[8, 60], ids=["few", "many"])
def frames(pattern_sim, request):
    """Geometry, some spots of three photons and more, and reciprocal axes of each frame."""
    detector, made = named_detector("eiger-4m-report"), []
    with h5py.File(pattern_sim) as file:
        axes = [file[f"{name}star_inv_m"][:] * 1e-10 for name in "abc"]
        for n, image in enumerate(file["entry/data/data"]):
            rng = np.random.default_rng(n)
            spots, count = label(image > 0, np.ones((3, 3)))
            photons = np.bincount(spots.ravel(), image.ravel(), count + 1)[1:]
            bright = np.flatnonzero(photons >= 3)
            chosen = rng.choice(bright, min(request.param, len(bright)), replace=False)
            ss, fs = np.array(center_of_mass(image, spots, chosen + 1)).T + 0.5
            energy, length = file["photon_energy_ev"][n], file["camera_length_m"][n]
            geometry = Geometry(detector, float(length), float(energy))
            made.append((geometry, fs, ss, np.stack([one[n] for one in axes], 1)))
    return made


def off_by_deg(frames, mirrored=False):
    """Angle to pattern_sim's orientation up to symmetry, and score, of each frame."""
    lattice = Lattice(packaged_structure_factors().cell, "P", "tetragonal", "c")
    out = []
    for geometry, fs, ss, axes in frames:
        q = geometry.scattering_vectors(fs, ss) * ([-1, 1, 1] if mirrored else 1)
        found = Indexer(lattice, 0.35, geometry.pixel_inv_a).index(q, np.full(len(q), 0.9))
        out.append((lattice.angle_deg(found.axes, axes), found.score))
    return np.array(out).T


def test_orientations_are_those_of_pattern_sim(frames):
    angle, score = off_by_deg(frames)
    assert angle.max() < 0.3
    assert np.median(angle) < 0.1
    assert score.min() > LEAST_SCORE


def test_handedness_of_the_axes_matters(frames):
    angle, _ = off_by_deg(frames, mirrored=True)
    assert np.median(angle) > 5

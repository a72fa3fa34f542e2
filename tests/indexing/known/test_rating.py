"""Orientations judged so that a few false spots do not make one sure."""

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from hitfinder.crystal.lattice import lattice_of
from hitfinder.indexing.known.crystal import KnownCrystal
from hitfinder.indexing.known.predict import FS, MOST_PREDICTED, N_COLUMNS, PHOTONS, SS, predict
from hitfinder.indexing.known.rating import MOST_OF_ONE, rated
from hitfinder.indexing.known.search import Hypothesis
from hitfinder.simulation.crystals import structure_factors
from hitfinder.simulation.presets import load_settings
from hitfinder.simulation.simulator import Simulator

LEVEL = 0.01
TURN = Rotation.from_euler("xyz", [10, 20, 30], degrees=True).as_matrix()


@pytest.fixture(scope="module")
def crystal():
    settings = load_settings(
        preset="report",
        overrides={
            "detector.name": "eiger2-x-500k",
            "detector.camera_length_m": 0.05,
            "crystal.structure": "random",
            "crystal.cell": "60,60,90",
            "crystal.space_group": "P 43 21 2",
            "crystal.d_min_a": 3.0,
        },
    )
    factors = structure_factors(settings)
    lattice = lattice_of(factors.cell, factors.space_group_name)
    return KnownCrystal.of(lattice, Simulator.of(settings).geometry, factors=factors)


def test_each_reflection_counts_for_no_more_than_a_false_spot_may(crystal):
    predicted = np.empty((MOST_PREDICTED, N_COLUMNS))
    n = predict(TURN, crystal.judging, crystal.geometry.polarisation, crystal.detector, predicted)
    assert n > 5
    brightest = predicted[np.argsort(-predicted[:n, PHOTONS])[:5]]
    background = np.full(crystal.geometry.shape, LEVEL, np.float32)
    ratios = []
    for lit in range(4):
        counts = np.zeros(crystal.geometry.shape, np.int32)
        for spot in brightest[:lit]:
            counts[int(spot[SS]), int(spot[FS])] = 50
        (one,) = rated(crystal, counts, background, [Hypothesis(TURN, 99.0, 30.0)])
        ratios.append(one.log_ratio)
    # Where nothing is lit, what is expected to be there is missing.
    assert ratios[0] < 0
    assert np.all(np.diff(ratios) > MOST_OF_ONE)
    missing = 30.0 * brightest[:3, PHOTONS]
    np.testing.assert_allclose(np.diff(ratios), MOST_OF_ONE + missing, rtol=0.1)


def test_the_best_comes_first(crystal):
    counts = np.zeros(crystal.geometry.shape, np.int32)
    background = np.full(crystal.geometry.shape, LEVEL, np.float32)
    found = [Hypothesis(TURN, 50.0, photons) for photons in (30.0, 3.0, 300.0)]
    again = rated(crystal, counts, background, found)
    assert [one.photons for one in again] == [3.0, 30.0, 300.0]
    assert again[0].log_ratio > again[1].log_ratio > again[2].log_ratio
    assert rated(crystal, counts, background, []) == []

"""A further crystal in a frame: what the ones before it leave."""

import numpy as np
import pytest

from hitfinder.crystal.lattice import lattice_of
from hitfinder.finding.likelihood import LikelihoodFinder
from hitfinder.indexing.known.background import background_image
from hitfinder.indexing.known.crystal import KnownCrystal
from hitfinder.indexing.known.further import without_spots
from hitfinder.indexing.known.search import search
from hitfinder.simulation.crystals import structure_factors
from hitfinder.simulation.presets import load_settings
from hitfinder.simulation.simulator import Simulator


@pytest.fixture(scope="module")
def simulator():
    settings = {
        "detector.name": "eiger2-x-500k",
        "detector.camera_length_m": 0.06,
        "background.shots": 1,
        "bragg_scale": 0.005,
        "crystal.count": 2,
        "seed": 51,
    }
    return Simulator.of(load_settings(preset="report", overrides=settings))


@pytest.fixture(scope="module")
def crystal(simulator):
    factors = structure_factors(load_settings(preset="report", overrides={}))
    lattice = lattice_of(factors.cell, factors.space_group_name)
    return KnownCrystal.of(lattice, simulator.geometry, factors=factors)


def turns_of(simulator, crystal, number):
    unturned = np.linalg.inv(crystal.lattice.cell.reciprocal)
    return [one.axes @ unturned for one in simulator.shot(number).crystals]


def test_spots_of_a_crystal_are_left_out_and_those_of_another_stay(simulator, crystal):
    first, _ = turns_of(simulator, crystal, 0)
    counts = np.zeros(simulator.geometry.shape, np.int32)
    left = without_spots(crystal, counts, [first])
    assert not counts.any()
    own, other = (spots.spots.table for spots in simulator.expose(0).spots)
    inside = np.abs(own["wavelength_a"] / simulator.geometry.wavelength_a - 1) < 0.0048

    def read(spots):
        on = (spots["fs"] > 1) & (spots["ss"] > 1)
        on &= (spots["fs"] < counts.shape[1] - 1) & (spots["ss"] < counts.shape[0] - 1)
        spots = spots[on]
        return left[spots["ss"].astype(int), spots["fs"].astype(int)] == 0

    strong = own["photons"] > 50
    assert strong.sum() >= 5
    assert not read(own[strong & inside]).any()
    assert read(other[other["photons"] > 50]).mean() > 0.85
    assert 0 < (left < 0).mean() < 0.15


def test_both_crystals_of_a_frame_are_found(simulator, crystal):
    finder = LikelihoodFinder(simulator.geometry)
    counts, rate = finder.counts_and_background(simulator.frame(1).counts)
    background = background_image(counts, finder.rings, rate)
    found = []
    for _ in range(2):
        left = without_spots(crystal, counts, found)
        found.append(search(crystal, left, background)[0].turn)
    cell = crystal.lattice.cell.reciprocal
    off = [
        min(crystal.lattice.angle_deg(one @ cell, true @ cell) for one in found)
        for true in turns_of(simulator, crystal, 1)
    ]
    assert max(off) < 0.3

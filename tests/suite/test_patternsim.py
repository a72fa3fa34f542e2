"""Conditions of frames by CrystFEL's pattern_sim."""

import h5py
import numpy as np
import pytest

from hitfinder.errors import SourceError
from hitfinder.suite import patternsim


@pytest.fixture(scope="module")
def recipes(pattern_sim):
    return {recipe.condition.name: recipe for recipe in patternsim.recipes(pattern_sim)}


def test_hits_hold_the_photons_of_the_file_and_water(recipes, pattern_sim):
    with h5py.File(pattern_sim) as file:
        bragg = file["entry/data/data"][0]
    recipe = recipes["sim6-1"]
    assert recipe.condition.groups == ("1", "0.1", "0.03", "0.01")
    assert len(recipe.geometries) == 1
    counts, spots = recipe.hit(np.random.default_rng(1), 0)
    water = counts - bragg
    assert water.min() >= 0
    assert 5e3 < water.sum() < 2e4
    assert spots["photons"].sum() == bragg.sum()
    np.testing.assert_array_equal(spots["must"], spots["photons"] >= 8)
    _, thinned = recipe.hit(np.random.default_rng(1), 1)
    expected = bragg.sum() / 10
    assert abs(thinned["photons"].sum() - expected) < 5 * np.sqrt(expected)
    blank = recipe.blank(np.random.default_rng(1), 0)
    assert abs(blank.sum() - water.sum()) < 8 * np.sqrt(water.sum())


def test_all_nine_settings_are_taken_in_turn(recipes):
    recipe = recipes["sim9-1"]
    told = [(g.photon_energy_ev, g.camera_length_m) for g in recipe.geometries]
    assert len(set(told)) == 9
    sums = [recipe.hit(np.random.default_rng(0), n)[1]["photons"].sum() for n in (0, 8, 9)]
    assert sums[0] == sums[2] != sums[1]


def test_other_files_are_refused(tmp_path, reference_data):
    with pytest.raises(SourceError, match="is no file of pattern_sim frames"):
        patternsim.recipes(reference_data / "nanobragg_spots.h5")
    with h5py.File(tmp_path / "small.h5", "w") as file:
        file["entry/data/data"] = np.zeros((1, 10, 10), np.uint16)
        file["photon_energy_ev"], file["camera_length_m"] = [6000.0], [0.15]
    with pytest.raises(SourceError, match="frames of shape"):
        patternsim.recipes(tmp_path / "small.h5")

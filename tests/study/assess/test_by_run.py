"""What `hitfinder run` answers on shots of the study."""

import dataclasses

import numpy as np
import pytest

from hitfinder.executors.inline import Inline
from hitfinder.study.assess import by_run
from hitfinder.study.dataset.build import build
from hitfinder.study.dataset.layout import PEAKS, report_matrix
from hitfinder.study.dataset.maker import SimulatedMaker
from hitfinder.study.dataset.recipe import Recipe
from hitfinder.study.dataset.tree import open_tree

CLASSES = {"photon_energy": (6000.0, 7000.0), "camera_length": (0.15, 0.25)}
SHOT = by_run.OwnAnswer(True, True, 1.0, 4, 3, 1, 6000.0, 0.15, 6100.0, 0.21)


def test_answers_are_summed_up():
    blank = dataclasses.replace(SHOT, has_peaks=False, hit=True, n_true=0, n_matched=0, n_false=2)
    faint = dataclasses.replace(SHOT, hit=False, bragg_scale=0.002, n_matched=0, n_false=0)
    dark = dataclasses.replace(SHOT, energy_ev=np.nan, length_m=np.nan, bragg_scale=0.05)
    told = by_run.numbers([SHOT, blank, faint, dark], CLASSES)
    assert told["found"]["value"] == pytest.approx(2 / 3)
    assert told["found_brighter"]["value"] == 1
    assert told["found_fainter"]["value"] == 0
    assert told["false_hits"]["value"] == 1
    assert told["recall"]["value"] == 6 / 12
    assert told["precision"]["value"] == 6 / 10
    assert told["photon_energy"]["right"]["value"] == 3 / 4, "one cannot be told"
    assert told["photon_energy"]["without"] == 1
    assert told["photon_energy"]["rms_error"] == pytest.approx(100)
    assert told["camera_length"]["right"]["value"] == 0, "0.21 m is nearer to 0.25"


def test_the_shots_of_a_tree_are_made_again(tmp_path):
    """The counts of joined pixels are those of the same spots: as many photons, in their places."""
    recipe = Recipe(2, bin=8, frames_per_file=3, seed=3)
    settings = report_matrix()[:1]
    build(tmp_path / "t", settings, recipe, SimulatedMaker(recipe))
    tree = open_tree(tmp_path / "t")
    shots = by_run.shots_of(tree, recipe, settings)
    assert [shot.number for shot in shots] == [0, 1, 2, 3]
    assert [shot.has_peaks for shot in shots] == (tree.attributes.peak == 1).tolist()
    index = [shot.has_peaks for shot in shots].index(True)
    again = SimulatedMaker(dataclasses.replace(recipe, bin=1)).frame(
        settings[0], shots[index].number, True
    )
    joined = tree.read(PEAKS, index)
    n = again.bragg[: 8 * joined.shape[0], : 8 * joined.shape[1]].astype(int)
    n = n.reshape(joined.shape[0], 8, joined.shape[1], 8).sum(axis=(1, 3))
    bright = n >= 50
    assert bright.any()
    assert np.abs(n - joined.astype(int))[bright].max() < 6 * np.sqrt(n.max())
    assert n.sum() == pytest.approx(joined.sum(), rel=0.05)


@pytest.mark.slow
def test_a_shot_is_answered_by_the_frame_alone():
    recipe = Recipe(1, percent_empty=100, seed=3, frames_per_file=2)
    shots = [by_run.StudyShot(report_matrix()[0], number, number == 0) for number in (0, 1)]
    found, blank = by_run.answers(shots, recipe, Inline(), lambda n: None)
    assert found.hit
    assert found.n_matched > 0.5 * found.n_true
    assert not blank.hit
    assert (blank.n_true, blank.n_false) == (0, 0)
    for answer in (found, blank):
        assert answer.energy_ev == pytest.approx(6000, abs=60)
        assert answer.length_m == pytest.approx(0.15, abs=2e-3)

"""Hits by peaks and a known crystal together."""

import numpy as np
import pytest

from hitfinder.indexing.known.chance import Chance
from hitfinder.results.chunk import OK, ChunkResult, empty_rows
from hitfinder.results.crystalhits import CrystalEvidence, joint_score


def test_a_share_of_blank_frames_is_what_the_joint_score_says():
    rng = np.random.default_rng(0)
    one, other = -np.log10(rng.random((2, 400_000)))
    for score in (joint_score(one, other), joint_score(one, one)):
        assert np.mean(score >= 2) == pytest.approx(0.01, rel=0.05)


def decided(score, crystal, *, doubt="", n_peaks=0, hit=None, min_peaks=0):
    rows = empty_rows(1, OK)
    rows["score"], rows["background_per_pixel"], rows["n_peaks"] = score, 0.1, n_peaks
    rows["hit_probability"], rows["doubt"] = 0.5, doubt
    rows["hit"] = score >= 2 if hit is None else hit
    evidence = CrystalEvidence(np.array([7]), np.array([crystal]), np.array([0.0]), 2.0, min_peaks)
    return evidence.decided(ChunkResult(np.array([7]), rows)).rows[0]


@pytest.mark.parametrize(
    ("score", "crystal", "hit"),
    [(2.4, 0, True), (0, 2.4, True), (2, 2, True), (2.1, 0, False), (1.9, 1.9, False)],
)
def test_either_look_makes_a_hit(score, crystal, hit):
    assert decided(score, crystal)["hit"] == hit


def test_what_a_run_does_not_believe_does_not_count():
    assert not decided(9, 1.9, doubt="one-pixel", hit=False)["hit"]
    found = decided(9, 3, doubt="one-pixel", hit=False)
    assert found["hit"]
    assert found["doubt"] == ""
    assert not decided(9, 0, n_peaks=2, hit=False, min_peaks=3)["hit"]
    assert decided(0, 9, n_peaks=2, hit=False, min_peaks=3)["hit"]


def test_frames_that_were_not_searched_are_judged_by_their_peaks():
    rows = empty_rows(2, OK)
    rows["score"], rows["background_per_pixel"], rows["hit"] = (3, 2.2), 0.1, True
    rows["hit_probability"] = 0.9
    nothing = CrystalEvidence(np.empty(0, np.int64), np.empty(0), np.empty(0), 2.0)
    found = nothing.decided(ChunkResult(np.arange(2), rows)).rows
    assert found["hit"].tolist() == [True, False]
    assert np.isnan(found["crystal_score"]).all()
    np.testing.assert_allclose(found["joint_probability"], 0.9)


def test_scores_go_on_where_shares_are_too_small_for_a_number():
    chance = Chance(20.0, 1.2, 24)
    for ratio in (18.0, 25.0, 50.0):
        assert chance.score(ratio) == pytest.approx(-np.log10(chance.false_share(ratio)), abs=1e-6)
    assert chance.score(1000.0) < chance.score(2000.0) < 1980 / 1.2 / np.log(10)
    well_known = Chance(20.0, 1.2, 1000)
    assert well_known.score(2000.0) == pytest.approx(1980 / 1.2 / np.log(10))
    assert chance.score(-np.inf) == 0
    odds = [chance.log_odds(ratio) for ratio in (-np.inf, 20, 24, 28, 60, 400)]
    assert (np.diff(odds) >= 0).all()
    assert odds[0] < 0 < odds[3]

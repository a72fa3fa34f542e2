"""Whether a frame's best orientation is right, by the next best ones."""

import numpy as np
import pytest
import scipy.special
from scipy.spatial.transform import Rotation

from hitfinder.crystal.cell import Cell
from hitfinder.crystal.lattice import lattice_of
from hitfinder.indexing.known.chance import HITS_LOST, Chance
from hitfinder.indexing.known.rivals import N_RIVALS, RIGHT_SCALE, Rivals, apart
from hitfinder.indexing.known.search import Hypothesis

FALL = 1.6
CHANCE = Chance(20.0, 2.5, 24)


def wrong_ratios(rng, n_frames):
    """The largest of many ratios of each frame, and what chance reaches in it: its own."""
    mode = rng.uniform(15, 35, n_frames)
    many = rng.exponential(FALL, (n_frames, 500)) + mode[:, None] - FALL * np.log(500)
    return np.sort(many, axis=1)[:, : -N_RIVALS - 2 : -1], mode


def test_the_width_is_learnt_wherever_tails_begin():
    rng = np.random.default_rng(1)
    rivals = Rivals.fitted(CHANCE, wrong_ratios(rng, 600)[0].tolist())
    assert rivals.n == 600 * N_RIVALS
    assert rivals.fall == pytest.approx(FALL, rel=0.06)
    alone = Rivals.fitted(CHANCE, [[20.0], [21.0]])
    assert (alone.fall, alone.n) == (CHANCE.width, CHANCE.n)
    alike = Rivals.fitted(CHANCE, [[20.0, 20.0, 20.0]])
    assert 0 < alike.probability([21.0, 20.0, 20.0]) < 0.5


def test_probabilities_hold_though_bright_peaks_lift_some_frames():
    rng = np.random.default_rng(2)
    wrong, mode = wrong_ratios(rng, 20_000)
    rivals = Rivals.fitted(CHANCE, wrong_ratios(rng, 600)[0].tolist())
    is_found = rng.random(len(wrong)) < 0.5 * (1 - HITS_LOST)
    true = mode + rng.gamma(2, RIGHT_SCALE, len(wrong))
    frames = [
        sorted([*ratios, best])[::-1] if found else [*ratios]
        for ratios, best, found in zip(wrong.tolist(), true, is_found, strict=True)
    ]
    told = np.array([rivals.probability(ratios[: N_RIVALS + 1]) for ratios in frames])
    right = np.array([f and r[0] == t for f, r, t in zip(is_found, frames, true, strict=True)])
    assert (~right[told >= 0.9]).mean() < 0.01
    assert right[told >= 0.9].sum() > 0.85 * right.sum()
    for low, high in ((0.1, 0.3), (0.3, 0.7), (0.7, 0.9)):
        here = (told >= low) & (told < high)
        assert right[here].mean() == pytest.approx(told[here].mean(), abs=0.08)


@pytest.mark.slow
def test_no_more_frames_with_bright_spots_than_told_are_as_good():
    """By what other frames reach, over a tenth of such frames would pass for one in a hundred."""
    rng = np.random.default_rng(3)
    wrong, mode = wrong_ratios(rng, 20_000)
    rivals = Rivals.fitted(CHANCE, wrong_ratios(rng, 24)[0].tolist())
    scores = np.array([rivals.score(ratios.tolist()) for ratios in wrong])
    for share in (0.1, 0.01, 0.001):
        assert (scores >= -np.log10(share)).mean() < 1.5 * share
    by_others = np.array([CHANCE.score(ratios[0]) for ratios in wrong])
    assert (by_others >= 2).mean() > 0.1
    lifted = mode > 25
    assert (scores[lifted] >= 1).mean() == pytest.approx(0.1, abs=0.04)
    assert (scores <= by_others).all()


@pytest.mark.slow
def test_odds_of_a_hit_are_how_often_frames_like_it_are_hits():
    rng = np.random.default_rng(4)
    n = 40_000
    many = rng.exponential(FALL, (n, 500)) + CHANCE.mode - FALL * np.log(500)
    wrong = np.sort(many, axis=1)[:, : -N_RIVALS - 2 : -1]
    hit = rng.random(n) < 0.5
    found = hit & (rng.random(n) < 1 - HITS_LOST)
    right = np.where(found, CHANCE.mode + rng.gamma(2, RIGHT_SCALE, n), -np.inf)
    ratios = -np.sort(-np.column_stack([wrong, right]), axis=1)[:, : N_RIVALS + 1]
    blanks = wrong[:600].tolist()
    rivals = Rivals.fitted(Chance.fitted([best for best, *_ in blanks]), blanks)
    told = scipy.special.expit([rivals.log_odds(one) for one in ratios.tolist()])
    assert told.min() == pytest.approx(HITS_LOST / (1 + HITS_LOST))
    for low, high in ((0.0, 0.25), (0.25, 0.5), (0.5, 0.9), (0.9, 1.0)):
        here = (told >= low) & (told <= high)
        assert hit[here].mean() == pytest.approx(told[here].mean(), abs=0.08)


def test_only_the_distance_to_the_rivals_counts():
    rivals = Rivals(CHANCE, FALL, 96)
    ratios = np.array([38.0, 25.0, 24.2, 24.0, 23.0])
    probability = rivals.probability(ratios.tolist())
    assert rivals.probability((ratios + 30).tolist()) == pytest.approx(probability)
    assert rivals.probability([38.0, 37.5, 36.0, 35.0, 34.0]) < 0.1 < 0.9 < probability
    more = [rivals.probability([best, *ratios[1:]]) for best in range(26, 60, 2)]
    assert (np.diff(more) >= 0).all()
    # One of two that are beyond chance.
    two = [60.0, 60.0, 24.0, 24.0, 23.0]
    assert rivals.probability(two) == pytest.approx(0.5, abs=0.01)
    assert rivals.probability(two, several=True) > 0.99


def test_without_rivals_frames_without_a_crystal_tell():
    rivals = Rivals(CHANCE, FALL, 96)
    assert rivals.probability([]) == 0
    assert rivals.probability([15.0]) == 0
    assert rivals.probability([24.0]) < 0.3
    assert rivals.probability([70.0]) > 0.99
    assert rivals.score([]) == 0
    assert rivals.score([50.0]) == CHANCE.score(50.0)
    assert rivals.log_odds([]) == pytest.approx(np.log(HITS_LOST))
    assert rivals.log_odds([50.0]) == CHANCE.log_odds(50.0)


def test_side_maxima_are_no_rivals():
    lattice = lattice_of(Cell(68.0, 68.0, 108.0), "P 43 21 2")
    first = Rotation.from_euler("xyz", [10, 20, 30], degrees=True).as_matrix()
    turned = {
        angle: Rotation.from_euler("y", angle, degrees=True).as_matrix() @ first
        for angle in (0.4, 3.0, 3.4)
    }
    quarter = first @ Rotation.from_euler("z", 90, degrees=True).as_matrix()
    turns = [first, turned[0.4], quarter, turned[3.0], turned[3.4]]
    found = [Hypothesis(turn, 30.0 - k, 1.0) for k, turn in enumerate(turns)]
    assert apart(lattice, found) == [30.0, 27.0]
    far = [Rotation.from_euler("x", 5.0 * k, degrees=True).as_matrix() for k in range(9)]
    many = apart(lattice, [Hypothesis(turn, 30.0 - k, 1.0) for k, turn in enumerate(far)])
    assert many == [30.0 - k for k in range(N_RIVALS + 1)]
    assert apart(lattice, []) == []

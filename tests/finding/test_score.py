import math

import numpy as np
import pytest
from scipy import stats

from hitfinder.finding import score
from hitfinder.finding.likelihood import LikelihoodFinder


def test_expected_chance_peaks_fall_and_go_on_in_proportion():
    chance = score.chance_peaks(np.array([0.01, 1.0]), np.array([10_000, 10_000]))
    assert np.all(np.diff(chance) <= 0)
    beyond = score.expected_beyond(np.array([-40.0, -41.0, -50.0]), chance)
    assert np.diff(beyond) == pytest.approx([-1.0, -9.0])


def test_many_weak_peaks_count_as_one_strong_one():
    one_weak = score.frame_score(np.log([0.5]))
    ten_weak = score.frame_score(np.log(np.full(10, 0.5)))
    assert one_weak < 1
    assert ten_weak > 4
    assert score.frame_score(np.array([])) == 0.0


def test_score_is_the_share_of_chance_lists_that_look_as_good():
    rng = np.random.default_rng(1)
    scores = []
    for _ in range(4000):
        n = rng.poisson(score.CHANCE_LIMIT)
        scores.append(score.frame_score(np.log(np.sort(rng.uniform(0, score.CHANCE_LIMIT, n)))))
    for level in (1.0, 1.5, 2.0):
        share = np.mean(np.array(scores) >= level)
        assert share == pytest.approx(10**-level, abs=4 * math.sqrt(10**-level / 4000))


def test_score_goes_on_smoothly_beyond_the_table():
    grid = [score.calibrated(s) for s in np.arange(2, 8, 0.1)]
    steps = np.diff(grid)
    assert np.all(steps > 0)
    assert steps.max() < 0.25


@pytest.mark.parametrize("level", [0.004, 0.2, pytest.param(4.0, marks=pytest.mark.slow)])
def test_blank_frames_give_the_stated_false_rates(small_geometry, water_like, level):
    finder = LikelihoodFinder(small_geometry)
    rng = np.random.default_rng(7)
    n_frames = 400
    n_peaks = n_hits = 0
    for _ in range(n_frames):
        result = finder(rng.poisson(water_like * level).astype(np.uint16))
        n_peaks += len(result.peaks)
        n_hits += result.hit
    stated = finder.settings
    assert n_hits <= n_frames * stated.false_hits + 3 * math.sqrt(n_frames * stated.false_hits)
    allowed = n_frames * stated.false_peaks
    assert 0.1 * allowed <= n_peaks <= 1.5 * allowed + 3 * math.sqrt(allowed)


@pytest.mark.parametrize("n", [1, 3, 40])
def test_surprise_is_that_of_the_least_likely_number_of_peaks(n):
    expected = np.sort(np.random.default_rng(n).exponential(n / 6, n))
    least = stats.poisson.sf(np.arange(n), expected).min()
    found = score.frame_score(np.log(expected))
    assert found == pytest.approx(score.calibrated(-np.log10(least)), rel=1e-6)


def test_chance_peaks_are_spread_over_places_as_is_said(small_geometry, water_like):
    """The share of chance inside is uniform for chance, whatever the background's shape."""
    finder, rng = LikelihoodFinder(small_geometry), np.random.default_rng(5)
    proposed = [finder.propose(rng.poisson(water_like)) for _ in range(60)]
    inside = np.concatenate([one.inside for one in proposed])
    assert len(inside) == sum(len(one.peaks) for one in proposed) > 300
    assert np.abs(np.quantile(inside, (0.25, 0.5, 0.75)) - (0.25, 0.5, 0.75)).max() < 0.08


def test_half_of_a_ring_s_own_chance_is_inside():
    even = np.full(3, 0.2)
    inside = score.chance_inside(even, np.array([100, 200, 100]), -12.0)
    assert inside == pytest.approx([0.125, 0.5, 0.875])
    assert score.chance_inside(even, np.zeros(3, int), -12.0).tolist() == [0, 0, 0]


def test_peaks_where_no_photon_is_expected_have_a_finite_score():
    assert np.isfinite(score.frame_score(np.full(25, -np.inf)))

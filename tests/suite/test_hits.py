"""Telling hits from blanks, and the Bragg scale at which half are found."""

import numpy as np
import pytest
from scipy.special import ndtr

from hitfinder.suite.hits import best_efficiency, half_point

SCALES = np.array([1, 0.1, 0.03, 0.01, 0.003, 0.001])


@pytest.mark.parametrize("middle", [0.05, 0.01, 0.002])
def test_half_point_is_where_simulated_finders_have_it(middle):
    rng = np.random.default_rng(3)
    inside = 0
    for _ in range(60):
        chance = ndtr((np.log10(SCALES) - np.log10(middle)) / 0.3)
        half = half_point(SCALES, rng.binomial(24, chance), np.full(6, 24))
        assert half.low < half.value < half.high
        assert abs(np.log10(half.value / middle)) < 0.35
        inside += half.low <= middle <= half.high
    # 68 % of 60, give or take three standard deviations.
    assert 30 <= inside <= 52


def test_half_point_beyond_the_scales_is_known_to_be_beyond():
    assert half_point(SCALES, [24] * 6, [24] * 6).high < 0.001
    assert half_point(SCALES, [0] * 6, [24] * 6).low > 1


def test_the_best_score_is_taken_and_ties_are_not_parted():
    hits = np.array([True] * 4 + [False] * 100)
    n_peaks = np.array([2, 2, 1, 1, *[0] * 98, 1, 1], float)
    strongest = np.array([5, 5, 5, 0, *[0] * 98, 4, 9], float)
    assert best_efficiency({"n": n_peaks}, hits, ~hits) == ("n", 2)
    assert best_efficiency({"n": n_peaks, "s": strongest}, hits, ~hits) == ("s", 3)
    assert best_efficiency({"n": n_peaks}, hits, ~hits, false_rate=0.02) == ("n", 4)

import numpy as np
import pytest
from scipy.stats import binomtest

from hitfinder.metrics.classification import (
    confusion_matrix,
    efficiency_at_false_rate,
    roc_curve,
    wilson_interval,
)


@pytest.mark.parametrize(("k", "n", "level"), [(0, 20, 0.95), (7, 50, 0.95), (50, 50, 0.68)])
def test_wilson_interval_agrees_with_scipy(k, n, level):
    expected = binomtest(k, n).proportion_ci(level, method="wilson")
    assert wilson_interval(k, n, level) == pytest.approx((expected.low, expected.high))


def test_wilson_interval_of_arrays_and_of_no_trials():
    low, high = wilson_interval([0, 3], [0, 10])
    assert (low[0], high[0]) == (0, 1)
    assert low[1] < 0.3 < high[1]
    with pytest.raises(ValueError, match="successes"):
        wilson_interval(5, 4)
    with pytest.raises(ValueError, match="confidence"):
        wilson_interval(1, 4, 1.0)


def test_confusion_matrix_has_truth_in_rows():
    matrix = confusion_matrix([True, True, True, False], [True, False, True, True])
    assert matrix.tolist() == [[0, 1], [1, 2]]
    with pytest.raises(ValueError, match="between 0 and 1"):
        confusion_matrix([2], [0])
    with pytest.raises(ValueError, match="one length"):
        confusion_matrix([0, 1], [0])


def test_roc_counts_equal_scores_together():
    rate, efficiency, cut = roc_curve([3, 2, 2, 1], [True, True, False, False])
    assert rate.tolist() == [0, 0, 0.5, 1]
    assert efficiency.tolist() == [0, 0.5, 1, 1]
    assert cut.tolist() == [np.inf, 3, 2, 1]


def test_roc_needs_both_kinds_and_numbers():
    with pytest.raises(ValueError, match="both hits and blanks"):
        roc_curve([1, 2], [True, True])
    with pytest.raises(ValueError, match="NaN"):
        roc_curve([np.nan, 2], [True, False])


def test_efficiency_at_false_rate_agrees_with_counting():
    rng = np.random.default_rng(4)
    hit = rng.random(2000) < 0.4
    score = rng.normal(size=2000) + 1.5 * hit
    efficiency, cut = efficiency_at_false_rate(score, hit, 0.05)
    assert np.mean(score[~hit] >= cut) <= 0.05
    assert efficiency == pytest.approx(np.mean(score[hit] >= cut))
    # One blank more would break the limit.
    higher_blank = np.sort(score[~hit])[::-1][int(0.05 * (~hit).sum())]
    assert np.mean(score[~hit] >= higher_blank) > 0.05
    assert efficiency == pytest.approx(np.mean(score[hit] > higher_blank))
    with pytest.raises(ValueError, match="false-hit rate"):
        efficiency_at_false_rate(score, hit, 1.5)

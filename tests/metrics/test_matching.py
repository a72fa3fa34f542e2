import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hitfinder.metrics.matching import match_peaks, recall_at_false_rate, recall_by_photons


def best_by_trying_all(found, true, tolerance):
    """The slow oracle: every injection of the shorter list into the longer one."""
    swap = len(found) > len(true)
    a, b = (true, found) if swap else (found, true)
    best = (0, 0.0)
    for chosen in itertools.permutations(range(len(b)), len(a)):
        d = [np.hypot(*(a[k] - b[c])) for k, c in enumerate(chosen)]
        d = [x for x in d if x <= tolerance]
        best = min(best, (-len(d), sum(d)))
    return -best[0], best[1]


def test_each_found_peak_is_used_once():
    match = match_peaks([[10.0, 10.0]], [[10.5, 10.0], [9.0, 10.0]], tolerance_px=2)
    assert match.found.tolist() == [0]
    assert match.true.tolist() == [0]
    assert match.missed.tolist() == [1]
    assert match.false.tolist() == []
    assert match.distance == pytest.approx([0.5])
    assert match.recall == 0.5
    assert match.precision == 1.0


def test_most_pairs_win_over_the_nearest_pair():
    # Found 0 is nearest to true 1, but taking that pair would leave found 1 alone.
    match = match_peaks([[0, 0], [2.5, 0]], [[-1.5, 0], [1, 0]], tolerance_px=2)
    assert match.found.tolist() == [0, 1]
    assert match.true.tolist() == [0, 1]


def test_tolerance_is_included_and_beyond_it_is_not():
    assert len(match_peaks([[0, 0]], [[3, 4]], tolerance_px=5).true) == 1
    assert len(match_peaks([[0, 0]], [[3, 4.001]], tolerance_px=5).true) == 0


def test_empty_lists():
    match = match_peaks([], [[1, 2]])
    assert match.missed.tolist() == [0]
    assert match.recall == 0
    assert np.isnan(match.precision)
    match = match_peaks([[1, 2]], np.empty((0, 2)))
    assert match.false.tolist() == [0]
    assert np.isnan(match.recall)


@settings(max_examples=200)
@given(n_found=st.integers(0, 5), n_true=st.integers(0, 5), seed=st.integers(0, 2**32 - 1))
def test_matching_is_the_best_there_is(n_found, n_true, seed):
    rng = np.random.default_rng(seed)
    found, true = rng.uniform(0, 8, (n_found, 2)), rng.uniform(0, 8, (n_true, 2))
    match = match_peaks(found, true, tolerance_px=3)
    count, total = best_by_trying_all(found, true, 3)
    assert len(match.found) == count
    assert match.distance.sum() == pytest.approx(total)
    assert sorted([*match.found, *match.false]) == list(range(n_found))
    assert sorted([*match.true, *match.missed]) == list(range(n_true))
    assert match.distance == pytest.approx(np.hypot(*(found[match.found] - true[match.true]).T))


@pytest.mark.parametrize("bad", [[1.0, 2.0], [[1.0, 2.0, 3.0]], [[np.nan, 1.0]]])
def test_bad_positions_are_refused(bad):
    with pytest.raises(ValueError, match="found positions"):
        match_peaks(bad, [[0, 0]])


def test_bad_tolerance_is_refused():
    with pytest.raises(ValueError, match="tolerance"):
        match_peaks([[0, 0]], [[0, 0]], tolerance_px=0)


def test_recall_by_photons_bins():
    n_found, n_true = recall_by_photons(
        [4, 8, 15.9, 16, 40], [True, True, False, True, True], [8, 16, 32]
    )
    assert n_true.tolist() == [2, 1]
    assert n_found.tolist() == [1, 1]


def test_recall_at_false_rate_counts_only_peaks_above_the_allowed_false_ones():
    true = [10.0, 7.0, 5.0, -np.inf]
    false = [6.0, 4.0]
    assert recall_at_false_rate(true, false, 10, 0.0) == (0.5, 6.0)
    assert recall_at_false_rate(true, false, 10, 0.1) == (0.75, 4.0)
    assert recall_at_false_rate(true, false, 10, 0.2) == (0.75, -np.inf)
    assert np.isnan(recall_at_false_rate([], false, 10, 0.0)[0])

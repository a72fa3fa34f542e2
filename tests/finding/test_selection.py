import dataclasses

import numpy as np
import pytest
from scipy import stats

from hitfinder.finding.selection import select_by_probability, select_by_significance
from hitfinder.finding.settings import FinderSettings

USUAL = FinderSettings()


def test_false_discovery_rate_is_that_of_benjamini_and_hochberg():
    p = np.sort(np.random.default_rng(0).uniform(size=50)) ** 3
    n_tests = 50
    kept = select_by_significance(np.log(p * n_tests), FinderSettings(false_peaks=0.2))
    adjusted = stats.false_discovery_control(p, method="bh")
    assert kept.tolist() == list(range(np.count_nonzero(adjusted <= 0.2)))
    assert kept.size


def of_hit(probability, settings=USUAL):
    chance = np.zeros(len(probability))
    return select_by_probability(np.array(probability), chance, True, settings).tolist()


@pytest.mark.parametrize(
    ("probability", "kept"),
    [
        ([0.99, 0.2, 0.5, 0.11, 0.31, 0.05], [0, 2, 4, 1, 3]),
        ([0.99, 0.2, 0.5, 0.11, 0.05], [0, 2]),
        ([0.9, 0.8, 0.7, 0.6, 0.5, 0.4, 0.35, 0.29, 0.1], [0, 1, 2, 3, 4, 5, 6]),
        ([0.9, 0.8, 0.7, 0.2, 0.19, 0.18, 0.17], [0, 1, 2, 3, 4, 5]),
        ([0.2], []),
        ([], []),
    ],
)
def test_in_a_hit_likely_peaks_are_kept_and_filled_up_to_six(probability, kept):
    assert of_hit(probability) == kept


@pytest.mark.parametrize(
    ("changes", "kept"),
    [
        ({"fill_from": 4}, [0, 1, 2]),
        ({"fill_to": 4}, [0, 1, 2, 3]),
        ({"fill_share": 0.65}, [0, 1, 2, 3]),
        ({"peak_probability": 0.6}, [0, 1, 2, 3]),
        ({"fill_from": 0, "peak_probability": 0.95}, [0, 1, 2]),
    ],
)
def test_how_hits_are_filled_up_is_a_setting(changes, kept):
    assert of_hit([0.9, 0.8, 0.7, 0.2, 0.19], dataclasses.replace(USUAL, **changes)) == kept


@pytest.mark.parametrize("changes", [{"fill_from": -1}, {"fill_to": -1}, {"fill_share": 1.5}])
def test_impossible_settings_are_refused(changes):
    with pytest.raises(ValueError, match=next(iter(changes))):
        FinderSettings(**changes)


def test_in_a_blank_only_what_blanks_hardly_show_is_kept():
    chance = np.log([0.01, 0.5, 0.5])
    kept = select_by_probability(np.array([0.7, 0.9, 0.1]), chance, False, USUAL)
    assert kept.tolist() == [0]

"""The mosaicity that a run's crystals are searched with."""

import types

import numpy as np
import pyarrow as pa
import pytest

from hitfinder.job.indexing.mosaicity import MOST_FRAMES, with_likeliest_mosaicity


class Searched:
    """A search whose frames have known ratios by mosaicity; the first few are hits."""

    def __init__(self, ratios, n_hits=20, mosaicity_deg=0.0):
        self.ratios, self.mosaicity_deg, self.looked = ratios, mosaicity_deg, []
        hit, n_peaks = np.arange(40) < n_hits, np.arange(40)
        self.run = types.SimpleNamespace(frames=pa.table({"hit": hit, "n_peaks": n_peaks}))

    def of_mosaicity(self, mosaicity_deg):
        return Searched(self.ratios, mosaicity_deg=mosaicity_deg)

    def best_ratios(self, rows, mosaicity_deg):
        self.looked.append(rows.tolist())
        return {int(row): self.ratios(row, mosaicity_deg) for row in rows}


def fits(true_deg, strength=60.0):
    return lambda row, deg: strength + row - 100 * abs(deg - true_deg)


@pytest.mark.parametrize("true_deg", [0.0, 0.05, 0.1, 0.2, 0.4])
def test_it_is_the_likeliest(true_deg):
    search = Searched(fits(true_deg))
    assert with_likeliest_mosaicity(search, np.arange(40)).mosaicity_deg == true_deg
    assert search.looked[0] == list(range(20 - MOST_FRAMES, 20))


def test_frames_that_are_not_sure_tell_nothing():
    unsure = Searched(fits(0.1, strength=0.0))
    assert with_likeliest_mosaicity(unsure, np.arange(40)).mosaicity_deg == 0


def test_frames_may_be_sure_with_the_true_one_only():
    hidden = Searched(fits(0.2, strength=25.0))
    assert with_likeliest_mosaicity(hidden, np.arange(40)).mosaicity_deg == 0.2


def test_most_frames_decide():
    odd = Searched(lambda row, deg: 500 * deg + 40 if row >= 16 else fits(0.05)(row, deg))
    assert with_likeliest_mosaicity(odd, np.arange(40)).mosaicity_deg == 0.05


def test_too_few_hits_are_not_looked_at():
    few = Searched(fits(0.1), n_hits=2)
    assert with_likeliest_mosaicity(few, np.arange(40)).mosaicity_deg == 0
    assert not few.looked

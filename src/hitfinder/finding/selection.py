"""Which candidates are kept as peaks: by their significance, or by their probabilities."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from hitfinder.finding.settings import FinderSettings


def select_by_significance(
    log_expected: NDArray[np.float64], settings: FinderSettings
) -> NDArray[np.intp]:
    """Choose the candidates to keep where nothing but their significance is known.

    They are kept at a false discovery rate (Benjamini & Hochberg, J. R. Statist. Soc. B 57, 289,
    1995) of `false_peaks`. In a blank frame that is the chance of one.

    Parameters
    ----------
    log_expected : ndarray, shape (n,)
        Log of the chance peaks at or beyond each candidate, sorted upwards.
    settings : FinderSettings
        What was chosen.

    Returns
    -------
    ndarray
        Indices of the peaks, most significant first.
    """
    ranks = np.arange(1, log_expected.size + 1)
    passing = np.flatnonzero(log_expected <= np.log(settings.false_peaks * ranks))
    return np.arange(passing[-1] + 1 if passing.size else 0)


def select_by_probability(
    probability: NDArray[np.float64],
    log_expected: NDArray[np.float64],
    is_hit: bool,
    settings: FinderSettings,
) -> NDArray[np.intp]:
    """Choose the candidates to keep where each has a probability.

    Parameters
    ----------
    probability : ndarray, shape (n,)
        Of each candidate to be a Bragg peak.
    log_expected : ndarray, shape (n,)
        Log of the chance candidates of a blank frame that look as good.
    is_hit : bool
        Whether the frame is one, as far as its score tells.
    settings : FinderSettings
        What was chosen.

    Returns
    -------
    ndarray
        Indices of the peaks, likeliest first.
    """
    order = np.argsort(-probability, kind="stable")
    # What a blank frame would hardly show is kept in any frame.
    keep = log_expected <= math.log(settings.false_peaks)
    if is_hit:
        least = settings.peak_probability
        keep |= probability >= least
        if keep.sum() >= settings.fill_from:
            best = order[: settings.fill_to]
            keep[best[probability[best] >= settings.fill_share * least]] = True
    return order[keep[order]]

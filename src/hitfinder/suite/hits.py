"""How well frames with faint Bragg peaks are told from blanks."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import log_ndtr

from hitfinder.metrics.classification import efficiency_at_false_rate

FALSE_HITS = 0.01
_MIDDLES = np.linspace(-4.5, 1.0, 221)
_WIDTHS = np.geomspace(0.05, 1.5, 40)


@dataclasses.dataclass(frozen=True)
class HalfPoint:
    """The Bragg scale at which half of the hits are found.

    Attributes
    ----------
    value, low, high : float
        Median and 68 % interval.
    """

    value: float
    low: float
    high: float


def best_efficiency(
    scores: Mapping[str, NDArray[np.float64]],
    hits: NDArray[np.bool_],
    blanks: NDArray[np.bool_],
    false_rate: float = FALSE_HITS,
) -> tuple[str, int]:
    """Return the score that finds most of the hits at a rate of false ones, and their number.

    Parameters
    ----------
    scores : mapping of ndarray, shape (n_frames,)
        Scores of the frames.
    hits, blanks : ndarray of bool, shape (n_frames,)
        The frames to find, and those by which the cut is set.
    false_rate : float
        Share of the blanks that may be called hits.
    """
    best, most = "", -1
    both, n_hits = hits | blanks, int(hits.sum())
    for name, score in scores.items():
        share, _ = efficiency_at_false_rate(score[both], hits[both], false_rate)
        found = round(share * n_hits)
        if found > most:
            best, most = name, found
    return best, most


def half_point(scales: ArrayLike, n_found: ArrayLike, n_hits: ArrayLike) -> HalfPoint:
    """Fit the share of hits found against the logarithm of the Bragg scale.

    The share is taken as a cumulative normal, its middle and width as equally likely a priori on
    a grid of logarithms (middles from 3·10⁻⁵ to 10). A middle at the end of the grid means that
    all scales are on one side of it.

    Parameters
    ----------
    scales, n_found, n_hits : array_like, shape (n,)
        Bragg scales, hits found and hits at each.
    """
    x = np.log10(np.asarray(scales, float))
    found, total = np.asarray(n_found, float), np.asarray(n_hits, float)
    z = (x[None, None, :] - _MIDDLES[:, None, None]) / _WIDTHS[None, :, None]
    # Mistakes of one in a hundred at any scale keep a single frame from ruling out everything.
    hit = np.logaddexp(np.log(0.98) + log_ndtr(z), np.log(0.01))
    miss = np.logaddexp(np.log(0.98) + log_ndtr(-z), np.log(0.01))
    log_likelihood = (found * hit + (total - found) * miss).sum(2)
    weight = np.exp(log_likelihood - log_likelihood.max()).sum(1)
    cumulative = np.cumsum(weight) / weight.sum()
    low, middle, high = np.interp([0.16, 0.5, 0.84], cumulative, _MIDDLES)
    return HalfPoint(float(10**middle), float(10**low), float(10**high))

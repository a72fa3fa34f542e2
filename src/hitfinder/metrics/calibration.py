"""Whether probabilities mean what they say, and precision against recall."""

from __future__ import annotations

import dataclasses

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.stats import binom

from hitfinder.metrics.classification import kept_at_cuts, wilson_interval


@dataclasses.dataclass(frozen=True, eq=False)
class Reliability:
    """How often predictions of a given probability came true.

    Attributes
    ----------
    predicted : ndarray of float64, shape (n_bins,)
        Mean probability in each bin; NaN in empty bins.
    observed : ndarray of float64, shape (n_bins,)
        Fraction that came true; NaN in empty bins.
    low, high : ndarray of float64, shape (n_bins,)
        95 % interval of that fraction.
    count : ndarray of int64, shape (n_bins,)
        Predictions in each bin.
    error : float
        Expected calibration error: mean of ``|predicted − observed|`` over the predictions
        (Naeini, Cooper and Hauskrecht, AAAI 2015).
    by_chance : float
        The error to expect of so many predictions if every one were right.
    """

    predicted: NDArray[np.float64]
    observed: NDArray[np.float64]
    low: NDArray[np.float64]
    high: NDArray[np.float64]
    count: NDArray[np.int64]
    error: float
    by_chance: float


def reliability(probability: ArrayLike, came_true: ArrayLike, n_bins: int = 10) -> Reliability:
    """Compare probabilities with how often they came true, in bins of equal width.

    Parameters
    ----------
    probability : array_like, shape (n,)
        Predicted probabilities.
    came_true : array_like of bool, shape (n,)
        Whether what was predicted is so.
    n_bins : int
        Bins from 0 to 1.

    Raises
    ------
    ValueError
        If a probability is outside 0 to 1, or the lengths differ.
    """
    p, true = np.asarray(probability, float), np.asarray(came_true, bool)
    if p.shape != true.shape or p.ndim != 1:
        raise ValueError(f"expected two lists of one length, got shapes {p.shape} and {true.shape}")
    if not np.all((p >= 0) & (p <= 1)):
        raise ValueError("probabilities must lie between 0 and 1")
    which = np.minimum((p * n_bins).astype(int), n_bins - 1)
    count = np.bincount(which, minlength=n_bins)
    n_true = np.bincount(which, true, n_bins)
    safe = np.maximum(count, 1)
    predicted = np.where(count, np.bincount(which, p, n_bins) / safe, np.nan)
    observed = np.where(count, n_true / safe, np.nan)
    low, high = wilson_interval(n_true, count)
    n = max(len(p), 1)
    error = float(np.nansum(np.abs(predicted - observed) * count) / n)
    by_chance = float(_mean_deviation(count, np.nan_to_num(predicted)).sum() / n)
    return Reliability(predicted, observed, low, high, count, error, by_chance)


def _mean_deviation(
    count: NDArray[np.int64], probability: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Mean of |X - n p| for a binomial X, by De Moivre's formula.

    P. Diaconis & S. Zabell, Statistical Science 6 (1991) 284.
    """
    least = np.floor(count * probability) + 1
    return 2 * least * (1 - probability) * binom.pmf(least, count, probability)


def precision_recall_curve(
    score: ArrayLike, is_hit: ArrayLike
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
    """Precision and recall for every cut on a score.

    Parameters
    ----------
    score : array_like, shape (n,)
        Score of each frame; larger means more likely a hit.
    is_hit : array_like of bool, shape (n,)
        Whether it truly is one.

    Returns
    -------
    precision, recall : ndarray
        Of the frames with a score at or above the cut.
    cut : ndarray
        The cuts, falling.

    Raises
    ------
    ValueError
        If there are no hits, or a score is NaN.
    """
    cut, hits, blanks = kept_at_cuts(score, is_hit)
    if not (len(cut) and hits[-1]):
        raise ValueError("a precision-recall curve needs hits")
    return hits / (hits + blanks), hits / hits[-1], cut

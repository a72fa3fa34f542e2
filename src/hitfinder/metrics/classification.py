"""How well frames are told apart: confusion, ROC, and the uncertainty of a rate."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import ndtri


def wilson_interval(
    n_success: ArrayLike, n_trials: ArrayLike, confidence: float = 0.95
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Confidence interval of a proportion (Wilson, J. Am. Stat. Assoc. 22, 209 (1927)).

    Parameters
    ----------
    n_success, n_trials : array_like
        Successes and trials; no trials give the interval 0 to 1.
    confidence : float
        Coverage, between 0 and 1.

    Returns
    -------
    low, high : ndarray of float64
        Ends of the interval.

    Raises
    ------
    ValueError
        If successes are not between 0 and the trials, or the confidence not between 0 and 1.
    """
    k, n = np.broadcast_arrays(np.asarray(n_success, float), np.asarray(n_trials, float))
    if not 0 < confidence < 1:
        raise ValueError(f"confidence must be between 0 and 1, got {confidence}")
    if np.any((k < 0) | (k > n)):
        raise ValueError("successes must lie between 0 and the number of trials")
    z2 = ndtri(0.5 + confidence / 2) ** 2
    safe = np.where(n > 0, n, 1)
    p = k / safe
    centre = (p + z2 / (2 * safe)) / (1 + z2 / safe)
    half = np.sqrt(z2 * (p * (1 - p) / safe + z2 / (4 * safe**2))) / (1 + z2 / safe)
    low = np.where(n > 0, np.clip(centre - half, 0, 1), 0.0)
    high = np.where(n > 0, np.clip(centre + half, 0, 1), 1.0)
    return low, high


def confusion_matrix(truth: ArrayLike, decided: ArrayLike, n_classes: int = 2) -> NDArray[np.int64]:
    """Count frames by true class (row) and decided class (column).

    Parameters
    ----------
    truth, decided : array_like of int or bool, shape (n,)
        Classes from 0 to ``n_classes - 1``.
    n_classes : int
        Number of classes.

    Raises
    ------
    ValueError
        If the lengths differ or a class is out of range.
    """
    t, d = np.asarray(truth).astype(np.int64), np.asarray(decided).astype(np.int64)
    if t.shape != d.shape or t.ndim != 1:
        raise ValueError(f"expected two lists of one length, got shapes {t.shape} and {d.shape}")
    if len(t) and not (min(t.min(), d.min()) >= 0 and max(t.max(), d.max()) < n_classes):
        raise ValueError(f"classes must lie between 0 and {n_classes - 1}")
    return np.bincount(t * n_classes + d, minlength=n_classes**2).reshape(n_classes, n_classes)


def roc_curve(
    score: ArrayLike, is_hit: ArrayLike
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
    """Rates of false and of true hits for every cut on a score.

    Parameters
    ----------
    score : array_like, shape (n,)
        Score of each frame; larger means more likely a hit.
    is_hit : array_like of bool, shape (n,)
        Whether it truly is one.

    Returns
    -------
    false_rate, efficiency : ndarray
        Fractions of the blanks, and of the hits, with a score at or above the cut; from (0, 0)
        to (1, 1). Frames of equal score are counted together.
    cut : ndarray
        The cuts, falling, the first infinite.

    Raises
    ------
    ValueError
        If there are no hits or no blanks, or a score is NaN.
    """
    cut, hits, blanks = kept_at_cuts(score, is_hit)
    if not (len(cut) and hits[-1] and blanks[-1]):
        raise ValueError("a ROC curve needs both hits and blanks")
    return (
        np.concatenate([[0.0], blanks / blanks[-1]]),
        np.concatenate([[0.0], hits / hits[-1]]),
        np.concatenate([[np.inf], cut]),
    )


def kept_at_cuts(
    score: ArrayLike, is_hit: ArrayLike
) -> tuple[NDArray[np.float64], NDArray[np.int64], NDArray[np.int64]]:
    """Count the hits and the blanks with a score at or above each cut.

    Parameters
    ----------
    score, is_hit : array_like, shape (n,)
        As for `roc_curve`.

    Returns
    -------
    cut : ndarray
        The scores that occur, falling.
    hits, blanks : ndarray of int64, shape of `cut`
        How many there are.

    Raises
    ------
    ValueError
        If the lengths differ, or a score is NaN.
    """
    s, hit = np.asarray(score, float), np.asarray(is_hit, bool)
    if s.shape != hit.shape or s.ndim != 1:
        raise ValueError(f"expected two lists of one length, got shapes {s.shape} and {hit.shape}")
    if np.isnan(s).any():
        raise ValueError("a score is NaN")
    order = np.argsort(-s, kind="stable")
    s, hit = s[order], hit[order]
    last = np.flatnonzero(np.append(s[1:] != s[:-1], True)[: len(s)])
    return s[last], np.cumsum(hit)[last], np.cumsum(~hit)[last]


def efficiency_at_false_rate(
    score: ArrayLike, is_hit: ArrayLike, false_rate: float
) -> tuple[float, float]:
    """Largest fraction of hits kept while at most `false_rate` of the blanks are.

    Parameters
    ----------
    score, is_hit : array_like, shape (n,)
        As for `roc_curve`.
    false_rate : float
        Allowed fraction of blank frames called hits.

    Returns
    -------
    efficiency : float
        Fraction of the hits kept.
    cut : float
        Score at or above which a frame is kept.

    Raises
    ------
    ValueError
        As `roc_curve`, or if the rate is not between 0 and 1.
    """
    if not 0 <= false_rate <= 1:
        raise ValueError(f"false-hit rate must be between 0 and 1, got {false_rate}")
    rates, efficiency, cuts = roc_curve(score, is_hit)
    best = np.flatnonzero(rates <= false_rate + 1e-12)[-1]
    return float(efficiency[best]), float(cuts[best])

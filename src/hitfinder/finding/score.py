"""From peaks to a frame: how many peaks chance would give, and how unlikely a blank frame is.

The number of chance peaks at or beyond a log probability is known beforehand from the background
alone, because counts are whole numbers with a known law. Against it, a frame is scored by the most
surprising number of peaks at any level (Berk & Jones, Z. Wahrscheinlichkeitstheorie 47, 47, 1979),
so that many weak peaks count as one strong one does.
"""

from __future__ import annotations

import functools
import math

import numpy as np
from numba import njit
from numpy.typing import NDArray

from hitfinder.finding.peaks import WINDOW_PIXELS
from hitfinder.finding.poisson import log_mass, log_tail

LEVELS = -np.arange(8.0, 40.01, 0.5)
"""Log probabilities at which chance peaks are counted."""

_LOG_MEANS = np.linspace(math.log(1e-6), math.log(1e5), 600)
MEANS = np.exp(_LOG_MEANS)
"""Background per pixel at which chance peaks are tabulated."""

CHANCE_LIMIT = 20.0
"""Chance peaks down to which weak peaks take part in the score."""

_TRIALS = np.full(len(WINDOW_PIXELS), 0.65)
"""Independent trials a pixel for each window: windows overlap. Measured on blank frames
(tests/inference/test_score.py)."""


@njit(cache=True, nogil=True)
def _fill_chance_table(levels, means, windows, trials, table):
    """Chance of a window beyond each level, summed over windows, for each background.

    For one mean, the tail is summed downwards from far above, past the critical count of one
    level after another, so that no sum is taken twice.
    """
    table[:] = 0.0
    for m in range(means.size):
        for w in range(windows.size):
            mean = means[m] * windows[w]
            count = int(mean + 12.0 * math.sqrt(mean)) + 60
            while log_mass(count, mean, math.inf) < levels[-1] - 20.0:
                count -= 1
            term = tail = math.exp(log_mass(count, mean, math.inf))
            for k in range(levels.size - 1, -1, -1):
                below = term * count / mean
                while count > 1 and tail + below <= math.exp(levels[k]):
                    count -= 1
                    term, tail = below, tail + below
                    below = term * count / mean
                table[k, m] += trials[w] * tail


@functools.lru_cache(maxsize=1)
def chance_table() -> NDArray[np.float64]:
    """Chance peaks per pixel at or beyond each of `LEVELS`, for each of `MEANS`."""
    table = np.empty((LEVELS.size, MEANS.size))
    _fill_chance_table(LEVELS, MEANS, np.array(WINDOW_PIXELS, float), _TRIALS, table)
    return table


def chance_peaks(means: NDArray[np.float64], n_pixels: NDArray[np.int64]) -> NDArray[np.float64]:
    """Chance peaks expected in a blank frame at or beyond each of `LEVELS`.

    Parameters
    ----------
    means : ndarray, shape (n_rings,)
        Background per pixel in each ring.
    n_pixels : ndarray, shape (n_rings,)
        Pixels in each ring.

    Returns
    -------
    ndarray, shape of `LEVELS`
        Expected number of peaks, falling with the level.
    """
    spread = np.bincount(_places(means), weights=n_pixels, minlength=MEANS.size)
    return chance_table() @ spread


def chance_inside(
    means: NDArray[np.float64], n_pixels: NDArray[np.int64], log_p: float
) -> NDArray[np.float64]:
    """Share of the chance peaks of a blank frame that lie nearer to the beam than each ring.

    Parameters
    ----------
    means, n_pixels
        As for `chance_peaks`.
    log_p : float
        Log probability at or beyond which chance peaks are counted.

    Returns
    -------
    ndarray, shape (n_rings,)
        From 0 to 1; a half of a ring's own are inside.
    """
    level = int(np.abs(LEVELS - log_p).argmin())
    chance = chance_table()[level, _places(means)] * n_pixels
    inside = np.cumsum(chance)
    return np.asarray((inside - chance / 2) / max(inside[-1], 1e-300))


def _places(means: NDArray[np.float64]) -> NDArray[np.intp]:
    """Place in `MEANS` that each mean is nearest to."""
    steps = (np.log(np.maximum(means, MEANS[0])) - _LOG_MEANS[0]) / (_LOG_MEANS[1] - _LOG_MEANS[0])
    return np.rint(np.minimum(steps, MEANS.size - 1)).astype(np.intp)


def expected_beyond(
    log_p: NDArray[np.floating], chance: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Natural log of the chance peaks at or beyond given log probabilities.

    Beyond the last level the number is continued in proportion to the probability.

    Parameters
    ----------
    log_p : ndarray
        Log chance probabilities of peaks.
    chance : ndarray
        From `chance_peaks`.
    """
    logs = np.log(np.maximum(chance, 1e-300))
    out = np.interp(-log_p, -LEVELS, logs)
    return np.where(log_p < LEVELS[-1], logs[-1] + (log_p - LEVELS[-1]), out)


_LEAST_LOG = -1e4
"""Log of chance peaks beyond which a peak counts no more."""


def frame_score(log_expected: NDArray[np.float64]) -> float:
    """Score a frame: minus log10 of the share of blank frames that look at least as good.

    Parameters
    ----------
    log_expected : ndarray, sorted upwards
        Log of the chance peaks at or beyond each peak.

    Returns
    -------
    float
        0 for a frame without a peak; 2 means one blank frame in a hundred.
    """
    log_expected = log_expected[log_expected < math.log(CHANCE_LIMIT)]
    if log_expected.size == 0:
        return 0.0
    # Where no photon at all is expected, as in simulated frames without noise, a peak is infinitely
    # unlikely.
    log_expected = np.maximum(log_expected, _LEAST_LOG)
    best = _least_log_tail(log_expected)
    return calibrated(-best / math.log(10))


@njit(cache=True, nogil=True)
def _least_log_tail(log_expected):
    """Smallest log probability, over all ranks k, of at least k peaks as good as the k-th."""
    least = 0.0
    for i in range(log_expected.size):
        k, expected = i + 1, log_expected[i]
        if expected > -600.0:
            least = min(least, log_tail(k, math.exp(expected), math.inf))
        else:
            least = min(least, k * expected - math.lgamma(k + 1.0))
    return least


def calibrated(surprise: float) -> float:
    """Correct the best of many looks at one frame for there being many.

    Parameters
    ----------
    surprise : float
        Minus log10 of the smallest tail probability over all ranks.
    """
    return float(np.interp(surprise, *_look_table())) if surprise < 4 else surprise - _last_gap()


@functools.lru_cache(maxsize=1)
def _look_table() -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Surprise and minus log10 of its tail probability, from simulated lists of chance peaks."""
    rng = np.random.default_rng(20240229)
    n_lists, n_ranks = 100_000, 40
    surprise = np.empty(n_lists)
    for start in range(0, n_lists, 10_000):
        at = np.cumsum(rng.exponential(size=(10_000, n_ranks)), axis=1)
        surprise[start : start + 10_000] = _surprises(at)
    surprise.sort()
    grid = np.linspace(0, 4, 41)
    beyond = n_lists - np.searchsorted(surprise, grid, side="left")
    keep = beyond >= 20
    return grid[keep], -np.log10(beyond[keep] / n_lists)


def _last_gap() -> float:
    """Surprise minus score where the table ends; it changes slowly beyond."""
    surprise, score = _look_table()
    return float(surprise[-1] - score[-1])


@njit(cache=True)
def _surprises(at):
    """Largest minus log10 tail probability over the ranks of each row of chance peaks."""
    out = np.zeros(at.shape[0])
    for row in range(at.shape[0]):
        for k in range(at.shape[1]):
            if at[row, k] >= CHANCE_LIMIT:
                break
            out[row] = max(out[row], -log_tail(k + 1, at[row, k], math.inf) / math.log(10.0))
    return out

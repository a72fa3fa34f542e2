"""Tail probabilities of counts, compiled, in natural logarithms."""

from __future__ import annotations

import functools
import math

import numpy as np
from numba import njit
from numpy.typing import NDArray
from scipy import special

_SERIES_END = 1e-10
_MAX_TERMS = 20000


@njit(cache=True, nogil=True, inline="never")
def log_tail(count: int, mean: float, shape: float) -> float:
    """Log probability of at least `count` counts where `mean` are expected.

    With an infinite `shape` the counts are Poisson. With a finite one the mean itself is known
    only as a gamma variable of that shape, and the counts follow the negative binomial law that
    results (Gelman et al., Bayesian Data Analysis, 3rd ed., section 2.6). The tail is summed from
    its first term, which converges fast above the mean; below the mean the complement is summed.

    Parameters
    ----------
    count : int
        Observed counts.
    mean : float
        Expected counts, not negative.
    shape : float
        Gamma shape of the expected counts: counts' worth of knowledge of the mean.

    Returns
    -------
    float
        Natural logarithm of P(N >= count); -inf if `mean` is 0 and `count` is positive.
    """
    if count <= 0:
        return 0.0
    if mean <= 0.0:
        return -math.inf
    if count > mean:
        return min(0.0, log_mass(count, mean, shape) + math.log(_upper_sum(count, mean, shape)))
    below = math.exp(log_mass(count - 1, mean, shape)) * _lower_sum(count - 1, mean, shape)
    return math.log(max(1e-300, 1.0 - min(below, 1.0)))


@njit(cache=True, nogil=True, inline="never")
def log_mass(count: int, mean: float, shape: float) -> float:
    """Log probability of exactly `count` counts; parameters as in `log_tail`, mean positive."""
    if shape > 1e9:
        return count * math.log(mean) - mean - math.lgamma(count + 1.0)
    return (
        math.lgamma(count + shape)
        - math.lgamma(shape)
        - math.lgamma(count + 1.0)
        - shape * math.log1p(mean / shape)
        - count * math.log1p(shape / mean)
    )


@njit(cache=True, nogil=True)
def _upper_sum(count: int, mean: float, shape: float) -> float:
    """Sum of P(n)/P(count) over n >= count."""
    spread = 0.0 if shape > 1e9 else 1.0 / shape
    odds = mean / (1.0 + mean * spread)
    term = total = 1.0
    for n in range(count, count + _MAX_TERMS):
        term *= odds * (1.0 + n * spread) / (n + 1.0)
        total += term
        if term < _SERIES_END * total:
            break
    return total


@njit(cache=True, nogil=True)
def _lower_sum(count: int, mean: float, shape: float) -> float:
    """Sum of P(n)/P(count) over n <= count."""
    spread = 0.0 if shape > 1e9 else 1.0 / shape
    odds = mean / (1.0 + mean * spread)
    term = total = 1.0
    for n in range(count, 0, -1):
        term *= n / (odds * (1.0 + (n - 1.0) * spread))
        total += term
        if term < _SERIES_END * total:
            break
    return total


@njit(cache=True, nogil=True)
def critical_count(mean: float, log_p: float) -> int:
    """Smallest count whose Poisson tail probability is at most exp(`log_p`).

    Parameters
    ----------
    mean : float
        Expected counts, not negative.
    log_p : float
        Natural logarithm of the probability, negative.

    Returns
    -------
    int
        At least 1.
    """
    if mean <= 0.0:
        return 1
    step = max(1, int(math.sqrt(mean) + 0.5))
    count = int(mean) + 1
    while log_tail(count, mean, math.inf) > log_p:
        count += step
    while count > 1 and log_tail(count - 1, mean, math.inf) <= log_p:
        count -= 1
    return count


_TABLE_COUNTS = 1 << 10, 1 << 16
"""Counts up to which means are tabulated: for most frames, and for all."""


def critical_counts(means: NDArray[np.float64], log_p: float) -> NDArray[np.int32]:
    """Vectorised `critical_count`, for one probability and many means.

    A Poisson tail is a regularised incomplete gamma function of the mean (Abramowitz & Stegun,
    26.4.21), whose inverse tabulates the mean at which the critical count steps up.

    Parameters
    ----------
    means : ndarray
        Expected counts; means beyond 65,000 get a Gaussian bound.
    log_p : float
        Natural logarithm of the probability, negative.

    Returns
    -------
    ndarray of int32, shape of `means`
    """
    counts = np.empty(means.shape, np.int32)
    wanted = np.ascontiguousarray(means, np.float64).ravel(), counts.ravel()
    few, many = _TABLE_COUNTS
    if not fill_critical(*critical_table(log_p, few), *wanted):
        fill_critical(*critical_table(log_p, many), *wanted)
    return counts


@functools.lru_cache(maxsize=32)
def critical_table(log_p: float, n_counts: int) -> tuple[NDArray[np.float64], float]:
    """Return what `fill_critical` needs for a probability.

    Parameters
    ----------
    log_p : float
        Natural logarithm of the probability, negative.
    n_counts : int
        Counts up to which means are tabulated.

    Returns
    -------
    bounds : ndarray, shape (n_counts - 1,)
        Largest mean at which each count, from 1, is as unlikely as exp(`log_p`).
    sigmas : float
        Standard deviations beyond which a Gaussian variable is as unlikely.
    """
    bounds = special.gammaincinv(np.arange(1, n_counts), math.exp(log_p))
    return bounds, -float(special.ndtri_exp(log_p))


@njit(cache=True, nogil=True)
def fill_critical(
    bounds: NDArray[np.float64],
    sigmas: float,
    means: NDArray[np.float64],
    counts: NDArray[np.int32],
) -> bool:
    """Write the critical count of each mean, and return whether all of them are tabulated.

    Means of rings one behind the other are alike: each place is looked for from the last one
    outwards, in steps that double (J. L. Bentley & A. C. Yao, Inform. Process. Lett. 5, 82, 1976).

    Parameters
    ----------
    bounds, sigmas
        From `critical_table`; means beyond the table get a Gaussian bound.
    means : ndarray, shape (n,)
        Expected counts.
    counts : ndarray of int32, shape (n,)
        Written.
    """
    place, inside = 0, True
    for k in range(means.size):
        mean, step = means[k], 1
        if not mean <= bounds[-1]:
            inside = False
            counts[k] = bounds.size + 1
            if mean > bounds[-1]:
                counts[k] = np.int32(mean + sigmas * math.sqrt(mean) + 1)
            continue
        low = high = place
        while low > 0 and bounds[low - 1] >= mean:
            low, high, step = max(low - step, 0), low - 1, 2 * step
        while high < bounds.size and not bounds[high] >= mean:
            low, high, step = high + 1, min(high + step, bounds.size), 2 * step
        while low < high:
            middle = (low + high) // 2
            if bounds[middle] >= mean:
                high = middle
            else:
                low = middle + 1
        place = low
        counts[k] = place + 1
    return inside

"""Counts that an ideal counter would have shown, of values with Gaussian noise.

Photons with the noise of a read-out follow a Poisson law folded with a Gaussian. A value is
replaced by the count that is as improbable where the same background is counted without noise:
the largest n with P(N >= n) >= P(X >= x). So the counts of the background follow its Poisson law
exactly, whatever the noise, and so do sums over windows; everything that is known of counts
holds for them. A value far above the noise keeps its number of photons.

The background has to be known for this, which is estimated from counts. A first set of counts,
as if every pixel had the same faint background, gives it: its mean is a known function of the
true background, which is inverted ring by ring.
"""

from __future__ import annotations

import functools
import math

import numpy as np
from numba import njit
from numpy.typing import NDArray

from hitfinder.finding.poisson import log_mass, log_tail
from hitfinder.finding.texture import expected

LEVELS_PER_OCTAVE = 8
LOWEST_MEAN, HIGHEST_MEAN = 2.0**-14, 64.0
"""Background for which there are thresholds; above, both laws are taken for Gaussian."""

FIRST_MEAN = 2.0**-6
"""Background that the first counts are taken under."""

SIGMA_STEP = 0.01
"""Photons. The noise is rounded to this."""

_N_LEVELS = int(math.log2(HIGHEST_MEAN / LOWEST_MEAN)) * LEVELS_PER_OCTAVE + 1
_MEANS = LOWEST_MEAN * 2.0 ** (np.arange(_N_LEVELS) / LEVELS_PER_OCTAVE)
_LOG_LEAST, _LOG_SURE = -200.0, -1e-6
_MOST_COUNTS = 256
_REACH = 7.0
_FIRST_LEVEL = int(math.log2(FIRST_MEAN / LOWEST_MEAN)) * LEVELS_PER_OCTAVE


@functools.lru_cache(maxsize=64)
def thresholds(step: int) -> NDArray[np.float32]:
    """Return from which value on a pixel has so many counts, for noise of `step` `SIGMA_STEP`.

    Returns
    -------
    ndarray of float32, shape (n_levels, n)
        Values at which the count reaches 1, 2 ...; rising by 1 beyond the last one.
    """
    out = np.empty((_N_LEVELS, _MOST_COUNTS), np.float32)
    _tabulate(_MEANS, step * SIGMA_STEP, out)
    return out


@njit(cache=True, nogil=True)
def _log_folded_tail(x, mean, sigma):  # type: ignore[no-untyped-def]
    """Log probability of a value of at least x: Poisson, folded with a Gaussian."""
    first = max(0, math.ceil(x - _REACH * sigma))
    last = max(first, math.floor(x + _REACH * sigma) + 1)
    top = log_tail(last, mean, math.inf)
    total = 0.0
    for n in range(first, last):
        inside = 0.5 * math.erfc((x - n) / (sigma * math.sqrt(2.0)))
        total += inside * math.exp(log_mass(n, mean, math.inf) - top)
    # What is below `first` reaches x only where it is far more frequent than what is above.
    for n in range(max(0, first - 20), first):
        z = (x - n) / sigma
        log_inside = -0.5 * z * z - math.log(z * 2.5066282746)
        total += math.exp(min(log_inside + log_mass(n, mean, math.inf) - top, 600.0))
    return top + math.log1p(total)


@njit(cache=True, nogil=True)
def _tabulate(means, sigma, out):  # type: ignore[no-untyped-def]
    """Find the value that is as improbable as each count, for each mean, by bisection."""
    for level in range(means.size):
        mean, last = means[level], 0.0
        for k in range(out.shape[1]):
            target = log_tail(k + 1, mean, math.inf)
            if target < _LOG_LEAST:
                out[level, k] = last = last + 1.0
                continue
            if target > _LOG_SURE:
                out[level, k] = last = k + 0.5
                continue
            low, high = k + 0.5 - _REACH * sigma - 1.0, k + 1.0 + _REACH * sigma + 1.0
            for _ in range(18):
                middle = 0.5 * (low + high)
                if _log_folded_tail(middle, mean, sigma) > target:
                    low = middle
                else:
                    high = middle
            out[level, k] = last = 0.5 * (low + high)


@functools.lru_cache(maxsize=64)
def first_means(step: int) -> NDArray[np.float64]:
    """Return the mean of the first counts for each background, for noise of `step` `SIGMA_STEP`.

    Returns
    -------
    ndarray, shape (n_levels,)
    """
    out = np.empty(_N_LEVELS)
    _tabulate_means(_MEANS, step * SIGMA_STEP, thresholds(step)[_FIRST_LEVEL], out)
    return out


@njit(cache=True, nogil=True)
def _tabulate_means(means, sigma, values, out):  # type: ignore[no-untyped-def]
    for level in range(means.size):
        out[level] = 0.0
        for value in values:
            part = math.exp(_log_folded_tail(value, means[level], sigma))
            out[level] += part
            if part < 1e-9 * out[level]:
                break


def true_means(counted: NDArray[np.float64], sigma: float) -> NDArray[np.float64]:
    """Return the background for which the first counts have the means that were found.

    Parameters
    ----------
    counted : ndarray
        Mean first counts per pixel.
    sigma : float
        Noise in photons.
    """
    table = first_means(noise_step(sigma))
    inside = np.interp(counted, table, _MEANS)
    return np.where(counted > table[-1], counted + HIGHEST_MEAN - table[-1], inside)


def noise_step(sigma: float) -> int:
    """Return the noise in `SIGMA_STEP`."""
    return max(1, round(sigma / SIGMA_STEP))


def first_counts(
    values: NDArray[np.float32], sigma: float, limit: int, counts: NDArray[np.int32]
) -> None:
    """Write the counts of values as if every pixel had the background `FIRST_MEAN`.

    Parameters
    ----------
    values : ndarray of float32, shape (ss, fs)
        Photons with noise; NaN where there is no reading.
    sigma : float
        Noise in photons.
    limit : int
        Largest count.
    counts : ndarray of int32, shape (ss, fs)
        Written: counts, -1 where there is no reading.
    """
    _first_counts(values, thresholds(noise_step(sigma))[_FIRST_LEVEL], np.int32(limit), counts)


@njit(cache=True, nogil=True)
def _first_counts(values, row, limit, counts):  # type: ignore[no-untyped-def]
    for i in range(values.shape[0]):
        for j in range(values.shape[1]):
            value = values[i, j]
            if math.isnan(value):
                counts[i, j] = -1
            elif value < row[0]:
                counts[i, j] = 0
            else:
                counts[i, j] = min(_count(value, row), limit)


@njit(cache=True, nogil=True, inline="always")
def _count(value, row):  # type: ignore[no-untyped-def]
    """Count of a value, at least `row[0]`, under the thresholds of its background."""
    n = row.size
    if value >= row[n - 1]:
        return np.int32(min(n + np.int64(value - row[n - 1]), np.int64(1) << 30))
    k = min(max(np.int64(value), 0), n - 1)
    while k > 0 and value < row[k - 1]:
        k -= 1
    while k < n and value >= row[k]:
        k += 1
    return np.int32(k)


def final_counts(
    values: NDArray[np.float32],
    sigma: float,
    limit: int,
    position: NDArray[np.float32],
    weight: NDArray[np.float32],
    rate: NDArray[np.float64],
    counts: NDArray[np.int32],
) -> None:
    """Write the counts of values over a known background.

    Parameters
    ----------
    values, sigma, limit
        As for `first_counts`.
    position, weight : ndarray of float32, shape (ss, fs)
        Radial position and relative brightness of each pixel.
    rate : ndarray of float64, shape (n_rings,)
        Background at weight 1.
    counts : ndarray of int32, shape (ss, fs)
        Written where it is not negative.
    """
    table = thresholds(noise_step(sigma))
    _final_counts(
        values, table, table.min(axis=0)[0], sigma, np.int32(limit), position, weight, rate, counts
    )


@njit(cache=True, nogil=True)
def _final_counts(values, table, least, sigma, limit, position, weight, rate, counts):  # type: ignore[no-untyped-def]
    for i in range(values.shape[0]):
        for j in range(values.shape[1]):
            if counts[i, j] < 0:
                continue
            value = values[i, j]
            if value < least:
                counts[i, j] = 0
                continue
            mean = expected(i, j, position, weight, rate)
            if mean >= HIGHEST_MEAN:
                narrow = math.sqrt(mean / (mean + sigma * sigma))
                counts[i, j] = min(max(int(mean + (value - mean) * narrow + 0.5), 0), limit)
                continue
            level = 0
            if mean > LOWEST_MEAN:
                level = int(math.log2(mean / LOWEST_MEAN) * LEVELS_PER_OCTAVE + 0.5)
            row = table[min(level, table.shape[0] - 1)]
            counts[i, j] = min(_count(value, row), limit) if value >= row[0] else np.int32(0)

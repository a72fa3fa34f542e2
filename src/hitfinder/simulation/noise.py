"""Exact Poisson counting: dense frames, and photon by photon where photons are rare.

A Poisson variable of mean λ is the sum of one of mean λₖ ≤ λ and one of mean λ - λₖ. Means λₖ on a
fine grid have their alias tables (Walker, ACM Trans. Math. Softw. 3, 253 (1977)), so that almost
every pixel costs one random number and one look-up; the small rest is nearly always zero and is
drawn exactly when it is not. Means above the grid are a sum of several draws, and large ones use
transformed rejection (PTRS: Hörmann, Insurance:
Mathematics and Economics 12, 39 (1993)).
"""

from __future__ import annotations

import functools
import math

import numba
import numpy as np
from numpy.typing import NDArray

from hitfinder.simulation.rng import next_u64, uniform

_LEVELS_PER_PHOTON = 16
_TABLE_MEAN = 32
_REJECTION_MEAN = 256
_BUCKETS = 128
# One random number serves three purposes: 7 bits choose a bucket, 32 choose between its two
# counts, 25 tell whether the rest λ - λₖ can be anything but zero.
_REST_RANGE = 1 << 25


def poisson_frame(
    expected: NDArray[np.floating],
    state: NDArray[np.uint64],
    out: NDArray[np.unsignedinteger],
    scale: float = 1.0,
    add: bool = False,
) -> NDArray[np.unsignedinteger]:
    """Draw Poisson counts for every pixel.

    Parameters
    ----------
    expected : ndarray, shape (n_ss, n_fs)
        Expected photons per pixel; NaN and negative values count as 0.
    state : ndarray of uint64, shape (4,)
        Generator state from `hitfinder.simulation.rng.random_state`; advanced.
    out : ndarray of uint8, uint16 or uint32, shape of `expected`
        Filled and returned. Counts its type cannot hold are set to its largest value.
    scale : float
        Factor on the expected photons.
    add : bool
        Add to what `out` holds, instead of replacing it.
    """
    if out.shape != expected.shape:
        raise ValueError(f"output shape {out.shape} is not {expected.shape}")
    if not (scale >= 0 and math.isfinite(scale)):
        raise ValueError(f"scale must be finite and not negative, got {scale}")
    limit = np.iinfo(out.dtype).max
    there = out if add else None
    _poisson_rows(expected, scale, _alias_table(), state, out, limit, there)
    return out


@functools.cache
def _alias_table() -> NDArray[np.uint64]:
    """Alias tables of the grid of means, shape (levels, buckets).

    Each entry holds a 32-bit threshold (upper half) and the other count (lower half).
    """
    levels = _TABLE_MEAN * _LEVELS_PER_PHOTON + 1
    means = np.arange(levels) / _LEVELS_PER_PHOTON
    return build_alias(means, _BUCKETS)


@numba.njit(cache=True)
def build_alias(means, buckets):  # type: ignore[no-untyped-def]
    """Vose's construction, IEEE Trans. Softw. Eng. 17, 972 (1991)."""
    table = np.zeros((len(means), buckets), np.uint64)
    weight = np.empty(buckets)
    small, large = np.empty(buckets, np.int64), np.empty(buckets, np.int64)
    for level in range(len(means)):
        mean = means[level]
        total = 0.0
        for n in range(buckets):
            if mean == 0.0:
                weight[n] = 1.0 if n == 0 else 0.0
            else:
                weight[n] = math.exp(n * math.log(mean) - mean - math.lgamma(n + 1.0))
            total += weight[n]
        n_small = n_large = 0
        for n in range(buckets):
            weight[n] *= buckets / total
            if weight[n] < 1.0:
                small[n_small] = n
                n_small += 1
            else:
                large[n_large] = n
                n_large += 1
        other = np.arange(buckets)
        while n_small and n_large:
            n_small -= 1
            less, more = small[n_small], large[n_large - 1]
            other[less] = more
            weight[more] -= 1.0 - weight[less]
            if weight[more] < 1.0:
                n_large -= 1
                small[n_small] = more
                n_small += 1
        for n in range(buckets):
            own = 1.0 if other[n] == n else min(max(weight[n], 0.0), 1.0)
            threshold = np.uint64(min(round(own * 4294967296.0), 4294967295.0))
            table[level, n] = (threshold << np.uint64(32)) | np.uint64(other[n])
    return table


@numba.njit(cache=True, nogil=True, error_model="numpy")
def _poisson_rows(expected, scale, table, state, out, limit, there):  # type: ignore[no-untyped-def]
    n_ss, n_fs = out.shape
    local = state.copy()
    for j in range(n_ss):
        for i in range(n_fs):
            mean = scale * expected[j, i]
            count = np.int64(0)
            if there is not None:
                count += there[j, i]
            if not mean > 0.0:
                out[j, i] = count
                continue
            if mean >= _REJECTION_MEAN:
                out[j, i] = min(count + poisson_large(mean, local), limit)
                continue
            while mean >= _TABLE_MEAN:
                count += _from_table(table[_TABLE_MEAN * _LEVELS_PER_PHOTON], next_u64(local))
                mean -= _TABLE_MEAN
            at = mean * _LEVELS_PER_PHOTON
            level = np.uint64(at)
            rest = (at - np.float64(level)) / _LEVELS_PER_PHOTON
            bits = next_u64(local)
            count += _from_table(table[level], bits)
            # The rest gives photons with probability 1 - exp(-rest) < rest.
            if np.float64(bits & np.uint64(_REST_RANGE - 1)) < rest * _REST_RANGE:
                count += _poisson_rest(rest, math.ceil(rest * _REST_RANGE) / _REST_RANGE, local)
            out[j, i] = min(count, limit)
    for n in range(len(state)):
        state[n] = local[n]


@numba.njit(cache=True, nogil=True, inline="always")
def _from_table(row, bits):  # type: ignore[no-untyped-def]
    """Draw a count from one alias table with the upper 39 of 64 random bits."""
    bucket = bits >> np.uint64(57)
    entry = row[bucket]
    if ((bits >> np.uint64(25)) & np.uint64(0xFFFFFFFF)) < (entry >> np.uint64(32)):
        return np.int64(bucket)
    return np.int64(entry & np.uint64(0xFFFFFFFF))


@numba.njit(cache=True, nogil=True, error_model="numpy")
def _poisson_rest(mean, passed, state):  # type: ignore[no-untyped-def]
    """Draw the small rest, given that a test of probability `passed` >= 1 - exp(-mean) passed."""
    left = uniform(state) * passed
    if left >= -math.expm1(-mean):
        return 0
    count = 1
    probability = mean * math.exp(-mean)
    while left >= probability and probability > 0.0:
        left -= probability
        count += 1
        probability *= mean / count
    return count


@numba.njit(cache=True, nogil=True, error_model="numpy")
def poisson(mean, state):  # type: ignore[no-untyped-def]
    """Draw one Poisson number; a compiled helper for other kernels."""
    if not mean > 0.0:
        return 0
    if mean >= 10.0:
        return poisson_large(mean, state)
    left = uniform(state)
    probability = math.exp(-mean)
    count = 0
    while left >= probability and count < 200:
        left -= probability
        count += 1
        probability *= mean / count
    return count


@numba.njit(cache=True, nogil=True, error_model="numpy")
def poisson_list(first, pixels, photons, scale, state, counts, limit):  # type: ignore[no-untyped-def]
    """Add Poisson draws of listed pixels to flat `counts`; return the sum of each group.

    Group i is the entries ``first[i]`` up to ``first[i + 1]`` of `pixels` (flat indices) and
    `photons` (their means, times `scale`). A full pixel stays at `limit`.
    """
    sums = np.zeros(len(first) - 1, np.int64)
    for group in range(len(first) - 1):
        for n in range(first[group], first[group + 1]):
            drawn = poisson(scale * photons[n], state)
            counts[pixels[n]] = min(counts[pixels[n]] + drawn, limit)
            sums[group] += drawn
    return sums


@numba.njit(cache=True, nogil=True, error_model="numpy")
def poisson_large(mean, state):  # type: ignore[no-untyped-def]
    """Draw one Poisson number of mean 10 or more: algorithm PTRS of Hörmann (1993)."""
    b = 0.931 + 2.53 * math.sqrt(mean)
    a = -0.059 + 0.02483 * b
    inverse_alpha = 1.1239 + 1.1328 / (b - 3.4)
    v_r = 0.9277 - 3.6224 / (b - 2.0)
    log_mean = math.log(mean)
    while True:
        u = uniform(state) - 0.5
        v = uniform(state)
        us = 0.5 - abs(u)
        k = math.floor((2.0 * a / us + b) * u + mean + 0.43)
        if us >= 0.07 and v <= v_r:
            return np.int64(k)
        if k < 0.0 or (us < 0.013 and v > us):
            continue
        density = k * log_mean - mean - math.lgamma(k + 1.0)
        if math.log(v) + math.log(inverse_alpha) - math.log(a / (us * us) + b) <= density:
            return np.int64(k)

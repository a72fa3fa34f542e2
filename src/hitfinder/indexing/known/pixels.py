"""Compiled: what the count of a pixel says of a reflection that is predicted there.

That a pixel has n counts has a chance by Poisson's distribution of its background alone, and of its
background with the reflection. The reflection lies on the pixel with a certain chance only, as far
as its place is known; else the pixel is as one without it. Counts and backgrounds are sorted into
classes, so that the ratios are looked up.
"""

from __future__ import annotations

import math

import numba
import numpy as np
from numpy.typing import NDArray

from hitfinder.indexing.known.predict import MOST_GAIN

_SHIFT = 19
"""Bits of a background, as a 32-bit float, that are dropped: 16 classes are left in an octave."""

N_COUNTS = 128
"""Classes of counts: numbers where there are few, parts of their standard deviation else."""

PER_E = 4
"""Steps of a table in a factor e of expected photons."""

LOWEST = -6.0
"""Natural log of the photons of the first step."""

N_STEPS = 56

UNKNOWN = np.uint16(0xFFFF)
"""Class of a pixel without a reading."""

_SHARE, _THERE = 0.8, 0.7
"""Share of a reflection's photons that its brightest pixel has, and the chance that this is the one
where it is predicted: the place is known to about a third of a pixel, along each side."""

_MOST_CLASSES = 500
_LEAST = 1e-250
"""Chance below which counts are taken for as telling as counts can be."""


def classes(
    counts: NDArray[np.int32], background: NDArray[np.float32]
) -> tuple[NDArray[np.uint16], NDArray[np.float64]]:
    """Sort pixels into classes by background and counts.

    Parameters
    ----------
    counts : ndarray of int32, shape of a frame
        Counts, negative where there is no reading.
    background : ndarray of float32, shape of a frame
        Expected background of each pixel, in photons; 0 where there is none.

    Returns
    -------
    codes : ndarray of uint16, shape of a frame
        N_COUNTS · class of background + class of counts, or `UNKNOWN`.
    levels : ndarray, shape (n_classes,)
        Background of each class, in photons.
    """
    some = background[background > 0]
    if not len(some):
        return np.full(counts.shape, UNKNOWN), np.ones(1)
    ends = np.array([some.min(), some.max()], np.float32).view(np.uint32) >> _SHIFT
    # Where a frame's background spans too much, the least counts for what it is not.
    first = max(int(ends[0]), int(ends[1]) - _MOST_CLASSES + 1)
    bits = np.arange(first, int(ends[1]) + 1, dtype=np.uint32) << _SHIFT
    levels = (bits + (1 << (_SHIFT - 1))).view(np.float32).astype(float)
    low, width = np.empty(len(levels), np.int32), np.empty(len(levels))
    _count_classes(levels, low, width)
    codes = np.empty(counts.shape, np.uint16)
    _classify(counts, background.view(np.uint32), first, low, 1.0 / width, codes)
    return codes, levels


@numba.njit(cache=True, nogil=True)
def _count_classes(levels, low, width):  # type: ignore[no-untyped-def]
    """Fill in the least count and the counts a class, for each class of background."""
    for k in range(len(levels)):
        sigma = math.sqrt(levels[k])
        low[k] = max(int(levels[k] - 2.0 * sigma), 0)
        width[k] = max(math.floor(sigma / 4.0), 1.0)


@numba.njit(cache=True, nogil=True)
def _classify(counts, bits, first, low, per_class, codes):  # type: ignore[no-untyped-def]
    codes[:] = UNKNOWN
    for row in range(counts.shape[0]):
        for x in range(counts.shape[1]):
            if bits[row, x] == 0 or counts[row, x] < 0:
                continue
            b = max(np.int64(bits[row, x] >> np.uint32(_SHIFT)) - first, 0)
            n = int((counts[row, x] - low[b]) * per_class[b])
            codes[row, x] = b * N_COUNTS + min(max(n, 0), N_COUNTS - 1)


@numba.njit(cache=True, nogil=True)
def gains(levels, nodes, weights, out):  # type: ignore[no-untyped-def]
    """Fill in what each class says of reflections, as log likelihood ratios.

    Parameters
    ----------
    levels : ndarray, shape (n_classes,)
        From `classes`.
    nodes, weights : ndarray, shape (k,)
        Of `hitfinder.indexing.known.expected.ExpectedReflections`.
    out : ndarray of float32, shape (N_STEPS, n_classes * N_COUNTS)
        Receives the ratios, none above `MOST_GAIN`. Step s is for e^(LOWEST + s / PER_E) photons.
    """
    low, width = np.empty(len(levels), np.int32), np.empty(len(levels))
    _count_classes(levels, low, width)
    most = int(low[-1] + N_COUNTS * width[-1]) + 2
    log_factorial = np.cumsum(np.log(np.maximum(np.arange(most), 1.0)))
    blank, lit, mixed = np.empty(N_COUNTS), np.empty(N_COUNTS), np.empty(N_COUNTS)
    for k in range(len(levels)):
        _chances(levels[k], low[k], width[k], log_factorial, blank)
        for s in range(N_STEPS):
            photons = math.exp(LOWEST + s / PER_E)
            mixed[:] = 0.0
            for q in range(len(nodes)):
                mean = levels[k] + _SHARE * photons * nodes[q]
                _chances(mean, low[k], width[k], log_factorial, lit)
                mixed += weights[q] * lit
            for n in range(N_COUNTS):
                ratio = np.inf if blank[n] < _LEAST else mixed[n] / blank[n]
                value = min(math.log(_THERE * ratio + 1.0 - _THERE), MOST_GAIN)
                out[s, k * N_COUNTS + n] = value


@numba.njit(cache=True, nogil=True)
def _chances(mean, low, width, log_factorial, out):  # type: ignore[no-untyped-def]
    """Fill in the chance of the counts of each class: Poisson's distribution."""
    n, log_mean = 0, math.log(mean)
    for k in range(N_COUNTS):
        end = low + int((k + 1) * width)
        out[k] = 0.0
        while n < end:
            out[k] += math.exp(n * log_mean - mean - log_factorial[n])
            n += 1

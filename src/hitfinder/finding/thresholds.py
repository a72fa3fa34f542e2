"""Smallest counts of small windows that are unlikely, for rings, pixels and strips of pixels."""

from __future__ import annotations

import numpy as np
from numba import njit
from numpy.typing import NDArray

from hitfinder.finding.poisson import critical_counts

STRIP = 32
"""Pixels in a strip."""

BAND = 32
"""Rows whose strips share their thresholds."""

WINDOWS = (1, 9, 25)
"""Pixels in the windows."""

_FAR = 1 << 30


def ring_thresholds(
    rate: NDArray[np.float64], weight_range: NDArray[np.float64], log_p: float
) -> NDArray[np.int32]:
    """Smallest window sums in each ring with a chance probability of at most exp(`log_p`).

    Parameters
    ----------
    rate : ndarray of float64, shape (n_rings,)
        Background at weight 1, in photons per pixel.
    weight_range : ndarray of float64, shape (2, n_rings)
        Smallest and largest pixel weight in each ring.
    log_p : float
        Natural logarithm of the chance probability.

    Returns
    -------
    ndarray of int32, shape (2, 3, n_rings)
        Thresholds of the 1-, 9- and 25-pixel windows on the dimmest and on the brightest pixels
        of the ring.
    """
    means = (rate * weight_range)[:, None, :] * np.array(WINDOWS)[None, :, None]
    return critical_counts(means, log_p)


@njit(cache=True, nogil=True, inline="always")
def place_in_ring(weight, low, high):
    """Where a pixel's weight is between its ring's dimmest (0) and brightest (1)."""
    return (weight - low) / (high - low) if high > low else 0.0


@njit(cache=True, nogil=True, inline="always")
def threshold(thresholds, k, r, part):
    """Threshold of window k in ring r, `part` of the way from dim to bright, rounded down."""
    return _between(thresholds[0, k, r], thresholds[1, k, r], part)


@njit(cache=True, nogil=True, inline="always")
def _between(low, high, part):
    """Return the value `part` of the way from a low to a high one, rounded down, in 32 bits."""
    return np.int32(low + np.int32(part * np.int32(high - low)))


def strip_spans(
    ring: NDArray[np.int16], weight: NDArray[np.float32]
) -> tuple[NDArray[np.int16], NDArray[np.int16], NDArray[np.float32]]:
    """First and last ring and least weight in each strip of a frame.

    Parameters
    ----------
    ring : ndarray of int16, shape (ss, fs)
        Ring of each pixel, -1 where masked.
    weight : ndarray of float32, shape (ss, fs)
        Relative brightness of each pixel.

    Returns
    -------
    first, last, least : ndarray, shape (n_bands, n_strips)
        Of the unmasked pixels of each strip of `BAND` rows; first is above last in a strip that
        is masked throughout.
    """
    n_ss, n_fs = ring.shape
    n_bands, n_strips = -(-n_ss // BAND), -(-n_fs // STRIP)
    padding = (0, n_bands * BAND - n_ss), (0, n_strips * STRIP - n_fs)
    rings = np.pad(ring, padding, constant_values=-1)
    weights = np.pad(weight, padding)
    weights[rings < 0] = np.inf
    blocks = n_bands, BAND, n_strips, STRIP
    last = rings.reshape(blocks).max(axis=(1, 3))
    rings[rings < 0] = np.iinfo(np.int16).max
    return rings.reshape(blocks).min(axis=(1, 3)), last, weights.reshape(blocks).min(axis=(1, 3))


@njit(cache=True, nogil=True)
def strip_parts(weight_range, first_ring, last_ring, least_weight):
    """Where the least weight of each strip is in each of the rings that cross it.

    Parameters
    ----------
    weight_range : ndarray of float64, shape (2, n_rings)
        Smallest and largest pixel weight in each ring.
    first_ring, last_ring, least_weight : ndarray, shape (n_bands, n_strips)
        From `strip_spans`.

    Returns
    -------
    ndarray of float64, shape (n,)
        `place_in_ring`, 0 at least, of the rings of the first strip, of the next and so on.
    """
    n = 0
    for i in range(first_ring.shape[0]):
        for s in range(first_ring.shape[1]):
            n += max(last_ring[i, s] + 1 - first_ring[i, s], 0)
    parts, k = np.empty(n), 0
    for i in range(first_ring.shape[0]):
        for s in range(first_ring.shape[1]):
            for r in range(first_ring[i, s], last_ring[i, s] + 1):
                part = place_in_ring(least_weight[i, s], weight_range[0, r], weight_range[1, r])
                parts[k] = max(part, 0.0)
                k += 1
    return parts


@njit(cache=True, nogil=True)
def strip_thresholds(thresholds, first_ring, last_ring, parts, out):
    """Lowest thresholds of the pixels in each strip.

    Parameters
    ----------
    thresholds : ndarray of int32, shape (2, 3, n_rings)
        From `ring_thresholds`.
    first_ring, last_ring : ndarray, shape (n_bands, n_strips)
        From `strip_spans`.
    parts : ndarray of float64
        From `strip_parts`.
    out : ndarray of int32, shape (3, n_bands, n_strips)
        Written.
    """
    begin = 0
    for i in range(first_ring.shape[0]):
        for s in range(first_ring.shape[1]):
            first = first_ring[i, s]
            n = max(last_ring[i, s] + 1 - first, 0)
            for k in range(out.shape[0]):
                low, high = thresholds[0, k, first : first + n], thresholds[1, k, first : first + n]
                out[k, i, s] = _least(low, high, parts[begin : begin + n])
            begin += n


@njit(cache=True, nogil=True)
def _least(low, high, parts):
    """Return the lowest `threshold` of some rings; on its own, so that it is vectorised."""
    least = np.int32(_FAR)
    for r in range(parts.size):
        least = min(least, _between(low[r], high[r], parts[r]))
    return least

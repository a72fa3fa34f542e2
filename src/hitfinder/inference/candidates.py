"""Pixels worth a closer look: one pass of small windows over a whole frame.

Window sums of 1×1, 3×3 and 5×5 pixels are compared with integer thresholds that follow the
background ring by ring. The pass works on strips of pixels so that the compiler can vectorise it;
a strip is looked at pixel by pixel only if its largest sum reaches the strip's lowest threshold.
"""

from __future__ import annotations

import numpy as np
from numba import njit
from numpy.typing import NDArray

from hitfinder.inference.poisson import critical_counts

STRIP = 32
"""Pixels in a strip."""

BAND = 4
"""Rows whose strips share their thresholds."""

WINDOWS = (1, 9, 25)
"""Pixels in the windows of the pass."""

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


@njit(cache=True, nogil=True)
def strip_thresholds(thresholds, first_ring, last_ring, out):
    """Lowest thresholds of the rings that each strip crosses.

    Parameters
    ----------
    thresholds : ndarray of int32, shape (2, 3, n_rings)
        From `ring_thresholds`.
    first_ring, last_ring : ndarray of int16, shape (n_bands, n_strips)
        From `strip_spans`.
    out : ndarray of int32, shape (3, n_bands, n_strips)
        Written.
    """
    for i in range(first_ring.shape[0]):
        for s in range(first_ring.shape[1]):
            for k in range(3):
                lowest = _FAR
                for r in range(first_ring[i, s], last_ring[i, s] + 1):
                    lowest = min(lowest, thresholds[0, k, r])
                out[k, i, s] = lowest


@njit(cache=True, nogil=True)
def find_candidates(
    work, ring, weight, weight_range, thresholds, strips, row_sum3, row_sum5, found
):
    """Find the pixels at the centre of a window that reaches its threshold.

    Parameters
    ----------
    work : ndarray of int32, shape (ss, fs)
        Counts, negative where there is no reading.
    ring : ndarray of int16, shape (ss, fs)
        Ring of each pixel, -1 where masked.
    weight : ndarray of float32, shape (ss, fs)
        Relative brightness of each pixel.
    weight_range : ndarray of float64, shape (2, n_rings)
        Smallest and largest pixel weight in each ring.
    thresholds : ndarray of int32, shape (2, 3, n_rings)
        From `ring_thresholds`.
    strips : ndarray of int32, shape (3, n_bands, n_strips)
        From `strip_thresholds`.
    row_sum3, row_sum5 : ndarray of int32, shape (fs + 4,)
        Room for sums over rows; the two pixels at either end stay 0.
    found : ndarray of int32, shape (n, 2)
        Written: (ss, fs) of the candidates in reading order.

    Returns
    -------
    int
        Number of candidates; those beyond the room in `found` are counted but not written.
    """
    n_ss, n_fs = work.shape
    count = 0
    for i in range(n_ss):
        _sum_rows(work, i, row_sum3, row_sum5)
        for s in range(strips.shape[2]):
            low1, low9, low25 = (
                strips[0, i // BAND, s],
                strips[1, i // BAND, s],
                strips[2, i // BAND, s],
            )
            if low1 == _FAR:
                continue
            start = s * STRIP
            stop = min(start + STRIP, n_fs)
            top1 = top9 = top25 = np.int32(0)
            row = work[i, start:stop]
            three = row_sum3[start + 1 : stop + 3]
            five = row_sum5[start : stop + 4]
            for j in range(row.size):
                top1 = max(top1, row[j])
            for j in range(row.size):
                top9 = max(top9, np.int32(three[j] + three[j + 1] + three[j + 2]))
            for j in range(row.size):
                outer = five[j] + five[j + 1] + five[j + 3] + five[j + 4]
                top25 = max(top25, np.int32(outer + five[j + 2]))
            if top1 < low1 and top9 < low9 and top25 < low25:
                continue
            for j in range(row.size):
                r = ring[i, start + j]
                if r < 0:
                    continue
                sum9 = three[j] + three[j + 1] + three[j + 2]
                sum25 = five[j] + five[j + 1] + five[j + 2] + five[j + 3] + five[j + 4]
                span = weight_range[1, r] - weight_range[0, r]
                part = (weight[i, start + j] - weight_range[0, r]) / span if span > 0 else 0.0
                if (
                    row[j] >= _between(thresholds, 0, r, part)
                    or sum9 >= _between(thresholds, 1, r, part)
                    or sum25 >= _between(thresholds, 2, r, part)
                ):
                    if count < found.shape[0]:
                        found[count, 0] = i
                        found[count, 1] = start + j
                    count += 1
    return count


@njit(cache=True, nogil=True, inline="always")
def _between(thresholds, k, r, part):
    """Threshold of window k in ring r, `part` of the way from dim to bright, rounded down."""
    low = thresholds[0, k, r]
    return low + int(part * (thresholds[1, k, r] - low))


@njit(cache=True, nogil=True)
def _sum_rows(work, i, row_sum3, row_sum5):
    """Sum the counts of the three and five rows around row i, column by column.

    Sums are cast back to 32 bits one by one, without which they are taken at half the speed.
    """
    n_ss, n_fs = work.shape
    three, five = row_sum3[2 : 2 + n_fs], row_sum5[2 : 2 + n_fs]
    three[:] = 0
    for k in range(max(i - 1, 0), min(i + 2, n_ss)):
        row = work[k]
        for j in range(n_fs):
            three[j] = np.int32(three[j] + max(row[j], np.int32(0)))
    five[:] = three
    for k in (i - 2, i + 2):
        if 0 <= k < n_ss:
            row = work[k]
            for j in range(n_fs):
                five[j] = np.int32(five[j] + max(row[j], np.int32(0)))


def strip_spans(ring: NDArray[np.int16]) -> tuple[NDArray[np.int16], NDArray[np.int16]]:
    """First and last ring in each strip of a frame.

    Parameters
    ----------
    ring : ndarray of int16, shape (ss, fs)
        Ring of each pixel, -1 where masked.

    Returns
    -------
    first, last : ndarray of int16, shape (n_bands, n_strips)
        Rings of the unmasked pixels of each strip of `BAND` rows; first is above last in a strip
        that is masked throughout.
    """
    n_ss, n_fs = ring.shape
    n_bands, n_strips = -(-n_ss // BAND), -(-n_fs // STRIP)
    padded = np.full((n_bands * BAND, n_strips * STRIP), -1, np.int16)
    padded[:n_ss, :n_fs] = ring
    blocks = padded.reshape(n_bands, BAND, n_strips, STRIP)
    first = np.where(blocks < 0, np.iinfo(np.int16).max, blocks).min(axis=(1, 3))
    return first.astype(np.int16), blocks.max(axis=(1, 3))

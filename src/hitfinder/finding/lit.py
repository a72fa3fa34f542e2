"""Frames of which few pixels hold a photon: what is done with these pixels alone.

Over a background of one pulse a pixel in several hundred holds a photon. All that the finder wants
of the others is to know that there are none.
"""

from __future__ import annotations

import dataclasses

import numpy as np
from numba import njit
from numpy.typing import NDArray

MOST_LIT = 0.008
"""Share of the pixels with a photon up to which a frame is treated by these pixels."""

WORDS = 16
"""Words of eight bytes that are looked at together for a pixel that is not 0."""

_FAR = 4
_CELL = 2 * _FAR
"""Side of a cell; the 9×9 pixels around any pixel lie in two by two cells."""


@dataclasses.dataclass(frozen=True, eq=False)
class Lit:
    """The pixels of a frame that hold photons. Overwritten by the next frame.

    Attributes
    ----------
    at : ndarray of int32, shape (n,)
        Their numbers in reading order, rising.
    counts : ndarray of int32, shape (n,)
        Their counts.
    rings : ndarray of int16, shape (n,)
        Their rings.
    rows : ndarray of int64, shape (n_ss + 1,)
        Where each row begins among them.
    lost : ndarray of int32, shape (m,)
        Unmasked pixels without a reading.
    cut : bool
        Whether a pixel held as many counts as are told apart, or more: those of the frame may then
        be more than `counts`.
    """

    at: NDArray[np.int32]
    counts: NDArray[np.int32]
    rings: NDArray[np.int16]
    rows: NDArray[np.int64]
    lost: NDArray[np.int32]
    cut: bool


def masked_blocks(ring: NDArray[np.int16], itemsize: int) -> NDArray[np.bool_]:
    """Say which blocks of a frame, `WORDS` words long, are masked throughout.

    Parameters
    ----------
    ring : ndarray of int16, shape (ss, fs)
        Ring of each pixel, -1 where masked.
    itemsize : int
        Bytes of a pixel.
    """
    size = WORDS * 8 // itemsize
    whole = ring.ravel()[: ring.size // size * size]
    return np.asarray((whole.reshape(-1, size) < 0).all(axis=1))


@njit(cache=True, nogil=True)
def list_lit(values, words, skip, at, taken):
    """List the pixels of a frame that are not 0, and their values.

    Parameters
    ----------
    values : ndarray of an integer type, shape (n_pixels,)
        The frame.
    words : ndarray of uint64
        The same memory, without what is left over at its end.
    skip : ndarray of bool
        From `masked_blocks`; their pixels are left out.
    at : ndarray of int32
        Written: the numbers of the pixels, rising.
    taken : ndarray of the type of `values`
        Written: their values.

    Returns
    -------
    int
        Their number; -1 if there are more than there is room for.
    """
    n = 0
    per_word = words.itemsize // values.itemsize
    for block in range(skip.size):
        if skip[block] or is_dark(words[block * WORDS : (block + 1) * WORDS]):
            continue
        for word in range(block * WORDS, (block + 1) * WORDS):
            if words[word] == np.uint64(0):
                continue
            if n + per_word > at.size:
                return -1
            for p in range(word * per_word, (word + 1) * per_word):
                if values[p] != 0:
                    at[n], taken[n] = p, values[p]
                    n += 1
    for p in range(skip.size * WORDS * per_word, values.size):
        if values[p] != 0:
            if n >= at.size:
                return -1
            at[n], taken[n] = p, values[p]
            n += 1
    return n


@njit(cache=True, nogil=True)
def is_dark(words):
    """Whether all are 0; on its own, so that the compiler vectorises it."""
    any_bit = np.uint64(0)
    for k in range(words.size):
        any_bit |= words[k]
    return any_bit == 0


@njit(cache=True, nogil=True)
def load_lit(listed, taken, ring, bad_value, limit, work, at, counts, rings, rows, lost):
    """Enter the counts of listed pixels into a `work` that holds none.

    Parameters
    ----------
    listed, taken : ndarray
        Pixels and their values, from `list_lit`.
    ring : ndarray of int16, shape (n_pixels,)
        Ring of each pixel, -1 where masked.
    bad_value, limit : scalar of the type of `taken`
        As for `hitfinder.finding.load.load_frame`.
    work : ndarray of int32, shape (ss, fs)
        0, and -1 where masked; written where there is a count or no reading.
    at, counts, rings, rows, lost : ndarray
        Written: see `Lit`.

    Returns
    -------
    n, n_lost, photons, n_full : int
        Pixels with counts, pixels without a reading, sum of the counts, and pixels at `limit` or
        above; n is -1 if there are more than there is room for.
    """
    n = n_lost = photons = n_full = 0
    pixels, n_fs = work.ravel(), work.shape[1]
    row = 0
    for k in range(listed.size):
        p, value, own = listed[k], taken[k], ring[listed[k]]
        if own < 0:
            continue
        if n >= at.size or n_lost >= lost.size:
            return -1, 0, 0, 0
        if value < 0 or value == bad_value:
            pixels[p], lost[n_lost] = -1, p
            n_lost += 1
            continue
        while row * n_fs <= p:
            rows[row] = n
            row += 1
        count = np.int32(min(value, limit))
        pixels[p], at[n], counts[n], rings[n] = count, p, count, own
        n += 1
        photons += int(count)
        n_full += value >= limit
    rows[row:] = n
    return n, n_lost, photons, n_full


@njit(cache=True, nogil=True)
def clear(work, at, lost, boxes):
    """Take the counts of a frame out of `work` again, and the marks of the peaks found in it.

    Peaks mark their pixels and the neighbours of these (`hitfinder.finding.extent.claim`).

    Parameters
    ----------
    work : ndarray of int32, shape (ss, fs)
        Counts; written.
    at, lost : ndarray of int32
        See `Lit`.
    boxes : ndarray of int64, shape (n, 4)
        First and last row, first and last column of the pixels of each peak.
    """
    pixels = work.ravel()
    for p in at:
        pixels[p] = 0
    for b in range(boxes.shape[0]):
        for i in range(max(boxes[b, 0] - 1, 0), min(boxes[b, 1] + 2, work.shape[0])):
            for j in range(max(boxes[b, 2] - 1, 0), min(boxes[b, 3] + 2, work.shape[1])):
                if work[i, j] != -1:
                    work[i, j] = 0
    for p in lost:
        pixels[p] = 0


def ring_spans(
    first: NDArray[np.int16], last: NDArray[np.int16]
) -> tuple[NDArray[np.int16], NDArray[np.int16]]:
    """First and last ring of each strip and those around it, from those of the strips alone.

    Parameters
    ----------
    first, last : ndarray of int16, shape (n_bands, n_strips)
        From `hitfinder.finding.thresholds.strip_spans`.
    """
    steps = range(3)
    around = [
        tuple(
            np.pad(spans, 1, mode="edge")[k : k + spans.shape[0], m : m + spans.shape[1]]
            for spans in (first, last)
        )
        for k in steps
        for m in steps
    ]
    return (
        np.min([one for one, _ in around], axis=0),
        np.max([one for _, one in around], axis=0),
    )


@njit(cache=True, nogil=True)
def strong_neighbourhoods(
    at, counts, rows, n_fs, thresholds, least, first_ring, last_ring, strip, band, largest, near
):
    """List the pixels that may be the middle of a window that reaches its threshold.

    A window with photons enough lies within two pixels of each of its photons, so that the 5×5 or
    9×9 pixels around each of these hold enough too.

    Parameters
    ----------
    at, counts, rows : ndarray
        See `Lit`.
    n_fs : int
        Pixels in a row.
    thresholds : ndarray of int32, shape (3, n_rings)
        Lowest thresholds of the 1-, 9- and 25-pixel windows in each ring.
    least : ndarray of int32, shape (3,)
        The lowest of them in the rings that have pixels.
    first_ring, last_ring : ndarray of int16, shape (n_bands, n_strips)
        From `ring_spans`, for strips of `strip` pixels in `band` rows.
    largest : int
        Counts are cut to this.
    near : ndarray of int32
        Written: the pixels, in any order, some of them several times.

    Returns
    -------
    int
        Their number; -1 if there are more than there is room for.
    """
    n_ss = rows.size - 1
    columns, cut = np.empty(at.size, np.int32), np.empty(at.size, np.int32)
    for i in range(n_ss):
        for p in range(rows[i], rows[i + 1]):
            columns[p], cut[p] = at[p] - i * n_fs, min(counts[p], largest)
    cells = _sum_cells(columns, cut, rows, n_fs)
    lows = np.empty((3, *first_ring.shape), np.int32)
    lows[:] = -1
    n = 0
    for i in range(n_ss):
        for p in range(rows[i], rows[i + 1]):
            j, one = columns[p], cut[p]
            # Cells begin _FAR before the first pixel.
            c, d = i // _CELL, j // _CELL
            around = cells[c, d] + cells[c + 1, d] + cells[c, d + 1] + cells[c + 1, d + 1]
            if one < least[0] and around < min(least[1], least[2]):
                continue
            b, s = i // band, j // strip
            if lows[0, b, s] < 0:
                for k in range(3):
                    lows[k, b, s] = least_between(
                        thresholds[k], max(first_ring[b, s], 0), last_ring[b, s] + 1
                    )
            inner = _sum_around(i, j, _FAR // 2, columns, cut, rows)
            outer = _sum_around(i, j, _FAR, columns, cut, rows)
            if one < lows[0, b, s] and inner < lows[1, b, s] and outer < lows[2, b, s]:
                continue
            if n + 25 > near.size:
                return -1
            for k in range(max(i - 2, 0), min(i + 3, n_ss)):
                for m in range(max(j - 2, 0), min(j + 3, n_fs)):
                    near[n] = k * n_fs + m
                    n += 1
    return n


@njit(cache=True, nogil=True)
def _sum_cells(columns, counts, rows, n_fs):
    """Sum the counts in square cells, the first of which begin `_FAR` before the first pixel."""
    cells = np.zeros(((rows.size - 1 + _FAR) // _CELL + 2, (n_fs + _FAR) // _CELL + 2), np.int32)
    for i in range(rows.size - 1):
        for p in range(rows[i], rows[i + 1]):
            cells[(i + _FAR) // _CELL, (columns[p] + _FAR) // _CELL] += counts[p]
    return cells


@njit(cache=True, nogil=True)
def _sum_around(i, j, reach, columns, counts, rows):
    """Sum the counts in the pixels that are at most `reach` rows and columns from row i, column j.

    All pixels of these rows are looked at, few as they are: a branch for each takes longer.
    """
    start, end = rows[max(i - reach, 0)], rows[min(i + reach + 1, rows.size - 1)]
    own, others = counts[start:end], columns[start:end]
    total = none = np.int32(0)
    first, last = np.int32(j - reach), np.int32(j + reach)
    for p in range(own.size):
        is_near = (others[p] >= first) & (others[p] <= last)
        total = np.int32(total + (own[p] if is_near else none))
    return total


@njit(cache=True, nogil=True)
def first_from(at, start, end, number):
    """Return the first of the entries from `start` to `end` that is no less than a number."""
    while start < end:
        middle = (start + end) // 2
        if at[middle] < number:
            start = middle + 1
        else:
            end = middle
    return start


@njit(cache=True, nogil=True)
def least_between(row, start, end):
    """Return the least entry from `start` to `end`."""
    least = row[start]
    for k in range(start + 1, end):
        least = min(least, row[k])
    return least


@njit(cache=True, nogil=True)
def add_lit(at, counts, rows, n_fs, size, total, most):
    """Add pixels to the blocks that they lie in, and keep the most of any.

    Parameters
    ----------
    at, counts, rows : ndarray
        See `Lit`.
    n_fs : int
        Pixels in a row.
    size : int
        Pixels along a side of a block.
    total, most : ndarray of an integer type, shape of the blocks
        Sum and maximum, to which the counts are added.
    """
    # Unsigned numbers of 32 bits are divided in a fraction of the time that others take.
    wide = np.uint32(size)
    for row in range(rows.size - 1):
        sums, tops = total[row // size], most[row // size]
        for p in range(rows[row], rows[row + 1]):
            column = np.uint32(at[p] - row * n_fs) // wide
            sums[column] += counts[p]
            if counts[p] > tops[column]:
                tops[column] = counts[p]

"""The counts of a dense frame: copied, marked where there is no reading, and summed in squares.

All is done to a few rows at a time, which are in the processor's cache then. A packed frame is
unpacked by as much, so that it never goes through memory as a whole.
"""

from __future__ import annotations

import numpy as np
from numba import njit

from hitfinder.finding.squares import sum_squares
from hitfinder.io.unpack import HEAD_BYTES, room_for_block, unshuffle_block, values_in_block


@njit(cache=True, nogil=True)
def load_frame(frame, ring, bad_value, limit, work, band, squares):
    """Copy a frame into `work` as int32, marking what is no reading, and sum it in squares.

    Masked, negative, NaN and `bad_value` pixels become -1; counts above `limit` become `limit`.

    Parameters
    ----------
    frame : ndarray, shape (ss, fs)
        Counts of any real type.
    ring : ndarray of int16, shape (ss, fs)
        Ring of each pixel, -1 where masked.
    bad_value : scalar of the type of `frame`
        Value that marks a pixel without a reading.
    limit : scalar of the type of `frame`
        Largest count kept.
    work : ndarray of int32, shape (ss, fs)
        Written: the counts.
    band : int
        Rows to copy and sum at once, a multiple of the sides of the squares.
    squares : tuple of (int, ndarray of int32, ndarray of int32)
        Sides of the squares, and written: their sums and largest counts, see
        `hitfinder.finding.squares.sum_squares`.

    Returns
    -------
    n_bad, n_lit : int
        Pixels without a reading, and those that read more than zero.
    """
    n_bad = n_lit = 0
    for start in range(0, frame.shape[0], band):
        own = slice(start, start + band)
        bad, lit = _load_rows(frame[own], ring[own], bad_value, limit, work[own], start, squares)
        n_bad, n_lit = n_bad + bad, n_lit + lit
    return n_bad, n_lit


@njit(cache=True, nogil=True)
def load_packed(packed, block, room, values, raw, ring, bad_value, limit, work, band, squares):
    """Do what `load_frame` does for a frame that is packed by bitshuffle and LZ4.

    Parameters
    ----------
    packed, block
        From `hitfinder.io.shuffled.ShuffledFrame.opened`.
    room : ndarray of the type of the frame
        Room for as many pixels as are in `band` rows and in a block.
    values : ndarray of an unsigned type
        The memory of `room`.
    raw : ndarray of uint8
        The same.
    ring, bad_value, limit, work, band, squares
        As for `load_frame`.

    Returns
    -------
    n_bad, n_lit : int
        As from `load_frame`; n_bad is -1 if the frame is damaged.
    """
    n_bad = n_lit = n_taken = n_held = 0
    for_block, at = room_for_block(block, room.itemsize), HEAD_BYTES
    for start in range(0, ring.shape[0], band):
        own = slice(start, start + band)
        rings = ring[own]
        while n_held < rings.size:
            n = values_in_block(n_taken, ring.size, block // room.itemsize)
            at = unshuffle_block(packed, at, for_block, values, raw, n_held, n)
            if at < 0:
                return -1, 0
            n_taken, n_held = n_taken + n, n_held + n
        rows = room[: rings.size].reshape(rings.shape)
        bad, lit = _load_rows(rows, rings, bad_value, limit, work[own], start, squares)
        n_bad, n_lit = n_bad + bad, n_lit + lit
        n_held -= rings.size
        for k in range(n_held):
            room[k] = room[rings.size + k]
    return n_bad, n_lit


@njit(cache=True, nogil=True)
def _load_rows(frame, ring, bad_value, limit, work, start, squares):
    """Do what `load_frame` does for the rows from `start` on, which are given without others."""
    n_bad = n_lit = 0
    for i in range(frame.shape[0]):
        _load_row(frame[i], ring[i], bad_value, limit, work[i])
        row_bad, row_lit = _count_row(work[i])
        n_bad += int(row_bad)
        n_lit += int(row_lit)
    for side, total, most in squares:
        first = start // side
        last = first - (-work.shape[0] // side)
        sum_squares(work, side, total[first:last], most[first:last])
    return n_bad, n_lit


@njit(cache=True, nogil=True)
def _load_row(source, rings, bad_value, limit, target):
    """Copy a row; see `load_frame`."""
    for j in range(source.size):
        value = source[j]
        valid = (rings[j] >= 0) & (value >= 0) & (value != bad_value)
        target[j] = np.int32(min(value, limit)) if valid else np.int32(-1)


@njit(cache=True, nogil=True)
def _count_row(row):
    """Count the pixels without a reading, and those that read more than zero."""
    bad = lit = np.int32(0)
    for j in range(row.size):
        # In 32 bits, in which twice as many pixels are treated at once.
        bad = np.int32(bad + np.int32(row[j] < 0))
        lit = np.int32(lit + np.int32(row[j] > 0))
    return bad, lit

"""The counts of a frame in squares of pixels: their sum, and the largest of them.

Two later steps want a frame so reduced: the estimate of photon energy and camera length in blocks,
and the picture of all frames of a run in bins. Both are made while the frame is copied, a few rows
at a time, which are in the processor's cache then.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import numpy as np
from numba import njit
from numpy.typing import NDArray

LONGEST_SIDE = 800
"""Bins along the longer side of the picture of a run, at most."""

_BLOCK_M = 0.6e-3
_BLOCK_SIDES = (4, 8)

_FOUR, _THREE = 4, 3
"""Rows and columns that are put together at once, if they divide the side of a square."""


@dataclasses.dataclass(frozen=True, eq=False)
class SquareSums:
    """The counts of a frame in squares of one size. Overwritten by the next frame.

    Attributes
    ----------
    side : int
        Pixels along the side of a square; the last ones are smaller.
    total, most : ndarray of int32, shape (n_ss, n_fs)
        Sum of the counts and largest count of each.
    lost : bool
        Whether any unmasked pixel of the frame has no reading.
    cut : bool
        Whether a pixel held as many counts as are told apart, or more, or a sum may be too large:
        those of the frame may then be more than these.
    """

    side: int
    total: NDArray[np.int32]
    most: NDArray[np.int32]
    lost: bool = False
    cut: bool = False

    def summed(self, top: int, limit: int, lost: bool) -> SquareSums:
        """Return the squares with `lost` and `cut`, after counts of up to `top` were summed.

        Those of the frame were cut to `limit`.
        """
        too_large = top * self.side**2 > np.iinfo(self.total.dtype).max
        return dataclasses.replace(self, lost=lost, cut=top >= limit or too_large)

    @staticmethod
    def empty(shape: tuple[int, int], side: int) -> SquareSums:
        """Return room for the squares of a frame of a shape."""
        total, most = np.zeros((2, *squares_in(shape, side)), np.int32)
        return SquareSums(side, total, most)


def bin_side(shape: tuple[int, int]) -> int:
    """Return the pixels along the side of a bin of the picture, for frames of a shape."""
    return -(-max(shape) // LONGEST_SIDE)


def block_side(pixel_size_m: float) -> int:
    """Return the pixels along the side of a block of the estimate."""
    return max((s for s in _BLOCK_SIDES if s * pixel_size_m <= _BLOCK_M * 1.01), default=4)


def squares_in(shape: tuple[int, int], side: int) -> tuple[int, int]:
    """Return the shape of a frame in squares of `side` by `side` pixels."""
    return -(-shape[0] // side), -(-shape[1] // side)


def of_side(squares: Sequence[SquareSums], side: int) -> SquareSums | None:
    """Return the squares of one size, None if there are none."""
    return next((one for one in squares if one.side == side), None)


@njit(cache=True, nogil=True)
def sum_squares(counts, side, total, most):  # type: ignore[no-untyped-def]
    """Sum the counts in squares, and find the largest.

    Parameters
    ----------
    counts : ndarray of int32, shape (n_ss, n_fs)
        Counts, -1 where there is no reading; -2 - n is n counts too, as the finder marks the
        pixels of peaks.
    side : int
        Pixels along the side of a square.
    total, most : ndarray of int32, shape of the squares
        Written.
    """
    together = _FOUR if side % _FOUR == 0 else _THREE if side % _THREE == 0 else 1
    # Arrays of their own: of rows of one array it is not known that they are contiguous.
    width = total.shape[1] * side
    line, top = np.empty(width, np.int32), np.empty(width, np.int32)
    width //= together
    joined, highest = np.empty(width, np.int32), np.empty(width, np.int32)
    for i in range(total.shape[0]):
        line[:] = 0
        top[:] = 0
        row, end = i * side, min(counts.shape[0], (i + 1) * side)
        while together == _FOUR and row + _FOUR <= end:
            four = counts[row], counts[row + 1], counts[row + 2], counts[row + 3]
            _add_four_rows(*four, line, top)
            row += _FOUR
        while together == _THREE and row + _THREE <= end:
            _add_three_rows(counts[row], counts[row + 1], counts[row + 2], line, top)
            row += _THREE
        while row < end:
            _add_row(counts[row], line, top)
            row += 1
        if together == 1:
            _join(line, top, side, total[i], most[i])
        elif side == _THREE:
            _join_threes(line, top, total[i], most[i])
        elif side == _FOUR:
            _join_fours(line, top, total[i], most[i])
        else:
            if together == _FOUR:
                _join_fours(line, top, joined, highest)
            else:
                _join_threes(line, top, joined, highest)
            _join(joined, highest, side // together, total[i], most[i])


# Loops over rows are functions of their own, strides in them are numbers, and sums are cast back to
# 32 bits one by one: the compiler vectorises them so.


@njit(cache=True, nogil=True, inline="always")
def _photons(count):  # type: ignore[no-untyped-def]
    return max(max(count, np.int32(-2 - count)), np.int32(0))


@njit(cache=True, nogil=True)
def _add_four_rows(a, b, c, d, line, top):  # type: ignore[no-untyped-def]
    """Add the counts of four rows to the sums of the columns, and keep the most of each."""
    for j in range(a.size):
        w, x, y, z = _photons(a[j]), _photons(b[j]), _photons(c[j]), _photons(d[j])
        line[j] = np.int32(line[j] + np.int32(np.int32(w + x) + np.int32(y + z)))
        top[j] = max(top[j], max(max(w, x), max(y, z)))


@njit(cache=True, nogil=True)
def _add_three_rows(a, b, c, line, top):  # type: ignore[no-untyped-def]
    """Do what `_add_four_rows` does for three."""
    for j in range(a.size):
        x, y, z = _photons(a[j]), _photons(b[j]), _photons(c[j])
        line[j] = np.int32(line[j] + np.int32(np.int32(x + y) + z))
        top[j] = max(top[j], max(x, max(y, z)))


@njit(cache=True, nogil=True)
def _add_row(a, line, top):  # type: ignore[no-untyped-def]
    """Do what `_add_four_rows` does for one."""
    for j in range(a.size):
        x = _photons(a[j])
        line[j] += x
        top[j] = max(top[j], x)


@njit(cache=True, nogil=True)
def _join_fours(line, top, total, most):  # type: ignore[no-untyped-def]
    """Put each four columns together."""
    for k in range(total.size):
        j = _FOUR * k
        total[k] = line[j] + line[j + 1] + line[j + 2] + line[j + 3]
        most[k] = max(max(top[j], top[j + 1]), max(top[j + 2], top[j + 3]))


@njit(cache=True, nogil=True)
def _join_threes(line, top, total, most):  # type: ignore[no-untyped-def]
    """Put each three columns together."""
    for k in range(total.size):
        j = _THREE * k
        total[k] = line[j] + line[j + 1] + line[j + 2]
        most[k] = max(max(top[j], top[j + 1]), top[j + 2])


@njit(cache=True, nogil=True)
def _join(line, top, width, total, most):  # type: ignore[no-untyped-def]
    """Put each `width` columns together."""
    for k in range(total.size):
        counts = largest = 0
        for j in range(k * width, (k + 1) * width):
            counts += line[j]
            largest = max(largest, top[j])
        total[k], most[k] = counts, largest


@njit(cache=True, nogil=True)
def count_unread(counts, side, unread):  # type: ignore[no-untyped-def]
    """Count the pixels of each square that have no reading.

    Parameters
    ----------
    counts, side
        As for `sum_squares`.
    unread : ndarray of int32, shape of the squares
        Written.
    """
    line = np.empty(unread.shape[1] * side, np.int32)
    for i in range(unread.shape[0]):
        line[:] = 0
        for row in range(i * side, min(counts.shape[0], (i + 1) * side)):
            _add_unread(counts[row], line)
        for k in range(unread.shape[1]):
            unread[i, k] = line[k * side : (k + 1) * side].sum()


@njit(cache=True, nogil=True)
def _add_unread(row, line):  # type: ignore[no-untyped-def]
    """Count the pixels of a row without a reading, column by column."""
    for j in range(row.size):
        line[j] += np.int32(row[j] == -1)

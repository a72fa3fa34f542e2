"""All frames of a run in one picture of reduced size: their sum, and their maximum."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Self

import numba
import numpy as np
from numpy.typing import NDArray

from hitfinder.finding.background import compilable
from hitfinder.finding.lit import Lit, add_lit
from hitfinder.finding.squares import SquareSums, bin_side, of_side, squares_in
from hitfinder.io.shuffled import Frame

PER_COUNT = 4096
"""Units to a count in which counts that are no whole numbers are added up."""

_SMALL_BYTES = 2
"""Bytes of counts that are added up in 32 bits: a sum of three thousand such has room."""

_BRIGHTEST = 2.0**26
"""What stands for any larger count that is no whole number: in a sum of 2²⁵ such it has room."""


_BRIGHTEST_OF_ALL = 2.0**48
"""What stands for any larger count in a maximum: in units of 1/`PER_COUNT` it has room."""


def counts_below(dtype: np.dtype, saturation: float | None) -> np.generic:
    """Return the value from which counts are no counts, in the type of the frames.

    Parameters
    ----------
    dtype : numpy.dtype
        Type of the frames. The top of an integer type marks pixels without a reading.
    saturation : float, optional
        Counts at and above which a pixel is saturated.
    """
    limit = np.inf if saturation is None else saturation
    if dtype.kind in "iu":
        limit = min(math.ceil(min(limit, 2.0**64)), int(np.iinfo(dtype).max))
    return dtype.type(limit)


class _BinnedImage:
    """Something of the counts of frames in bins; keeps `hitfinder.results.contract.Mergeable`.

    Counts that are no whole numbers are kept in units of 1/`PER_COUNT`, so that their sum does not
    depend on the order. Counts of up to 16 bits are added up in 32 bits, in half the time, as long
    as these are sure to hold the sum.
    """

    def __init__(self) -> None:
        self._bins: NDArray[np.signedinteger] = np.zeros((0, 0), np.int64)
        self._per_count, self._n_added = 1, 0

    def _bins_for(self, frame: Frame) -> NDArray[np.signedinteger]:
        """Return the bins, which begin with the first frame, to add a frame to."""
        size, whole = bin_side(frame.shape), frame.dtype.kind in "iub"
        if not self._bins.size:
            kind = np.int32 if whole and frame.dtype.itemsize <= _SMALL_BYTES else np.int64
            self._bins = np.zeros(squares_in(frame.shape, size), kind)
            self._per_count = 1 if whole else PER_COUNT
        self._n_added += 1
        if self._n_added * size**2 << 8 * _SMALL_BYTES > np.iinfo(self._bins.dtype).max:
            self._bins = self._bins.astype(np.int64, copy=False)
        return self._bins

    def _join(self, bins: NDArray[np.signedinteger]) -> None:
        """Take in the bins of other frames."""
        raise NotImplementedError

    def merge(self, other: Self) -> None:
        """Take in what others have of other frames.

        Raises
        ------
        ValueError
            If their frames have another shape.
        """
        if not other._bins.size:
            return
        if not self._bins.size:
            self._bins, self._per_count = other._bins.astype(np.int64), other._per_count
            return
        theirs = other._bins.shape, other._per_count
        if theirs != (self._bins.shape, self._per_count):
            raise ValueError("sums of frames of different shapes or types cannot be added up")
        self._bins = self._bins.astype(np.int64, copy=False)
        self._join(other._bins)

    @property
    def image(self) -> NDArray | None:
        """The bins, in counts; None without frames."""
        if not self._bins.size:
            return None
        return self._bins if self._per_count == 1 else self._bins / self._per_count

    def to_array(self) -> NDArray[np.int64]:
        """Return everything as one array, of the smallest type that holds it."""
        table = np.vstack([np.zeros((1, self._bins.shape[1]), np.int64), self._bins])
        table[0, :1] = self._per_count
        return table.astype(np.min_scalar_type(int(table.max(initial=0))))

    def __reduce__(self) -> tuple[Callable[..., Self], tuple[NDArray[np.int64]]]:
        # Every chunk of a run sends one to the process that adds them up.
        return type(self).from_array, (self.to_array(),)

    @classmethod
    def from_array(cls, table: NDArray[np.integer]) -> Self:
        """Return what `to_array` has given."""
        made = cls()
        if table.size:
            made._bins, made._per_count = table[1:].astype(np.int64), int(table[0, 0])
        return made


class ImageSum(_BinnedImage):
    """Frames of one shape added up in bins; see `add_frame`."""

    def _join(self, bins: NDArray[np.signedinteger]) -> None:
        self._bins += bins


class ImageMaximum(_BinnedImage):
    """The most counts that a pixel of each bin had in any frame; see `add_frame`."""

    def _join(self, bins: NDArray[np.signedinteger]) -> None:
        np.maximum(self._bins, bins, out=self._bins)


def add_frame(
    image: ImageSum,
    maximum: ImageMaximum,
    frame: Frame,
    mask: NDArray[np.bool_],
    limit: np.generic,
    lit: Lit | None = None,
    squares: Sequence[SquareSums] = (),
) -> None:
    """Take the positive counts of a frame into the sum and the maximum of frames.

    Parameters
    ----------
    image, maximum : ImageSum, ImageMaximum
        Of frames of this shape and type.
    frame : ndarray or ShuffledFrame, 2-D
        Counts.
    mask : ndarray of bool, shape of the frame
        True where a pixel is ignored.
    limit : scalar of the frame's type
        Counts at and above which a pixel is ignored, see `counts_below`.
    lit : Lit, optional
        The unmasked pixels with positive counts, if they are few.
    squares : sequence of SquareSums, optional
        The unmasked positive counts in squares, if these are many.
    """
    size, bins = bin_side(frame.shape), (image._bins_for(frame), maximum._bins_for(frame))
    summed = of_side(squares, size) if frame.dtype.kind in "iu" else None
    if lit is not None and not lit.cut:
        add_lit(lit.at, lit.counts, lit.rows, frame.shape[1], size, *bins)
    elif summed is not None and not summed.cut:
        np.add(bins[0], summed.total, out=bins[0])
        np.maximum(bins[1], summed.most, out=bins[1])
    else:
        add_binned(np.asarray(frame), mask, limit, size, *bins)


def add_binned(
    frame: NDArray,
    mask: NDArray[np.bool_],
    limit: np.generic,
    size: int,
    total: NDArray[np.signedinteger],
    most: NDArray[np.signedinteger],
) -> None:
    """Take the positive counts of a frame into bins.

    Parameters
    ----------
    frame, mask, limit
        As for `add_frame`.
    size : int
        Pixels along one side of a bin.
    total, most : ndarray of int32 or int64, shape `squares_in`
        Sum to add to and maximum to raise; of int64, in units of 1/`PER_COUNT`, if the frame is of
        a floating-point type.
    """
    frame = compilable(frame)
    if frame.dtype.kind == "f":
        _add_fractions(frame, mask, frame.dtype.type(limit), size, total, most)
        return
    if frame.itemsize > 4:
        frame = np.where(frame < limit, np.minimum(frame, int(_BRIGHTEST_OF_ALL)), 0)
        frame, limit = frame.astype(np.int64), np.int64(2 * _BRIGHTEST_OF_ALL)
    # Columns are summed in 32 bits where these hold the sum, which takes half the time.
    small = size * int(limit) < 1 << 32
    width = size * total.shape[1]
    line, top = np.empty(width, np.uint32 if small else np.int64), np.empty(width, frame.dtype)
    _add_rows(frame, mask, frame.dtype.type(limit), size, line, top, total, most)


@numba.njit(cache=True, nogil=True)
def _add_fractions(
    frame: NDArray,
    mask: NDArray[np.bool_],
    limit: np.generic,
    size: int,
    total: NDArray[np.int64],
    most: NDArray[np.int64],
) -> None:
    """Do what `add_binned` does for counts that are no whole numbers."""
    for ss in range(frame.shape[0]):
        for fs in range(frame.shape[1]):
            value = frame[ss, fs]
            if value > 0 and value < limit and not mask[ss, fs]:
                row, column, count = ss // size, fs // size, np.float64(value)
                total[row, column] += np.int64(min(count, _BRIGHTEST) * PER_COUNT + 0.5)
                units = np.int64(min(count, _BRIGHTEST_OF_ALL) * PER_COUNT + 0.5)
                most[row, column] = max(most[row, column], units)


@numba.njit(cache=True, nogil=True)
def _add_rows(
    frame: NDArray,
    mask: NDArray[np.bool_],
    limit: np.generic,
    size: int,
    line: NDArray,
    top: NDArray,
    total: NDArray,
    most: NDArray,
) -> None:
    """Do what `add_binned` does for whole numbers.

    `line` and `top`, which is of the type of the frame, are room for the sums and the maxima of
    the columns of a row of bins.
    """
    n_ss, n_threes = frame.shape[0], line.size // 3
    joined, highest = np.empty(n_threes, line.dtype), np.empty(n_threes, top.dtype)
    for out in range(total.shape[0]):
        line[:] = 0
        top[:] = 0
        row, end = out * size, min(n_ss, (out + 1) * size)
        while row + 3 <= end:
            rows = frame[row], frame[row + 1], frame[row + 2]
            _add_three_rows(*rows, mask[row], mask[row + 1], mask[row + 2], limit, line, top)
            row += 3
        while row < end:
            _add_row(frame[row], mask[row], limit, line, top)
            row += 1
        if size % 3 == 0:
            _join_threes(line, top, joined, highest)
            _raise_bins(joined, highest, size // 3, total[out], most[out])
        else:
            _raise_bins(line, top, size, total[out], most[out])


# Loops over rows are functions of their own, and the strides in them are numbers: the compiler
# vectorises them so.


@numba.njit(cache=True, nogil=True)
def _add_three_rows(a, b, c, no_a, no_b, no_c, limit, line, top):  # type: ignore[no-untyped-def]
    """Add the counts of three rows to the sums of the columns, and keep the most of each."""
    kind, none = line.dtype.type, top.dtype.type(0)
    for fs in range(a.size):
        x = a[fs] if (a[fs] > none) & (a[fs] < limit) & (not no_a[fs]) else none
        y = b[fs] if (b[fs] > none) & (b[fs] < limit) & (not no_b[fs]) else none
        z = c[fs] if (c[fs] > none) & (c[fs] < limit) & (not no_c[fs]) else none
        line[fs] += kind(x) + kind(y) + kind(z)
        top[fs] = max(top[fs], max(x, max(y, z)))


@numba.njit(cache=True, nogil=True)
def _add_row(a, no_a, limit, line, top):  # type: ignore[no-untyped-def]
    """Do what `_add_three_rows` does for one."""
    kind, none = line.dtype.type, top.dtype.type(0)
    for fs in range(a.size):
        x = a[fs] if (a[fs] > none) & (a[fs] < limit) & (not no_a[fs]) else none
        line[fs] += kind(x)
        top[fs] = max(top[fs], x)


@numba.njit(cache=True, nogil=True)
def _join_threes(line, top, joined, highest):  # type: ignore[no-untyped-def]
    """Put each three columns together, in arrays of their own."""
    for k in range(joined.size):
        j = 3 * k
        joined[k] = line[j] + line[j + 1] + line[j + 2]
        highest[k] = max(max(top[j], top[j + 1]), top[j + 2])


@numba.njit(cache=True, nogil=True)
def _raise_bins(line, top, size, sums, tops):  # type: ignore[no-untyped-def]
    """Take `size` columns each into the bins of a row."""
    kind = sums.dtype.type
    for first in range(size):
        for k in range(sums.size):
            j = k * size + first
            sums[k] += kind(line[j])
            tops[k] = max(tops[k], kind(top[j]))

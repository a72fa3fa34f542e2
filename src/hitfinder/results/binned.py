"""All frames of a run in one picture of reduced size: their sum, and their maximum."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Self

import numba
import numpy as np
from numpy.typing import NDArray

from hitfinder.finding.background import compilable
from hitfinder.finding.lit import Lit, add_lit

LONGEST_SIDE = 800
"""Bins along the longer side of a summed image, at most."""

PER_COUNT = 4096
"""Units to a count in which counts that are no whole numbers are added up."""

_BRIGHTEST = 2.0**26
"""What stands for any larger count that is no whole number: in a sum of 2²⁵ such it has room."""


_BRIGHTEST_OF_ALL = 2.0**48
"""What stands for any larger count in a maximum: in units of 1/`PER_COUNT` it has room."""


def bin_size(shape: tuple[int, int]) -> int:
    """Return the pixels along one side of a bin for frames of a shape."""
    return -(-max(shape) // LONGEST_SIDE)


def binned_shape(shape: tuple[int, int], size: int) -> tuple[int, int]:
    """Return the shape of a frame in bins of `size` by `size` pixels, the last ones smaller."""
    return -(-shape[0] // size), -(-shape[1] // size)


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
    depend on the order.
    """

    def __init__(self) -> None:
        self._bins = np.zeros((0, 0), np.int64)
        self._per_count = 1

    def _bins_for(self, frame: NDArray) -> NDArray[np.int64]:
        """Return the bins, which begin with the first frame."""
        if not self._bins.size:
            self._bins = np.zeros(binned_shape(frame.shape, bin_size(frame.shape)), np.int64)
            self._per_count = 1 if frame.dtype.kind in "iub" else PER_COUNT
        return self._bins

    def _join(self, bins: NDArray[np.int64]) -> None:
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
            self._bins, self._per_count = other._bins.copy(), other._per_count
            return
        theirs = other._bins.shape, other._per_count
        if theirs != (self._bins.shape, self._per_count):
            raise ValueError("sums of frames of different shapes or types cannot be added up")
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

    def _join(self, bins: NDArray[np.int64]) -> None:
        self._bins += bins


class ImageMaximum(_BinnedImage):
    """The most counts that a pixel of each bin had in any frame; see `add_frame`."""

    def _join(self, bins: NDArray[np.int64]) -> None:
        np.maximum(self._bins, bins, out=self._bins)


def add_frame(
    image: ImageSum,
    maximum: ImageMaximum,
    frame: NDArray,
    mask: NDArray[np.bool_],
    limit: np.generic,
    lit: Lit | None = None,
) -> None:
    """Take the positive counts of a frame into the sum and the maximum of frames.

    Parameters
    ----------
    image, maximum : ImageSum, ImageMaximum
        Of frames of this shape and type.
    frame : ndarray, 2-D
        Counts.
    mask : ndarray of bool, shape of the frame
        True where a pixel is ignored.
    limit : scalar of the frame's type
        Counts at and above which a pixel is ignored, see `counts_below`.
    lit : Lit, optional
        The unmasked pixels with positive counts, if they are few.
    """
    size, bins = bin_size(frame.shape), (image._bins_for(frame), maximum._bins_for(frame))
    if lit is None or lit.cut:
        add_binned(frame, mask, limit, size, *bins)
    else:
        add_lit(lit.at, lit.counts, lit.rows, frame.shape[1], size, *bins)


def add_binned(
    frame: NDArray,
    mask: NDArray[np.bool_],
    limit: np.generic,
    size: int,
    total: NDArray[np.int64],
    most: NDArray[np.int64],
) -> None:
    """Take the positive counts of a frame into bins.

    Parameters
    ----------
    frame, mask, limit
        As for `add_frame`.
    size : int
        Pixels along one side of a bin.
    total, most : ndarray of int64, shape `binned_shape`
        Sum to add to and maximum to raise, in units of 1/`PER_COUNT` if the frame is of a
        floating-point type.
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
    n_ss, n_fs = frame.shape
    kind, none = line.dtype.type, top.dtype.type(0)
    for out in range(total.shape[0]):
        # Whole rows first, without branches: that runs at the speed of memory.
        line[:] = 0
        top[:] = none
        for row in range(out * size, min(n_ss, (out + 1) * size)):
            counts, masked = frame[row], mask[row]
            for fs in range(n_fs):
                value = counts[fs]
                good = (value > none) & (value < limit) & (not masked[fs])
                value = value if good else none
                line[fs] += kind(value)
                top[fs] = max(top[fs], value)
        sums, tops = total[out], most[out]
        for k in range(0, size - 2, 3):
            # Three at a time: the bins themselves are touched less often.
            a, b, c = line[k::size], line[k + 1 :: size], line[k + 2 :: size]
            d, e, f = top[k::size], top[k + 1 :: size], top[k + 2 :: size]
            for column in range(sums.size):
                sums[column] += np.int64(a[column]) + np.int64(b[column]) + np.int64(c[column])
                high = max(max(d[column], e[column]), f[column])
                tops[column] = max(tops[column], np.int64(high))
        for k in range(size - size % 3, size):
            a, d = line[k::size], top[k::size]
            for column in range(sums.size):
                sums[column] += np.int64(a[column])
                tops[column] = max(tops[column], np.int64(d[column]))

"""Sums of frames at reduced size, for the picture of a whole run."""

from __future__ import annotations

import math

import numba
import numpy as np
from numpy.typing import NDArray

from hitfinder.finding.background import compilable

LONGEST_SIDE = 800
"""Bins along the longer side of a summed image, at most."""


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


def add_binned(
    frame: NDArray, mask: NDArray[np.bool_], limit: np.generic, size: int, total: NDArray
) -> None:
    """Add the positive counts of a frame to a binned sum.

    Parameters
    ----------
    frame : ndarray, 2-D
        Counts.
    mask : ndarray of bool, shape of the frame
        True where a pixel is ignored.
    limit : scalar of the frame's type
        Counts at and above which a pixel is ignored, see `counts_below`.
    size : int
        Pixels along one side of a bin.
    total : ndarray, shape `binned_shape`
        Sum to add to.
    """
    frame = compilable(frame)
    limit = frame.dtype.type(limit)
    # Columns are summed in 32 bits where these hold the sum, which takes half the time.
    small = frame.dtype.kind in "iu" and size * int(limit) < 1 << 32
    line = np.empty(frame.shape[1], np.uint32 if small else total.dtype)
    _add_rows(frame, mask, limit, size, line, total)


@numba.njit(cache=True, nogil=True)
def _add_rows(
    frame: NDArray,
    mask: NDArray[np.bool_],
    limit: np.generic,
    size: int,
    line: NDArray,
    total: NDArray,
) -> None:
    """Do what `add_binned` does; `line` is room for the sums of the columns of a row of bins."""
    n_ss, n_fs = frame.shape
    kind = line.dtype.type
    for out in range(total.shape[0]):
        # Whole rows first, without branches: that runs at the speed of memory.
        line[:] = 0
        for row in range(out * size, min(n_ss, (out + 1) * size)):
            counts, masked = frame[row], mask[row]
            for fs in range(n_fs):
                value = counts[fs]
                good = (value > 0) & (value < limit) & (not masked[fs])
                line[fs] += kind(value) if good else kind(0)
        bins = total[out]
        for k in range(size):
            part = line[k::size]
            for column in range(part.size):
                bins[column] += part[column]

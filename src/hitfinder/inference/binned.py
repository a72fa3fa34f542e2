"""Sums of frames at reduced size, for the picture of a whole run."""

from __future__ import annotations

import numba
import numpy as np
from numpy.typing import NDArray

LONGEST_SIDE = 800
"""Bins along the longer side of a summed image, at most."""


def bin_size(shape: tuple[int, int]) -> int:
    """Return the pixels along one side of a bin for frames of a shape."""
    return -(-max(shape) // LONGEST_SIDE)


def binned_shape(shape: tuple[int, int], size: int) -> tuple[int, int]:
    """Return the shape of a frame in bins of `size` by `size` pixels, the last ones smaller."""
    return -(-shape[0] // size), -(-shape[1] // size)


@numba.njit(cache=True, nogil=True)
def add_binned(
    frame: NDArray, mask: NDArray[np.bool_], limit: float, size: int, total: NDArray
) -> None:
    """Add the positive counts of a frame to a binned sum.

    Parameters
    ----------
    frame : ndarray, 2-D
        Counts.
    mask : ndarray of bool, shape of the frame
        True where a pixel is ignored.
    limit : float
        Counts at and above which a pixel is ignored.
    size : int
        Pixels along one side of a bin.
    total : ndarray, shape `binned_shape`
        Sum to add to.
    """
    n_ss, n_fs = frame.shape
    for row in range(n_ss):
        out = total[row // size]
        for column in range(out.size):
            for fs in range(column * size, min(n_fs, (column + 1) * size)):
                value = frame[row, fs]
                if value > 0 and value < limit and not mask[row, fs]:
                    out[column] += value

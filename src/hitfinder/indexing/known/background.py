"""Expected background of every pixel: that of the rings, corrected by the counts around."""

from __future__ import annotations

import numba
import numpy as np
from numpy.typing import NDArray

from hitfinder.finding.rings import Rings
from hitfinder.finding.texture import expected

BLOCK = 16
"""Pixels along a side of the blocks whose counts correct the background."""

_PRIOR = 25.0
"""Photons that the rings' background is worth against a block's counts."""


@numba.njit(cache=True, nogil=True)
def _fill(counts, ring, position, weight, rate, image, blocks):  # type: ignore[no-untyped-def]
    """Fill in the rings' background, and each block's counts and background without the bright."""
    n_ss, n_fs = counts.shape
    for i in range(n_ss):
        for j in range(n_fs):
            if ring[i, j] < 0 or counts[i, j] < 0:
                image[i, j] = 0.0
                continue
            b = expected(i, j, position, weight, rate)
            image[i, j] = b
            most = b + 5.0 * np.sqrt(b) + 3.0
            if counts[i, j] <= most:
                blocks[0, i // BLOCK, j // BLOCK] += counts[i, j]
                blocks[1, i // BLOCK, j // BLOCK] += b


@numba.njit(cache=True, nogil=True)
def _scale(image, factor):  # type: ignore[no-untyped-def]
    for i in range(image.shape[0]):
        for j in range(image.shape[1]):
            image[i, j] *= factor[i // BLOCK, j // BLOCK]


def background_image(
    counts: NDArray[np.int32], rings: Rings, rate: NDArray[np.float64]
) -> NDArray[np.float32]:
    """Return the expected background of each pixel, 0 where there is no reading.

    Parameters
    ----------
    counts : ndarray of int32, shape of a frame
        Counts, negative where there is no reading.
    rings : Rings
        Of the geometry.
    rate : ndarray, shape (n_rings,)
        Background at weight 1, from `LikelihoodFinder.counts_and_background`.
    """
    shape = -(-counts.shape[0] // BLOCK), -(-counts.shape[1] // BLOCK)
    blocks = np.zeros((2, *shape))
    image = np.empty(counts.shape, np.float32)
    _fill(counts, rings.index, rings.position, rings.weight, rate, image, blocks)
    around = np.zeros_like(blocks)
    padded = np.pad(blocks, ((0, 0), (1, 1), (1, 1)))
    for row in range(3):
        for column in range(3):
            around += padded[:, row : row + shape[0], column : column + shape[1]]
    _scale(image, (around[0] + _PRIOR) / (around[1] + _PRIOR))
    return image

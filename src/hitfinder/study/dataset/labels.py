"""Label maps: which pixels belong to a Bragg peak."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

LABEL_PHOTONS = 3
"""Bragg photons from which on a pixel is labelled."""

NEIGHBOURS = np.ones((3, 3), bool)


def label_map(bragg: NDArray, least_photons: float = LABEL_PHOTONS) -> NDArray[np.uint8]:
    """Mark the pixels that hold Bragg photons.

    Parameters
    ----------
    bragg : ndarray, shape (rows, columns)
        Bragg photons alone.
    least_photons : float
        Photons from which on a pixel is marked.

    Returns
    -------
    ndarray of uint8, shape of `bragg`
        1 on a peak, 0 elsewhere.
    """
    return (bragg >= least_photons).astype(np.uint8)


def peaks_of_map(
    marked: NDArray, weights: NDArray | None = None
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return the peaks of a map: its connected marked pixels, diagonals included.

    Parameters
    ----------
    marked : ndarray, shape (rows, columns)
        Non-zero on peaks.
    weights : ndarray, shape of `marked`, optional
        What the centroid and the total are taken of, e.g. photons; by default 1 everywhere.

    Returns
    -------
    positions : ndarray, shape (n, 2)
        Weighted centroids (fs, ss), in pixels, corner convention.
    totals : ndarray, shape (n,)
        Sum of the weights of each.
    """
    numbered, n = ndimage.label(marked, NEIGHBOURS)
    if not n:
        return np.empty((0, 2)), np.empty(0)
    ss, fs = np.nonzero(numbered)
    which = numbered[ss, fs] - 1
    w = np.ones(len(ss)) if weights is None else weights[ss, fs].astype(float)
    totals = np.bincount(which, w, n).astype(np.float64)
    centre = [np.bincount(which, w * (at + 0.5), n) / totals for at in (fs, ss)]
    return np.stack(centre, axis=1), totals

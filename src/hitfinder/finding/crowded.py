"""Rings that hold far more candidates than those around them: ice or powder, not Bragg peaks."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from hitfinder.finding.poisson import critical_counts

_FEWEST = 10
_LOG_P = math.log(1e-6)
_WIDE = 3
_AROUND = 49


def crowded_rings(ring: NDArray[np.integer], n_rings: int) -> NDArray[np.bool_]:
    """Say which rings of a frame are crowded with candidates.

    A background that is not even along a ring, as that of a sharp one whose centre is not where the
    beam's is said to be, gives candidates all along it. Bragg peaks of any crystal spread over all
    rings.

    Parameters
    ----------
    ring : ndarray of int, shape (n,)
        Ring of each candidate (`hitfinder.finding.rings.Rings`), -1 of a masked one.
    n_rings : int
        Number of rings.

    Returns
    -------
    ndarray of bool, shape (n_rings,)
        True where three rings hold ten candidates or more, and as many as one in a million would,
        were there one more than in the median of the rings around.
    """
    held = np.bincount(ring[ring >= 0], minlength=n_rings)
    held = np.convolve(held, np.ones(_WIDE, np.intp), mode="same")[:n_rings]
    if held.max(initial=0) < _FEWEST:
        return np.zeros(n_rings, bool)
    # Slow to import, and few runs have such rings.
    from scipy.ndimage import median_filter

    usual = 1.0 + median_filter(held.astype(float), _AROUND, mode="reflect")
    full = (held >= _FEWEST) & (held >= critical_counts(usual, _LOG_P))
    return np.convolve(full, np.ones(_WIDE, np.intp), mode="same")[:n_rings] > 0

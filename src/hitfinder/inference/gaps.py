"""Whether two bright places are two spots: what lies between them."""

from __future__ import annotations

import math

from numba import njit

LEAST_PHOTONS = 8.0
"""Photons that each of two spots must have to be told apart: a gap in fewer may be chance."""

_SIGMAS = 3.0


@njit(cache=True, nogil=True)
def is_gap(work, ss, fs, other_ss, other_fs):  # type: ignore[no-untyped-def]
    """Whether the counts between two places are too few for both to be of one spot.

    One spot would be at least as bright between them as at the fainter. Strips of three pixels
    across the line between the places are compared with the one at the fainter, n₁ counts with n₀:
    (n₀ - n₁) / √(n₀ + n₁) is 3 or more in one of a thousand, were both expected alike.

    Parameters
    ----------
    work : ndarray of int32, shape (ss, fs)
        Counts as in `hitfinder.inference.results.Proposal.counts`.
    ss, fs : float
        The fainter place, in pixels, corner convention.
    other_ss, other_fs : float
        The brighter one.

    Returns
    -------
    bool
    """
    apart = math.hypot(other_ss - ss, other_fs - fs)
    if apart < 2.0:
        return False
    step_ss, step_fs = (other_ss - ss) / apart, (other_fs - fs) / apart
    own = _strip(work, ss, fs, step_ss, step_fs)
    for t in range(1, int(apart)):
        between = _strip(work, ss + t * step_ss, fs + t * step_fs, step_ss, step_fs)
        if between >= 0 and own - between >= _SIGMAS * math.sqrt(own + between):
            return True
    return False


@njit(cache=True, nogil=True)
def _strip(work, ss, fs, step_ss, step_fs):  # type: ignore[no-untyped-def]
    """Sum three pixels across a direction; -1 where one of them has no reading."""
    total = 0.0
    for across in range(-1, 2):
        i, j = math.floor(ss - across * step_fs), math.floor(fs + across * step_ss)
        if not (0 <= i < work.shape[0] and 0 <= j < work.shape[1]):
            return -1.0
        n = work[i, j]
        n = -2 - n if n < -1 else n
        if n < 0:
            return -1.0
        total += n
    return total

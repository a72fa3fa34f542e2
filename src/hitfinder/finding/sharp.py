"""Whether bright pixels are bright alone, without the light that a point spread gives."""

from __future__ import annotations

import math

from numba import njit

from hitfinder.finding.texture import expected

_SHARE, _SIGMAS = 0.05, 2.0
_N_AROUND = 8
_N_LEFT_OUT = 2


@njit(cache=True, nogil=True)
def counts_at(work, i, j):  # type: ignore[no-untyped-def]
    """Return the counts of a pixel, claimed by a peak or not; -1 where there is no reading."""
    inside = (i >= 0) & (j >= 0) & (i < work.shape[0]) & (j < work.shape[1])
    return max(work[i, j], -2 - work[i, j]) if inside else -1


@njit(cache=True, nogil=True)
def is_sharp(i, j, work, position, weight, rate):  # type: ignore[no-untyped-def]
    """Whether there is no light around a pixel but on two of its neighbours at most.

    Two, since a defect or the hit of a charged particle often reaches over two pixels, and a track
    goes on to either side. The six others must hold under 5 % of the pixel's light, or no more
    than two standard deviations of their background.

    Parameters
    ----------
    i, j : int
        Row and column.
    work : ndarray of int32, shape (ss, fs)
        Counts as in `hitfinder.finding.result.Proposal.counts`.
    position, weight, rate
        As for `hitfinder.finding.texture.expected`.

    Returns
    -------
    bool
    """
    own = counts_at(work, i, j) - expected(i, j, position, weight, rate)
    total = mean = first = second = 0.0
    for k in range(i - 1, i + 2):
        for m in range(j - 1, j + 2):
            n = counts_at(work, k, m)
            if n < 0 or (k == i and m == j):
                continue
            usual = expected(k, m, position, weight, rate)
            above = n - usual
            if above > first:
                first, second = above, first
            elif above > second:
                second = above
            total += above
            mean += usual
    around = total - first - second
    return around <= max(_SHARE * own, _SIGMAS * math.sqrt(mean))

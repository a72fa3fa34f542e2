"""Two spots close together: whether there is a gap between them, and what belongs to each."""

from __future__ import annotations

import math

import numpy as np
from numba import njit

from hitfinder.finding.texture import expected, significance

LEAST_PHOTONS = 8.0
"""Photons that each of two spots must have to be told apart: a gap in fewer may be chance."""

_LOG_P_APART = math.log(1e-6)
_SIGMAS = 3.0


@njit(cache=True, nogil=True)
def is_gap(work, ss, fs, other_ss, other_fs):
    """Whether the counts between two places are too few for both to be of one spot.

    One spot would be at least as bright between them as at the fainter. Strips of three pixels
    across the line between the places are compared with the one at the fainter, n₁ counts with n₀:
    (n₀ - n₁) / √(n₀ + n₁) is 3 or more in one of a thousand, were both expected alike.

    Parameters
    ----------
    work : ndarray of int32, shape (ss, fs)
        Counts as in `hitfinder.finding.result.Proposal.counts`.
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
def _strip(work, ss, fs, step_ss, step_fs):
    """Sum three pixels across a direction; -1 where one of them has no reading."""
    total = 0.0
    for across in range(-1, 2):
        i, j = math.floor(ss - across * step_fs), math.floor(fs + across * step_ss)
        if not (0 <= i < work.shape[0] and 0 <= j < work.shape[1]):
            return -1.0
        n = max(work[i, j], -2 - work[i, j])
        if n < 0:
            return -1.0
        total += n
    return total


@njit(cache=True, nogil=True)
def brightest(extent, n, local, work, ring, position, weight, rate, faint, part):
    """Keep of an extent the brightest of the spots that gaps divide it into.

    Parts are elevated pixels that touch. A part is another spot if it has `LEAST_PHOTONS` that
    chance does not explain, and a gap between it and the brightest part. What is left goes with the
    nearest part.

    Parameters
    ----------
    extent : ndarray of int64, shape (n or more, 2)
        (ss, fs) of the pixels; those kept come first afterwards.
    n : int
        Number of pixels.
    local : ndarray of float64, shape (N_LOCAL,)
        From `hitfinder.finding.texture.local_background`.
    work, ring, position, weight, rate
        As for `hitfinder.finding.texture.neighbourhood`.
    faint : ndarray of int32, shape (n_rings,)
        Counts from which a pixel is elevated.
    part : ndarray of int64, shape (n or more,)
        Room to work in.

    Returns
    -------
    int
        Pixels left; all, where there are not two spots.
    """
    n_parts = _label_parts(extent, n, work, ring, faint, part)
    if n_parts < 2:
        return n
    # Of each part: photons, and the centroid of its counts (ss, fs).
    about = np.zeros((n_parts, 3))
    bright = np.zeros(n_parts, np.bool_)
    for p in range(n_parts):
        counts = mean = 0.0
        for e in range(n):
            if part[e] == p:
                i, j = extent[e]
                counts += work[i, j]
                mean += expected(i, j, position, weight, rate)
                about[p, 1] += work[i, j] * (i + 0.5)
                about[p, 2] += work[i, j] * (j + 0.5)
        about[p, 0] = counts - local[0] * mean
        about[p, 1:] /= max(counts, 1.0)
        bright[p] = (
            about[p, 0] >= LEAST_PHOTONS and significance(counts, mean, local) <= _LOG_P_APART
        )
    best = np.argmax(about[:, 0])
    other = np.zeros(n_parts, np.bool_)
    for p in range(n_parts):
        if bright[p] and bright[best] and p != best:
            other[p] = is_gap(work, about[p, 1], about[p, 2], about[best, 1], about[best, 2])
    if not other.any():
        return n
    keep = np.empty(n, np.bool_)
    for e in range(n):
        keep[e] = not other[_nearest_bright(extent, n, e, part, bright)]
    kept = 0
    for e in range(n):
        if keep[e] and part[e] >= 0:
            extent[kept] = extent[e]
            kept += 1
    return kept


@njit(cache=True, nogil=True)
def _label_parts(extent, n, work, ring, faint, part):
    """Write the part each elevated pixel is in, -1 for others, and return how many parts."""
    for e in range(n):
        part[e] = -1
    todo = np.empty(n, np.int64)
    n_parts = 0
    for e in range(n):
        if part[e] >= 0 or not _elevated(extent[e], work, ring, faint):
            continue
        part[e], todo[0], n_todo = n_parts, e, 1
        while n_todo:
            n_todo -= 1
            k, m = extent[todo[n_todo]]
            for f in range(n):
                touches = abs(extent[f, 0] - k) <= 1 and abs(extent[f, 1] - m) <= 1
                if touches and part[f] < 0 and _elevated(extent[f], work, ring, faint):
                    part[f], todo[n_todo] = n_parts, f
                    n_todo += 1
        n_parts += 1
    return n_parts


@njit(cache=True, nogil=True, inline="always")
def _elevated(pixel, work, ring, faint):
    """Whether a pixel is brighter than chance makes one in a hundred."""
    return work[pixel[0], pixel[1]] >= faint[ring[pixel[0], pixel[1]]]


@njit(cache=True, nogil=True)
def _nearest_bright(extent, n, e, part, bright):
    """Return the bright part nearest to pixel `e` of an extent."""
    nearest, least = 0, math.inf
    for f in range(n):
        if part[f] >= 0 and bright[part[f]]:
            apart = (extent[f, 0] - extent[e, 0]) ** 2 + (extent[f, 1] - extent[e, 1]) ** 2
            if apart < least:
                nearest, least = part[f], apart
    return nearest

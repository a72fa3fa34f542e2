"""One spot or two: the pixels of a peak divided.

Two spots are told from one streak by how well either explains the counts (`finding.spread`), and by
the valley that there must be between two maxima: however many photons a streak has, and whatever
its profile, two halves of it are not farther apart than their widths allow.
"""

from __future__ import annotations

import math

import numpy as np
from numba import njit

from hitfinder.finding.spread import (
    ALL,
    BACKGROUND,
    COUNTS,
    FS,
    N_NEAR,
    N_SHAPE,
    PART,
    SS,
    axes_of,
    log_spots,
    log_streak,
    shape_of,
    widths_apart,
)
from hitfinder.finding.texture import expected, significance

LEAST_PHOTONS, LOG_P_SURE = 8.0, math.log(1e-6)
"""Photons that each part of a peak must have to be a spot of its own, and the logarithm of the
chance to have as many, at most: of two weak parts neither may be found, where both together are."""

REACH = 10
"""Rows and columns from the middle within which counts are looked at."""

SIDE = 2 * REACH + 1
N_ROOM = SIDE * SIDE

_BETTER, _WIDTHS_APART = 4.0, 3.6
"""By how much two round spots must be better than one streak, in log likelihood, and how many of
their widths they must be apart: between them there is 0.4 of the light that there is on each. The
halves of an even streak are √12 of their widths apart."""

_RADIAL_BETTER, _RADIAL = 9.0, math.cos(math.radians(14.0))
"""By how much so if one is farther from the beam axis than the other in the same direction, and the
cosine of how far the directions may differ: a wide spectrum makes streaks along the radius, with
faint tails, and nothing makes such streaks in other directions."""

_LONG_BETTER, _LONG_WIDTHS_APART = 10.0, 5.0
"""The same for two spots that are themselves long."""

_LEAST_ALONG, _LEAST_RATIO, _WIDE = 1.0, 1.8, 4.0
"""Least variance along the long axis of what may be two spots, in pixels², and how many times that
across it: two spots in the ratio 1 : 10 have twice as much where they can be told apart. What is
wider may be two long spots side by side."""

_MARGIN = 3
"""Rows and columns looked at around a peak."""

_DIRECTIONS = 8
_STEP = 0.5
_BINS = 2 * int(SIDE / _STEP) + 1
_MOST_DIVISIONS = 8


@njit(cache=True, nogil=True)
def divide(extent, n, window, work, ring, position, weight, rate, local, faint, near, member):
    """Keep of an extent the spot that a window is on.

    Parameters
    ----------
    extent : ndarray of int64, shape (n or more, 2)
        (ss, fs) of the pixels; those kept come first afterwards.
    n : int
        Number of pixels.
    window : tuple of int
        First row and column, rows and columns.
    work, ring, position, weight, rate
        As for `hitfinder.finding.texture.neighbourhood`.
    local : ndarray of float64, shape (N_LOCAL,)
        From `hitfinder.finding.texture.local_background`.
    faint : ndarray of int32, shape (n_rings,)
        Counts from which a pixel is elevated.
    near : ndarray of float64, shape (N_NEAR + 2, N_ROOM)
        Room to work in.
    member : ndarray of int8, shape (SIDE, SIDE)
        Room to work in.

    Returns
    -------
    int
        Pixels kept.
    """
    row, column, rows, columns = window
    i, j = row + rows // 2, column + columns // 2
    out_fs, out_ss = outward(i, j, position)
    shapes = np.empty((2, N_SHAPE))
    for _ in range(_MOST_DIVISIONS):
        m = _look_at(extent, n, i, j, work, ring, position, weight, rate, local[0], faint, near,
                     member)  # fmt: skip
        shape_of(near, m, ALL, shapes[0])
        if shapes[0, 0] < 2.0 * LEAST_PHOTONS or not _may_be_two(shapes[0]):
            return n
        if not (_cut(near, m) and are_two(near, m, out_fs, out_ss, shapes)):
            return n
        if not (_is_sure(near, m, 0.0, local) and _is_sure(near, m, 1.0, local)):
            return n
        own = _part_of_window(near, m, row, column, rows, columns, i, j)
        n = _keep(extent, n, near, m, own, i, j, shapes, member)
    return n


@njit(cache=True, nogil=True)
def _look_at(extent, n, i, j, work, ring, position, weight, rate, factor, faint, near, member):
    """List the pixels around (i, j): those of the extent, and what is not elevated.

    What is elevated but does not touch the extent may be another spot's.
    """
    member[:] = 0
    around = 0
    for e in range(n):
        y, x = extent[e, 0] - i, extent[e, 1] - j
        around = max(around, min(max(abs(y), abs(x)) + _MARGIN, REACH))
        if abs(y) <= REACH and abs(x) <= REACH:
            member[y + REACH, x + REACH] = 1
    m = 0
    for k in range(max(i - around, 0), min(i + around + 1, work.shape[0])):
        for c in range(max(j - around, 0), min(j + around + 1, work.shape[1])):
            a, b = k - i + REACH, c - j + REACH
            if work[k, c] < 0 or (member[a, b] == 0 and work[k, c] >= faint[ring[k, c]]):
                continue
            near[FS, m], near[SS, m] = c - j, k - i
            near[COUNTS, m] = work[k, c]
            near[BACKGROUND, m] = factor * expected(k, c, position, weight, rate)
            near[PART, m] = 0.0 if member[a, b] else -1.0
            m += 1
    return m


@njit(cache=True, nogil=True)
def _is_sure(near, n, part, local):
    """Whether chance does not explain the counts of a part of the pixels."""
    counts = mean = 0.0
    for p in range(n):
        if near[PART, p] == part:
            counts += near[COUNTS, p]
            mean += near[BACKGROUND, p] / local[0]
    return significance(counts, mean, local) <= LOG_P_SURE


@njit(cache=True, nogil=True)
def _may_be_two(shape):
    """Whether what has these moments is long enough for two spots."""
    along, across, _, _ = axes_of(shape)
    return along >= _LEAST_ALONG and (along >= _LEAST_RATIO * across or along >= _WIDE)


@njit(cache=True, nogil=True)
def outward(i, j, position):
    """Return the direction (fs, ss) in which pixels are farther from the beam axis."""
    top, bottom = max(i - 1, 0), min(i + 1, position.shape[0] - 1)
    left, right = max(j - 1, 0), min(j + 1, position.shape[1] - 1)
    x, y = position[i, right] - position[i, left], position[bottom, j] - position[top, j]
    length = max(math.hypot(x, y), 1e-9)
    return x / length, y / length


@njit(cache=True, nogil=True)
def are_two(near, n, out_fs, out_ss, shapes):
    """Whether two spots explain parts 0 and 1 of the pixels so much better than one streak does.

    Parameters
    ----------
    near, n
        As for `hitfinder.finding.spread.log_spots`.
    out_fs, out_ss : float
        From `outward`.
    shapes : ndarray of float64, shape (2, N_SHAPE)
        Written: the spots.
    """
    light, whole = near[N_NEAR:], np.empty(N_SHAPE)
    # Of plain constants Numba would make a version of its own for each.
    long = _log_apart(near, n, np.bool_(False), _LONG_WIDTHS_APART, shapes)
    round_ = _log_apart(near, n, np.bool_(True), _WIDTHS_APART, shapes)
    if max(long, round_) == -math.inf:
        return False
    shape_of(near, n, ALL, whole)
    one = log_streak(near, n, whole, light)
    x, y = shapes[1, 1] - shapes[0, 1], shapes[1, 2] - shapes[0, 2]
    is_radial = abs(x * out_fs + y * out_ss) >= _RADIAL * math.hypot(x, y)
    better = _RADIAL_BETTER if is_radial else _BETTER
    return round_ - one >= better or long - one >= _LONG_BETTER


@njit(cache=True, nogil=True)
def _log_apart(near, n, is_round, least, shapes):
    """Log likelihood of two spots, of parts 0 and 1; that of none if they are too close."""
    shape_of(near, n, 0.0, shapes[0])
    shape_of(near, n, 1.0, shapes[1])
    value = log_spots(near, n, is_round, shapes, near[N_NEAR:])
    return value if widths_apart(shapes) >= least else -math.inf


@njit(cache=True, nogil=True)
def _cut(near, n):
    """Cut the pixels in two, along the straight line that equally wide spots explain best.

    All pixels of a part are taken to be of its spot, whose likelihood then is a matter of sums:
    they are gathered in strips across each of some directions. Returns False if there is no cut
    with enough photons on both sides.
    """
    strips, best, where, along = np.empty((_BINS, N_SHAPE)), -math.inf, 0, 0.0
    total, low, high = np.empty(N_SHAPE), np.empty(N_SHAPE), np.empty(N_SHAPE)
    for d in range(_DIRECTIONS):
        angle = math.pi * d / _DIRECTIONS
        _fill_strips(near, n, angle, strips)
        total[:] = low[:] = 0.0
        for s in range(_BINS):
            for v in range(N_SHAPE):
                total[v] += strips[s, v]
        for s in range(_BINS - 1):
            for v in range(N_SHAPE):
                low[v] += strips[s, v]
                high[v] = total[v] - low[v]
            if low[0] < LEAST_PHOTONS or high[0] < LEAST_PHOTONS:
                continue
            if strips[s, 0] == 0.0:
                continue
            value = _log_likelihood_apart(low, high)
            if value > best:
                best, where, along = value, s, angle
    if best == -math.inf:
        return False
    for p in range(n):
        if near[PART, p] >= 0.0:
            near[PART, p] = 1.0 if _strip(near, p, along) > where else 0.0
    return True


@njit(cache=True, nogil=True, inline="always")
def _strip(near, p, angle):
    """Return the number of the strip across a direction that a pixel is in."""
    at = near[FS, p] * math.cos(angle) + near[SS, p] * math.sin(angle)
    return math.floor(at / _STEP + 0.5) + _BINS // 2


@njit(cache=True, nogil=True)
def _fill_strips(near, n, angle, strips):
    """Sum the photons above the background and their moments in strips across a direction."""
    strips[:] = 0.0
    for p in range(n):
        above = near[COUNTS, p] - near[BACKGROUND, p]
        if above > 0.0 and near[PART, p] >= 0.0:
            x, y, s = near[FS, p], near[SS, p], _strip(near, p, angle)
            strips[s, 0] += above
            strips[s, 1] += above * x
            strips[s, 2] += above * y
            strips[s, 3] += above * x * x
            strips[s, 4] += above * y * y
            strips[s, 5] += above * x * y


@njit(cache=True, nogil=True)
def _log_likelihood_apart(one, other):
    """Log likelihood of two equally wide spots from the sums of their photons, up to a constant."""
    pooled = np.zeros(N_SHAPE)
    photons, value = one[0] + other[0], 0.0
    for sums in (one, other):
        fs, ss = sums[1] / sums[0], sums[2] / sums[0]
        pooled[3] += (sums[3] - sums[0] * fs * fs) / photons
        pooled[4] += (sums[4] - sums[0] * ss * ss) / photons
        pooled[5] += (sums[5] - sums[0] * fs * ss) / photons
        value += sums[0] * math.log(sums[0] / photons)
    along, across, _, _ = axes_of(pooled)
    # A variance that is raised to the least one is more than the squares say.
    squares = 1.0 + (pooled[3] + pooled[4] - along) / across
    return value - 0.5 * photons * (math.log(along * across) + squares)


@njit(cache=True, nogil=True)
def _part_of_window(near, n, row, column, rows, columns, i, j):
    """Return the part that the brightest pixel of a window is in."""
    own, top = 0.0, -1.0
    for p in range(n):
        k, c = near[SS, p] + i, near[FS, p] + j
        inside = row <= k < row + rows and column <= c < column + columns
        if inside and near[PART, p] >= 0.0 and near[COUNTS, p] > top:
            own, top = near[PART, p], near[COUNTS, p]
    return own


@njit(cache=True, nogil=True)
def _keep(extent, n, near, m, own, i, j, shapes, member):
    """Put the pixels of a part first in an extent; those farther out go with the nearer spot."""
    for p in range(m):
        if near[PART, p] >= 0.0:
            member[int(near[SS, p]) + REACH, int(near[FS, p]) + REACH] = (
                2 if near[PART, p] == own else 1
            )
    mine, others = int(own), 1 - int(own)
    kept = 0
    for e in range(n):
        y, x = extent[e, 0] - i, extent[e, 1] - j
        if abs(y) <= REACH and abs(x) <= REACH:
            keep = member[y + REACH, x + REACH] == 2
        else:
            keep = math.hypot(x - shapes[mine, 1], y - shapes[mine, 2]) < math.hypot(
                x - shapes[others, 1], y - shapes[others, 2]
            )
        if keep:
            k, c = extent[kept, 0], extent[kept, 1]
            extent[kept, 0], extent[kept, 1] = extent[e, 0], extent[e, 1]
            extent[e, 0], extent[e, 1] = k, c
            kept += 1
    return kept

"""Peaks that are pieces of one streak, put together.

A long streak of few photons falls to pieces by chance. Those that lie close together are judged as
the pixels of one peak are (`finding.separate`): where there is no valley between them that is worth
two spots, they are one. All pieces put together so far take part, so spots are not chained by
fragments between them, and no streak becomes longer than `_LONGEST`.
"""

from __future__ import annotations

import math

import numpy as np
from numba import njit

from hitfinder.finding.separate import N_ROOM, REACH, are_two, outward
from hitfinder.finding.spread import (
    BACKGROUND,
    COUNTS,
    FS,
    LEAST_VARIANCE,
    N_NEAR,
    N_SHAPE,
    PART,
    SS,
)
from hitfinder.finding.texture import expected

_APART = 5
"""Rows or columns between the pixels of two peaks that may be pieces of one streak."""

_LONGEST = 40
"""Most rows and columns of a streak that is put together."""

_FAR = 8.0
"""How many of their widths two peaks are apart that no streak joins."""


def unite(peaks, boxes, owner, work, position, weight, rate, piece_of):
    """Put together peaks close to one another that are not told apart from one streak.

    Parameters
    ----------
    peaks : ndarray of float64, shape (n, N_MEASURES)
        From `hitfinder.finding.peaks.collect_peaks`; those left come first afterwards.
    boxes : ndarray of int64, shape (n, 4)
        First and last row, first and last column of the pixels of each; overwritten.
    owner : ndarray of int32, shape (ss, fs)
        Number of the peak, from 1, that a pixel is of; 0 of none. All 0 afterwards.
    work, position, weight, rate
        As for `hitfinder.finding.texture.neighbourhood`.
    piece_of : ndarray of int64, shape (n,)
        Written: which of those left each is a piece of.

    Returns
    -------
    int
        Number of peaks left.
    """
    # Numba takes a second to compile what sorts.
    order, first = np.argsort(boxes[:, 0], kind="stable"), np.arange(len(peaks))
    return _put_together(
        *(peaks, boxes, order, first, boxes.copy(), owner, work, position, weight, rate, piece_of)
    )


@njit(cache=True, nogil=True)
def _put_together(
    peaks, boxes, order, first, whole, owner, work, position, weight, rate, piece_of
):  # fmt: skip
    """Do what `unite` does, with the peaks in order of their first rows.

    Parameters
    ----------
    order : ndarray of int64, shape (n,)
        The peaks from the one whose pixels begin in the topmost row on.
    first : ndarray of int64, shape (n,)
        The numbers from 0; overwritten by the first peak of the streak that each is of.
    whole : ndarray of int64, shape (n, 4)
        The boxes; overwritten by those of the streaks.
    """
    near, shapes = np.empty((N_NEAR + 2, N_ROOM)), np.empty((2, N_SHAPE))
    n = order.size
    for a in range(n):
        p = order[a]
        for b in range(a + 1, n):
            q = order[b]
            if boxes[q, 0] > boxes[p, 1] + _APART + 1:
                break
            beside = boxes[q, 2] <= boxes[p, 3] + _APART + 1
            if not beside or boxes[p, 2] > boxes[q, 3] + _APART + 1:
                continue
            one, other = _root(first, p), _root(first, q)
            if one == other or _are_far(peaks, p, q) or _is_too_long(whole[one], whole[other]):
                continue
            m = _look_at(peaks, p, q, first, owner, work, position, weight, rate, near)
            out_fs, out_ss = outward(int(peaks[p, 1]), int(peaks[p, 0]), position)
            if not are_two(near, m, out_fs, out_ss, shapes):
                low, high = min(one, other), max(one, other)
                first[high] = low
                for edge in range(0, 4, 2):
                    whole[low, edge] = min(whole[low, edge], whole[high, edge])
                    whole[low, edge + 1] = max(whole[low, edge + 1], whole[high, edge + 1])
    _forget(boxes, owner)
    return _added_up(peaks, first, piece_of)


@njit(cache=True, nogil=True)
def _are_far(peaks, p, q):
    """Whether two peaks are farther apart than the halves of any streak."""
    one, other = max(peaks[p, 2], 1e-9), max(peaks[q, 2], 1e-9)
    variance = (one * peaks[p, 9] + other * peaks[q, 9]) / (one + other)
    apart = math.hypot(peaks[p, 0] - peaks[q, 0], peaks[p, 1] - peaks[q, 1])
    return apart > _FAR * math.sqrt(max(variance, LEAST_VARIANCE))


@njit(cache=True, nogil=True)
def _is_too_long(one, other):
    """Whether two boxes together have more rows or columns than a streak that is put together."""
    rows = max(one[1], other[1]) - min(one[0], other[0])
    columns = max(one[3], other[3]) - min(one[2], other[2])
    return max(rows, columns) >= _LONGEST


@njit(cache=True, nogil=True)
def _root(first, p):
    while first[p] != p:
        p = first[p]
    return p


@njit(cache=True, nogil=True)
def _look_at(peaks, p, q, first, owner, work, position, weight, rate, near):
    """List the pixels around the fainter of two peaks, but those of peaks that neither is of."""
    faint = p if peaks[p, 2] < peaks[q, 2] else q
    i, j = int(peaks[faint, 1]), int(peaks[faint, 0])
    one, other = _root(first, p), _root(first, q)
    m = 0
    for k in range(max(i - REACH, 0), min(i + REACH + 1, work.shape[0])):
        for c in range(max(j - REACH, 0), min(j + REACH + 1, work.shape[1])):
            counts, of, part = max(work[k, c], -2 - work[k, c]), owner[k, c] - 1, -1.0
            if counts < 0:
                continue
            if of >= 0:
                root = _root(first, of)
                part = 0.0 if root == one else 1.0
                if root != one and root != other:
                    continue
            near[FS, m], near[SS, m], near[COUNTS, m] = c - j, k - i, counts
            near[BACKGROUND, m] = peaks[faint, 8] * expected(k, c, position, weight, rate)
            near[PART, m] = part
            m += 1
    return m


@njit(cache=True, nogil=True)
def _forget(boxes, owner):
    for p in range(boxes.shape[0]):
        for i in range(boxes[p, 0], boxes[p, 1] + 1):
            for j in range(boxes[p, 2], boxes[p, 3] + 1):
                owner[i, j] = 0


@njit(cache=True, nogil=True)
def _added_up(peaks, first, piece_of):
    """Add pieces to the first of each streak; return how many peaks are left."""
    for p in range(peaks.shape[0]):
        r = _root(first, p)
        if r == p:
            continue
        # A piece on a background that is brighter than its rings may have no photons of its own.
        share = max(peaks[p, 2], 1e-9) / (max(peaks[r, 2], 1e-9) + max(peaks[p, 2], 1e-9))
        for c in range(2):
            peaks[r, c] += share * (peaks[p, c] - peaks[r, c])
        peaks[r, 2] += peaks[p, 2]
        peaks[r, 3] += peaks[p, 3]
        peaks[r, 4] = min(peaks[r, 4], peaks[p, 4])
        peaks[r, 5] += peaks[p, 5]
        peaks[r, 6] = max(peaks[r, 6], peaks[p, 6])
        peaks[r, 7] = peaks[r, 2] / math.sqrt(max(peaks[r, 2] + peaks[r, 3], 1.0))
    left = 0
    for p in range(peaks.shape[0]):
        r = _root(first, p)
        if r == p:
            for c in range(peaks.shape[1]):
                peaks[left, c] = peaks[p, c]
            piece_of[p] = left
            left += 1
        else:
            # The first of a streak comes before its other pieces.
            piece_of[p] = piece_of[r]
    return left

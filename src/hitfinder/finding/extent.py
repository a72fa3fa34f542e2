"""The pixels of a peak: gathered, marked as used, and signed with its number."""

from __future__ import annotations

from numba import njit

MAX_EXTENT = 400
"""Pixels a peak may hold."""


@njit(cache=True, nogil=True)
def grow(window, work, ring, faint, extent):
    """List the pixels of a window and the elevated pixels connected to it."""
    row, column, rows, columns = window
    n_ss, n_fs = work.shape
    n = 0
    for i in range(max(row, 0), min(row + rows, n_ss)):
        for j in range(max(column, 0), min(column + columns, n_fs)):
            if work[i, j] >= 0:
                extent[n, 0], extent[n, 1] = i, j
                n += 1
    done = 0
    while done < n and n < MAX_EXTENT:
        i, j = extent[done, 0], extent[done, 1]
        done += 1
        for k in range(max(i - 1, 0), min(i + 2, n_ss)):
            for m in range(max(j - 1, 0), min(j + 2, n_fs)):
                if work[k, m] < 0 or work[k, m] < faint[ring[k, m]] or n >= MAX_EXTENT:
                    continue
                known = False
                for e in range(n):
                    if extent[e, 0] == k and extent[e, 1] == m:
                        known = True
                        break
                if not known:
                    extent[n, 0], extent[n, 1] = k, m
                    n += 1
    return n


@njit(cache=True, nogil=True)
def claim(extent, n, n_grown, work):
    """Mark a peak's n pixels and their neighbours as used: n counts become -2 - n.

    The other pixels of the extent are another spot's.
    """
    _swap(extent[n:n_grown], work)
    n_ss, n_fs = work.shape
    for e in range(n):
        i, j = extent[e, 0], extent[e, 1]
        for k in range(max(i - 1, 0), min(i + 2, n_ss)):
            for m in range(max(j - 1, 0), min(j + 2, n_fs)):
                if work[k, m] >= 0:
                    work[k, m] = -2 - work[k, m]
    _swap(extent[n:n_grown], work)


@njit(cache=True, nogil=True)
def _swap(extent, work):
    """Mark pixels as used, or as not used where they are."""
    for e in range(extent.shape[0]):
        work[extent[e, 0], extent[e, 1]] = -2 - work[extent[e, 0], extent[e, 1]]


@njit(cache=True, nogil=True)
def sign(extent, number, owner, box):
    """Write a peak's number on its pixels, and the rows and columns that they are in."""
    box[0], box[1], box[2], box[3] = owner.shape[0], -1, owner.shape[1], -1
    for e in range(extent.shape[0]):
        i, j = extent[e, 0], extent[e, 1]
        owner[i, j] = number
        box[0], box[1] = min(box[0], i), max(box[1], i)
        box[2], box[3] = min(box[2], j), max(box[3], j)

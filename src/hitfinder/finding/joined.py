"""What is joined to one another: pixels that touch, and things of which pairs belong together."""

from __future__ import annotations

import itertools
import math

import numpy as np
from numba import njit
from numpy.typing import NDArray

from hitfinder.finding.poisson import critical_counts
from hitfinder.finding.result import Proposal
from hitfinder.finding.rings import Rings

_REACH = 24
_SIDE = 2 * _REACH + 1
_LOG_P_LIT = math.log(1e-3)


def connected(one: NDArray[np.bool_]) -> list[NDArray[np.intp]]:
    """List what a matrix of pairs connects, directly or through others, each list rising."""
    label, members = np.empty((2, len(one)), np.intp)
    starts = np.empty(len(one) + 1, np.intp)
    n = _label(one, label)
    _sort_lots(label, n, members, starts)
    ends = starts[: n + 1].tolist()
    return [members[start:end] for start, end in itertools.pairwise(ends)]


@njit(cache=True, nogil=True)
def _label(one, label):  # type: ignore[no-untyped-def]
    """Give each connected lot a number, in the order of first members; return how many."""
    label[:] = -1
    waiting = np.empty(label.size, np.int64)
    n = 0
    for first in range(label.size):
        if label[first] >= 0:
            continue
        label[first], waiting[0], n_waiting = n, first, 1
        while n_waiting:
            n_waiting -= 1
            here = waiting[n_waiting]
            for other in range(label.size):
                if label[other] < 0 and (one[here, other] or one[other, here]):
                    label[other], waiting[n_waiting] = n, other
                    n_waiting += 1
        n += 1
    return n


@njit(cache=True, nogil=True)
def _sort_lots(label, n, members, starts):  # type: ignore[no-untyped-def]
    """Write the members of each lot one behind the other, and where those of each start."""
    place = 0
    for lot in range(n):
        starts[lot] = place
        for k in range(label.size):
            if label[k] == lot:
                members[place] = k
                place += 1
    starts[n] = place


def lit_pixels(
    pixel: NDArray[np.int64], proposed: Proposal, rings: Rings
) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """Return the pixels that chance does not light and that are joined to one, gaps of one too."""
    row, column = int(pixel[0]), int(pixel[1])
    places, counts, means = np.empty((_SIDE**2, 2), np.int64), *np.empty((2, _SIDE**2))
    maps = (rings.index, rings.weight, proposed.rate)
    n = _with_photons(row, column, proposed.counts, *maps, places, counts, means)
    lit = places[:n][counts[:n] >= critical_counts(means[:n], _LOG_P_LIT)]
    lit = lit[_is_joined(lit - (row - _REACH, column - _REACH))]
    return lit[:, 0], lit[:, 1]


@njit(cache=True, nogil=True)
def _with_photons(row, column, work, ring, weight, rate, places, counts, means):  # type: ignore[no-untyped-def]
    """List the pixels around one that hold photons, and what their rings would; return how many."""
    n = 0
    for i in range(max(row - _REACH, 0), min(row + _REACH + 1, work.shape[0])):
        for j in range(max(column - _REACH, 0), min(column + _REACH + 1, work.shape[1])):
            count = work[i, j] if work[i, j] >= -1 else -2 - work[i, j]
            if count > 0 and ring[i, j] >= 0:
                places[n, 0], places[n, 1] = i, j
                counts[n], means[n] = count, rate[ring[i, j]] * weight[i, j]
                n += 1
    return n


@njit(cache=True, nogil=True)
def _is_joined(places):  # type: ignore[no-untyped-def]
    """Say which of some pixels of a square of `_SIDE` rows are joined to the one in its middle.

    Each stands for itself and the four beside it; what touches, also at a corner, is joined.
    """
    wide = np.zeros((_SIDE + 2, _SIDE + 2), np.bool_)
    for p in range(len(places)):
        i, j = places[p, 0] + 1, places[p, 1] + 1
        wide[i, j] = wide[i - 1, j] = wide[i + 1, j] = wide[i, j - 1] = wide[i, j + 1] = True
    # What lies outside the square joins nothing.
    wide[0], wide[-1] = False, False
    wide[:, 0], wide[:, -1] = False, False
    middle = _REACH + 1
    waiting = np.empty((_SIDE**2, 2), np.int64)
    joined = np.zeros(wide.shape, np.bool_)
    n_waiting = 0
    if wide[middle, middle]:
        joined[middle, middle] = True
        waiting[0, 0], waiting[0, 1], n_waiting = middle, middle, 1
    while n_waiting:
        n_waiting -= 1
        i, j = waiting[n_waiting, 0], waiting[n_waiting, 1]
        for k in range(i - 1, i + 2):
            for m in range(j - 1, j + 2):
                if wide[k, m] and not joined[k, m]:
                    joined[k, m] = True
                    waiting[n_waiting, 0], waiting[n_waiting, 1] = k, m
                    n_waiting += 1
    out = np.empty(len(places), np.bool_)
    for p in range(len(places)):
        out[p] = joined[places[p, 0] + 1, places[p, 1] + 1]
    return out

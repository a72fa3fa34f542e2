"""Pixels worth a closer look: one pass of small windows over a whole frame.

Window sums of 1×1, 3×3 and 5×5 pixels are compared with integer thresholds that follow the
background ring by ring. The pass works on strips of pixels so that the compiler can vectorise it;
a strip is looked at pixel by pixel only if one of its sums reaches the strip's lowest threshold.

There is room for so many candidates. When it is full, the weaker half is dropped, and the search
goes on for stronger ones: what is left are the strongest of the frame, wherever they are.
"""

from __future__ import annotations

import math

import numpy as np
from numba import njit
from numpy.typing import NDArray

from hitfinder.finding.lit import Lit, ring_spans, strong_neighbourhoods
from hitfinder.finding.rings import Rings
from hitfinder.finding.thresholds import (
    BAND,
    STRIP,
    WINDOWS,
    place_in_ring,
    ring_thresholds,
    strip_spans,
    strip_thresholds,
    threshold,
)

MOST = 1 << 19
"""Candidates of a frame that are looked at, at least, where there are more."""

_REACH = 2
_ROWS = 2 * _REACH + 1


class CandidateSearch:
    """Finds the candidates in the frames of one geometry. Not to be shared between threads.

    Parameters
    ----------
    rings : Rings
        Rings of the geometry.
    log_p : float
        Natural logarithm of the chance probability at which a window makes a candidate.
    most : int
        Where a frame has more candidates, at least so many are kept, the strongest.
    """

    def __init__(self, rings: Rings, log_p: float, most: int = MOST) -> None:
        self._rings, self._log_p = rings, log_p
        self._spans = strip_spans(rings.index, rings.weight)
        n_bands, n_strips = self._spans[0].shape
        self._strips = np.empty((3, n_bands, n_strips), np.int32)
        width = n_strips * STRIP + 2 * _REACH
        self._room = [np.empty((_ROWS + 2, width), kind) for kind in (np.int16, np.int32)]
        self._spans_around = ring_spans(*self._spans[:2])
        self._has_pixels = rings.n_pixels > 0
        # Memory that is never written is never taken.
        self._near = np.empty(2 * most, np.int32)
        self._found, self._strength = np.empty((2 * most, 2), np.int32), np.empty(2 * most, "f4")

    def find(
        self, work: NDArray[np.int32], rate: NDArray[np.float64], lit: Lit | None = None
    ) -> tuple[NDArray[np.int32], bool]:
        """Find the pixels at the centre of a window that reaches its threshold.

        Parameters
        ----------
        work : ndarray of int32, shape (ss, fs)
            Counts, negative where there is no reading.
        rate : ndarray of float64, shape (n_rings,)
            Background at weight 1, in photons per pixel.
        lit : Lit, optional
            The pixels that hold photons, if they are few; the candidates are the same without.

        Returns
        -------
        candidates : ndarray of int32, shape (n, 2)
            (ss, fs) in reading order; overwritten by the next call.
        dropped : bool
            Whether weaker ones were dropped for want of room.
        """
        rings = self._rings
        thresholds = ring_thresholds(rate, rings.weight_range, self._log_p)
        # Half the bits take half the time. Counts are cut where no threshold can tell.
        room = self._room[0 if thresholds.max() <= largest_count(np.int16) else 1]
        largest = largest_count(room.dtype)
        if lit is not None and (n := self._find_near(work, rate, lit, thresholds, largest)) >= 0:
            return self._found[:n], False
        strip_thresholds(thresholds, rings.weight_range, *self._spans, self._strips)
        n, least = find_candidates(
            work,
            rings.index,
            rings.weight,
            rings.weight_range,
            rate,
            thresholds,
            self._strips,
            largest,
            room,
            self._found,
            self._strength,
        )
        return self._found[:n], least > 0

    def _find_near(
        self,
        work: NDArray[np.int32],
        rate: NDArray[np.float64],
        lit: Lit,
        thresholds: NDArray[np.int32],
        largest: int,
    ) -> int:
        """Find the same near the pixels that hold photons; return -1 for want of room."""
        rings = self._rings
        lowest = thresholds[0]
        least = np.min(lowest, axis=1, initial=largest + 1, where=self._has_pixels)
        n = strong_neighbourhoods(
            *(lit.at, lit.counts, lit.rows, work.shape[1], lowest, least),
            *(*self._spans_around, STRIP, BAND, largest, self._near),
        )
        if n < 0:
            return n
        near = self._near[:n]
        near.sort()
        return judge_centres(
            near,
            *(work, rings.index, rings.weight, rings.weight_range, rate, thresholds, largest),
            *(self._found, self._strength),
        )


def largest_count(kind: np.typing.DTypeLike) -> int:
    """Largest count of which 25 can be summed in an integer type."""
    return int(np.iinfo(kind).max) // WINDOWS[-1]


@njit(cache=True, nogil=True)
def find_candidates(
    work, ring, weight, weight_range, rate, thresholds, strips, largest, room, found, strength
):
    """Find the pixels at the centre of a window that reaches its threshold.

    Parameters
    ----------
    work : ndarray of int32, shape (ss, fs)
        Counts, negative where there is no reading.
    ring : ndarray of int16, shape (ss, fs)
        Ring of each pixel, -1 where masked.
    weight : ndarray of float32, shape (ss, fs)
        Relative brightness of each pixel.
    weight_range : ndarray of float64, shape (2, n_rings)
        Smallest and largest pixel weight in each ring.
    rate : ndarray of float64, shape (n_rings,)
        Background at weight 1.
    thresholds : ndarray of int32, shape (2, 3, n_rings)
        From `ring_thresholds`.
    strips : ndarray of int32, shape (3, n_bands, n_strips)
        From `strip_thresholds`.
    largest : int
        Counts are cut to this; no less than the thresholds, no more than `largest_count`.
    room : ndarray of int16 or int32, shape (7, n_strips * STRIP + 4)
        Room for five rows of counts, and for their sums column by column.
    found : ndarray of int32, shape (n, 2)
        Written: (ss, fs) of the candidates in reading order.
    strength : ndarray of float32, shape (n,)
        Written: how strong each is.

    Returns
    -------
    n : int
        Number of candidates.
    least : float
        Candidates no stronger than this were dropped; 0 if there was room for all.
    """
    kind = room.dtype.type
    room[:] = 0
    marks = np.empty(strips.shape[2], np.bool_)
    count, least = 0, np.float32(0.0)
    for i in range(-_REACH, work.shape[0]):
        _enter_row(work, i + _REACH, kind(largest), room)
        if i < 0:
            continue
        _sum_columns(room, i)
        lows = strips[:, i // BAND]
        _mark_strips(room, i, lows, largest, marks)
        for s in range(marks.size):
            if not marks[s]:
                continue
            if count + STRIP > found.shape[0]:
                count, least = _drop_weaker_half(found, strength, count)
            count = _look_closely(
                room, i, s, lows[:, s], work, ring, weight, weight_range, rate, thresholds,
                least, count, found, strength,
            )  # fmt: skip
    return count, least


@njit(cache=True, nogil=True)
def judge_centres(
    near, work, ring, weight, weight_range, rate, thresholds, largest, found, strength
):
    """Do what `find_candidates` does for the pixels listed in `near`; return their number.

    Parameters
    ----------
    near : ndarray of int32
        Numbers of pixels, rising, some of them several times; no more than there is room for in
        `found`.
    """
    count, before = 0, -1
    n_ss, n_fs = work.shape
    for p in near:
        i, j = p // n_fs, p % n_fs
        r = ring[i, j]
        if p == before or r < 0:
            continue
        before = p
        sum9 = sum25 = 0
        for k in range(max(i - _REACH, 0), min(i + _REACH + 1, n_ss)):
            for m in range(max(j - _REACH, 0), min(j + _REACH + 1, n_fs)):
                one = min(max(work[k, m], 0), largest)
                sum25 += one
                sum9 += one if abs(k - i) <= 1 and abs(m - j) <= 1 else 0
        one = min(max(work[i, j], 0), largest)
        if _is_reached(one, sum9, sum25, r, weight[i, j], weight_range, thresholds):
            found[count, 0], found[count, 1] = i, j
            strength[count] = _strength(work[i, j], sum9, sum25, rate[r] * weight[i, j])
            count += 1
    return count


@njit(cache=True, nogil=True, inline="always")
def _is_reached(one, sum9, sum25, r, weight, weight_range, thresholds):
    """Whether the counts of any of the windows around a pixel of ring r reach its threshold."""
    part = place_in_ring(weight, weight_range[0, r], weight_range[1, r])
    return (
        one >= threshold(thresholds, 0, r, part)
        or sum9 >= threshold(thresholds, 1, r, part)
        or sum25 >= threshold(thresholds, 2, r, part)
    )


@njit(cache=True, nogil=True, inline="always")
def _strength(count, sum9, sum25, mean):
    """Half the deviance of the counts from a background, of the best window."""
    return max(
        _deviance(max(count, 0), mean),
        _deviance(sum9, 9.0 * mean),
        _deviance(sum25, 25.0 * mean),
    )


@njit(cache=True, nogil=True)
def _drop_weaker_half(found, strength, count):
    """Keep the stronger half of the candidates; return their number and what they are above."""
    most = count // 2
    least = _in_order(strength[:count].copy(), most)
    # Of those that are as strong as one another there may be more than half.
    ties = most
    for c in range(count):
        ties -= np.int64(strength[c] > least)
    kept = 0
    for c in range(count):
        tied = strength[c] == least
        if strength[c] > least or (tied and ties > 0):
            found[kept, 0], found[kept, 1] = found[c, 0], found[c, 1]
            strength[kept] = strength[c]
            kept, ties = kept + 1, ties - np.int64(tied)
    return kept, least


@njit(cache=True, nogil=True)
def _in_order(values, k):
    """Return the k-th smallest value, from 0; reorders the values.

    What NumPy does for it is slow to compile (C. A. R. Hoare, Commun. ACM 4, 321, 1961).
    """
    low, high = 0, values.size - 1
    while low < high:
        pivot, i, j = values[(low + high) // 2], low, high
        while i <= j:
            while values[i] < pivot:
                i += 1
            while values[j] > pivot:
                j -= 1
            if i <= j:
                values[i], values[j] = values[j], values[i]
                i, j = i + 1, j - 1
        if k <= j:
            high = j
        elif k >= i:
            low = i
        else:
            break
    return values[k]


@njit(cache=True, nogil=True)
def _look_closely(
    room, i, s, lows, work, ring, weight, weight_range, rate, thresholds,
    least, count, found, strength,
):  # fmt: skip
    """Add the candidates of strip s of row i to the `count` already found, return their number.

    The strength of one is half the deviance of its counts from what the background would have
    there, of the best window.
    """
    start = s * STRIP
    one = room[i % _ROWS, start + _REACH :]
    three = room[_ROWS, start + 1 :]
    five = room[_ROWS + 1, start:]
    for j in range(min(STRIP, ring.shape[1] - start)):
        sum9 = three[j] + three[j + 1] + three[j + 2]
        sum25 = five[j] + five[j + 1] + five[j + 2] + five[j + 3] + five[j + 4]
        r = ring[i, start + j]
        if (one[j] < lows[0] and sum9 < lows[1] and sum25 < lows[2]) or r < 0:
            continue
        if _is_reached(one[j], sum9, sum25, r, weight[i, start + j], weight_range, thresholds):
            mean = rate[r] * weight[i, start + j]
            strong = _strength(work[i, start + j], sum9, sum25, mean)
            if strong > least:
                found[count, 0], found[count, 1] = i, start + j
                strength[count] = strong
                count += 1
    return count


@njit(cache=True, nogil=True)
def _deviance(counts, mean):
    """Half the deviance of counts above a Poisson mean (McCullagh & Nelder, section 2.4)."""
    mean = max(mean, 1e-12)
    return counts * math.log(counts / mean) - counts + mean if counts > mean else 0.0


@njit(cache=True, nogil=True)
def _mark_strips(room, i, lows, largest, marks):
    """Say for each strip of row i whether the sums of any window in it reach its thresholds.

    Sums are cast back to their type one by one, without which they are taken at half the speed;
    the compiler vectorises this loop only in a function of its own.
    """
    kind = room.dtype.type
    for s in range(marks.size):
        start = s * STRIP
        one = room[i % _ROWS, start + _REACH : start + _REACH + STRIP]
        three = room[_ROWS, start + 1 : start + 3 + STRIP]
        five = room[_ROWS + 1, start : start + 4 + STRIP]
        low1 = kind(min(lows[0, s], largest + 1))
        low9 = kind(min(lows[1, s], largest + 1))
        low25 = kind(min(lows[2, s], largest + 1))
        reached = False
        for j in range(STRIP):
            sum9 = kind(three[j] + three[j + 1] + three[j + 2])
            sum25 = kind(five[j] + five[j + 1] + five[j + 2] + five[j + 3] + five[j + 4])
            reached |= (one[j] >= low1) | (sum9 >= low9) | (sum25 >= low25)
        marks[s] = reached


@njit(cache=True, nogil=True)
def _enter_row(work, i, largest, room):
    """Put the counts of row i, cut to what can be summed, in place of the oldest of five rows."""
    target = room[i % _ROWS, _REACH:]
    if i >= work.shape[0]:
        target[:] = 0
        return
    row, none = work[i], np.int32(0)
    for j in range(row.size):
        target[j] = min(max(row[j], none), largest)


@njit(cache=True, nogil=True)
def _sum_columns(room, i):
    """Sum the counts of the three and of the five rows around row i, column by column."""
    kind = room.dtype.type
    above2, above, here, below, below2 = (
        room[(i + 3) % _ROWS],
        room[(i + 4) % _ROWS],
        room[i % _ROWS],
        room[(i + 1) % _ROWS],
        room[(i + 2) % _ROWS],
    )
    row_sum3, row_sum5 = room[_ROWS], room[_ROWS + 1]
    for j in range(here.size):
        three = kind(above[j] + here[j] + below[j])
        row_sum3[j] = three
        row_sum5[j] = kind(three + above2[j] + below2[j])

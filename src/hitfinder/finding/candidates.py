"""Pixels worth a closer look: one pass of small windows over a whole frame.

Window sums of 1×1, 3×3 and 5×5 pixels are compared with integer thresholds that follow the
background ring by ring. The pass works on whole rows so that the compiler can vectorise it; a pixel
is looked at closely only if one of its sums reaches the lowest threshold of the strip it is in.

There is room for so many candidates. When it is full, the weaker half is dropped, and the search
goes on for stronger ones: what is left are the strongest of the frame, wherever they are.
"""

from __future__ import annotations

import math

import numpy as np
from numba import njit
from numpy.typing import NDArray

from hitfinder.finding.lit import Lit, is_dark, ring_spans, strong_neighbourhoods
from hitfinder.finding.rings import Rings
from hitfinder.finding.strongest import drop_weaker_half
from hitfinder.finding.thresholds import (
    BAND,
    STRIP,
    place_in_ring,
    ring_thresholds,
    strip_parts,
    strip_spans,
    strip_thresholds,
    threshold,
)

MOST = 1 << 19
"""Candidates of a frame that are looked at, at least, where there are more."""

_REACH = 2
_ROWS = 2 * _REACH + 1

_KINDS = (np.uint8, np.uint16, np.uint32)
"""Types of the sums. Those of 32 bits hold 25 times the most counts that a pixel has."""

_WORDS = 16
"""Words of marks that are looked at together: in a row of 2,000 pixels a mark or two are usual."""

_LARGEST, _ALL_BITS = np.iinfo(np.int32).max, -1


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
        first, last, least_weight = strip_spans(rings.index, rings.weight)
        self._spans = first, last
        self._parts = strip_parts(rings.weight_range, first, last, least_weight)
        n_bands, n_strips = first.shape
        self._strips = np.empty((3, n_bands, n_strips), np.int32)
        width = n_strips * STRIP + 2 * _REACH
        self._rooms = [np.empty((_ROWS + 2, width), kind) for kind in _KINDS]
        self._spans_around = ring_spans(*self._spans)
        self._has_pixels = rings.n_pixels > 0
        # Memory that is never written is never taken.
        self._near = np.empty(max(2 * most, width), np.int32)
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
        highest = int(thresholds.max())
        if lit is not None and (n := self._find_near(work, rate, lit, thresholds, highest)) >= 0:
            return self._found[:n], False
        strip_thresholds(thresholds, *self._spans, self._parts, self._strips)
        # Half the bits take half the time.
        room = next(one for one in self._rooms if highest <= np.iinfo(one.dtype).max)
        n, least = find_candidates(
            *(work, rings.index, rings.weight, rings.weight_range, rate, thresholds),
            *(self._strips, room, self._near, self._found, self._strength),
        )
        return self._found[:n], least > 0

    def _find_near(
        self,
        work: NDArray[np.int32],
        rate: NDArray[np.float64],
        lit: Lit,
        thresholds: NDArray[np.int32],
        highest: int,
    ) -> int:
        """Find the same near the pixels that hold photons; return -1 for want of room.

        Where counts are cut to the highest threshold, windows reach the same thresholds.
        """
        rings = self._rings
        lowest = thresholds[0]
        least = np.min(lowest, axis=1, initial=highest + 1, where=self._has_pixels)
        n = strong_neighbourhoods(
            *(lit.at, lit.counts, lit.rows, work.shape[1], lowest, least),
            *(*self._spans_around, STRIP, BAND, highest, self._near[: len(self._found)]),
        )
        if n < 0:
            return n
        near = self._near[:n]
        near.sort()
        return judge_centres(
            near, work, rings.index, rings.weight, rings.weight_range, thresholds, self._found
        )


@njit(cache=True, nogil=True)
def find_candidates(
    work, ring, weight, weight_range, rate, thresholds, strips, room, near, found, strength
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
    room : ndarray of an unsigned type, shape (7, n_strips * STRIP + 4)
        Room for five rows of counts, and for their sums column by column. Its type holds the
        thresholds; larger counts and sums are cut to what it holds.
    near : ndarray of int32
        Room for the numbers of pixels: of a row at least.
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
    most = room.dtype.type(_ALL_BITS)
    room[:] = 0
    lows = np.empty((3, strips.shape[2] * STRIP), room.dtype)
    marks = np.empty(lows.shape[1], np.uint8)
    words, n_fs = marks.view(np.uint64), work.shape[1]
    n_near, count, least = 0, 0, np.float32(0.0)
    for i in range(-_REACH, work.shape[0]):
        _enter_row(work, i + _REACH, most, room)
        if i < 0:
            continue
        _sum_columns(room, i)
        if i % BAND == 0:
            _spread(strips[:, i // BAND], most, lows)
        one, three, five = room[i % _ROWS, _REACH:], room[_ROWS, _REACH - 1 :], room[_ROWS + 1]
        _mark(one, three, five, lows[0], lows[1], lows[2], marks)
        n_near += _list_marked(marks[:n_fs], words, i * n_fs, near[n_near:])
        # All together at the end: between rows, what they are compared with would have to be
        # fetched from memory again and again.
        if n_near > near.size - n_fs or i == work.shape[0] - 1:
            count, least = _look_closely(
                near[:n_near], work, ring, weight, weight_range, rate, thresholds,
                count, least, found, strength,
            )  # fmt: skip
            n_near = 0
    return count, least


@njit(cache=True, nogil=True)
def _look_closely(
    near, work, ring, weight, weight_range, rate, thresholds, count, least, found, strength
):
    """Add the candidates among some pixels; return `count` and `least`."""
    n_fs, row, strip = work.shape[1], -1, -1
    for p in near:
        i, j = p // n_fs, p % n_fs
        if i != row or j // STRIP != strip:
            row, strip = i, j // STRIP
            if count + STRIP > found.shape[0]:
                count, least = drop_weaker_half(found, strength, count)
        strong = _strength_at(i, j, work, ring, weight, weight_range, rate, thresholds)
        if strong > least:
            found[count, 0], found[count, 1] = i, j
            strength[count] = strong
            count += 1
    return count, least


@njit(cache=True, nogil=True)
def judge_centres(near, work, ring, weight, weight_range, thresholds, found):
    """Do what `find_candidates` does for the pixels listed in `near`; return their number.

    Parameters
    ----------
    near : ndarray of int32
        Numbers of pixels, rising, some of them several times; no more than there is room for in
        `found`.
    """
    count, before, n_fs = 0, -1, work.shape[1]
    for p in near:
        if p == before:
            continue
        before = p
        i, j = p // n_fs, p % n_fs
        r = ring[i, j]
        if r >= 0 and _reaches(_sums_at(i, j, work), r, weight[i, j], weight_range, thresholds):
            found[count, 0], found[count, 1] = i, j
            count += 1
    return count


@njit(cache=True, nogil=True)
def _sums_at(i, j, work):
    """Return the counts in the 1×1, 3×3 and 5×5 pixels around row i, column j."""
    sum9 = sum25 = 0
    for k in range(max(i - _REACH, 0), min(i + _REACH + 1, work.shape[0])):
        for m in range(max(j - _REACH, 0), min(j + _REACH + 1, work.shape[1])):
            count = max(work[k, m], 0)
            sum25 += count
            sum9 += count if abs(k - i) <= 1 and abs(m - j) <= 1 else 0
    return max(work[i, j], 0), sum9, sum25


@njit(cache=True, nogil=True, inline="always")
def _reaches(sums, r, weight, weight_range, thresholds):
    """Whether one of the sums of `_sums_at` reaches its threshold, for a pixel in ring r."""
    part = place_in_ring(weight, weight_range[0, r], weight_range[1, r])
    return (
        sums[0] >= threshold(thresholds, 0, r, part)
        or sums[1] >= threshold(thresholds, 1, r, part)
        or sums[2] >= threshold(thresholds, 2, r, part)
    )


@njit(cache=True, nogil=True)
def _strength_at(i, j, work, ring, weight, weight_range, rate, thresholds):
    """Return how strong the candidate at a pixel is, 0 if it is none.

    That is half the deviance of its counts from what the background would have there, of the best
    window.
    """
    r = ring[i, j]
    if r < 0:
        return np.float32(0.0)
    sums = _sums_at(i, j, work)
    if not _reaches(sums, r, weight[i, j], weight_range, thresholds):
        return np.float32(0.0)
    mean = rate[r] * weight[i, j]
    strong = max(_deviance(sums[1], 9.0 * mean), _deviance(sums[2], 25.0 * mean))
    return np.float32(max(_deviance(sums[0], mean), strong))


@njit(cache=True, nogil=True)
def _deviance(counts, mean):
    """Half the deviance of counts above a Poisson mean (McCullagh & Nelder, section 2.4)."""
    mean = max(mean, 1e-12)
    return counts * math.log(counts / mean) - counts + mean if counts > mean else 0.0


# Loops over rows are functions of their own, which the compiler vectorises. Rows are of unsigned
# types; counts and sums too large for them are cut to the largest number there is.


@njit(cache=True, nogil=True)
def _plus(a, b, kind):
    """Return a sum, cut to the largest number of its kind, for which there is an instruction."""
    total = kind(a + b)
    # The compiler knows it by the number that stands here.
    return total if total >= a else kind(_ALL_BITS)


@njit(cache=True, nogil=True)
def _enter_row(work, i, most, room):
    """Put the counts of row i in place of the oldest of five rows."""
    target = room[i % _ROWS, _REACH:]
    if i >= work.shape[0]:
        target[:] = 0
        return
    row, none, largest = work[i], np.int32(0), np.int32(min(most, _LARGEST))
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
        three = _plus(_plus(above[j], here[j], kind), below[j], kind)
        row_sum3[j] = three
        row_sum5[j] = _plus(_plus(three, above2[j], kind), below2[j], kind)


@njit(cache=True, nogil=True)
def _spread(strips, most, lows):
    """Write the thresholds of the strips of a row for each of its pixels."""
    for k in range(lows.shape[0]):
        for s in range(strips.shape[1]):
            lows[k, s * STRIP : (s + 1) * STRIP] = min(strips[k, s], most)


@njit(cache=True, nogil=True)
def _mark(one, three, five, low1, low9, low25, marks):
    """Mark the pixels of a row where a window reaches the lowest threshold of the strip."""
    kind = low1.dtype.type
    for j in range(marks.size):
        sum9 = _plus(_plus(three[j], three[j + 1], kind), three[j + 2], kind)
        sum25 = _plus(
            _plus(
                _plus(five[j], five[j + 1], kind),
                _plus(five[j + 2], five[j + 3], kind),
                kind,
            ),
            five[j + 4],
            kind,
        )
        reached = (one[j] >= low1[j]) | (sum9 >= low9[j]) | (sum25 >= low25[j])
        marks[j] = np.uint8(reached)


@njit(cache=True, nogil=True)
def _list_marked(marks, words, first, near):
    """List the marked pixels of a row whose first one has the number `first`; return how many.

    `words` is the same memory, to its end; most pieces of it have no mark.
    """
    n, per_word = 0, words.itemsize
    for start in range(0, words.size, _WORDS):
        piece = words[start : start + _WORDS]
        if is_dark(piece):
            continue
        for k in range(piece.size):
            if piece[k] == np.uint64(0):
                continue
            at = (start + k) * per_word
            for j in range(at, min(at + per_word, marks.size)):
                near[n] = first + j
                n += int(marks[j] != 0)
    return n

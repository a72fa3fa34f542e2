"""Compiled: the intensities of overlapping reflections, all together, from the counts of pixels.

A pixel p is expected to hold b_p + Σ_j I_j f_jp photons, b_p of background and the share f_jp of
each reflection. The Poisson likelihood Σ_p n_p ln(b_p + Σ I f) - Σ I f is largest where

    Σ_p f_jp (n_p - b_p - Σ_k I_k f_kp) / v_p = 0  for all j,   v_p = b_p + Σ_k I_k f_kp.

Solved for I with v held, and again with v of the new I, this is Fisher's method of scoring. Where
few photons are counted the maximum lies at the edge where v vanishes in a pixel, and its mean over
repetitions is too high by some of the background; so v is that of the expected intensity where the
measured one is below it. The equations stay linear and the mean right, negative values included.
"""

from __future__ import annotations

import math

import numba
import numpy as np
from numpy.typing import NDArray

ROUNDS = 30
_LEAST_RATE = 1e-5
_LINK = 0.01
"""Reflections are solved together whose footprints have a cosine above this."""

_SETTLED = 1e-4
"""Change, as a share of its photons and one, below which a group of reflections is solved."""

_RIDGE = 1e-9
_BELIEVED = 2.0


def overlaps(
    first: NDArray[np.integer],
    pixels: NDArray[np.integer],
    shares: NDArray[np.floating],
    n_frame: int,
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Group the reflections whose footprints overlap.

    Parameters
    ----------
    first, pixels, shares : ndarray
        Footprints, as in `PredictedReflections`.
    n_frame : int
        Pixels of a frame.

    Returns
    -------
    order, start : ndarray of int64
        Group g is ``order[start[g]:start[g + 1]]``.
    """
    roots = np.arange(len(first) - 1)
    _join(first, pixels, shares, n_frame, roots)
    order = np.argsort(roots, kind="stable")
    start = np.flatnonzero(np.diff(roots[order], prepend=-1))
    return order, np.append(start, len(roots))


@numba.njit(cache=True, nogil=True)
def _join(first, pixels, shares, n_frame, parent):  # type: ignore[no-untyped-def]
    """Give each reflection the number of one of its group; `parent` holds their own at first."""
    n = len(first) - 1
    size = np.zeros(n)
    for j in range(n):
        for e in range(first[j], first[j + 1]):
            size[j] += shares[e] ** 2
    # The reflections of each pixel, in chains.
    head, chain = np.empty(n_frame, np.int32), np.empty(len(pixels), np.int32)
    head[:] = -1
    owner = np.empty(len(pixels), np.int32)
    product = np.zeros(n)
    met = np.empty(n, np.int64)
    for j in range(n):
        n_met = 0
        for e in range(first[j], first[j + 1]):
            owner[e] = j
            other = head[pixels[e]]
            while other >= 0:
                k = owner[other]
                if product[k] == 0.0:
                    met[n_met] = k
                    n_met += 1
                product[k] += shares[e] * shares[other]
                other = chain[other]
        for m in range(n_met):
            k = met[m]
            if product[k] > _LINK * math.sqrt(size[j] * size[k]):
                a, b = _root(parent, j), _root(parent, k)
                parent[max(a, b)] = min(a, b)
            product[k] = 0.0
        for e in range(first[j], first[j + 1]):
            chain[e] = head[pixels[e]]
            head[pixels[e]] = e
    for j in range(n):
        parent[j] = _root(parent, j)


@numba.njit(cache=True, nogil=True)
def _root(parent, j):  # type: ignore[no-untyped-def]
    while parent[j] != j:
        parent[j] = parent[parent[j]]
        j = parent[j]
    return j


@numba.njit(cache=True, nogil=True)
def solve(  # type: ignore[no-untyped-def]
    first, pixels, shares, groups, counts, background, expected, intensity, sigma, prior, alone
):
    """Measure the photons of reflections.

    Parameters
    ----------
    first, pixels, shares : ndarray
        Footprints, as in `PredictedReflections`.
    groups : tuple
        Of `overlaps`.
    counts : ndarray of int32, shape (n_frame,)
        Counts, negative where there is no reading.
    background : ndarray of float32, shape (n_frame,)
        Expected background.
    expected : ndarray, shape (n,)
        Photons that reflections like these have on average.
    intensity : ndarray, shape (n,)
        Photons of each reflection to start from. Receives those that are measured, those on pixels
        that are not read included.
    sigma : ndarray, shape (n,)
        Receives their standard deviation; inf where no pixel tells.
    prior : ndarray, shape (n,)
        Receives that of reflections as expected, whatever was counted.
    alone : ndarray, shape (n,)
        Receives what `prior` would be if no other reflection overlapped.
    """
    order, start = groups
    used = np.maximum(intensity, expected)
    rate, weighing = np.empty(len(counts), np.float32), np.empty(len(counts), np.float32)
    _rates(first, pixels, shares, background, intensity, rate)
    _rates(first, pixels, shares, background, used, weighing)
    settled = np.zeros(len(start) - 1, np.bool_)
    step = np.empty(len(intensity))
    for _ in range(ROUNDS):
        for g in range(len(settled)):
            if not settled[g]:
                members = order[start[g] : start[g + 1]]
                matrix, right = _equations(
                    members, first, pixels, shares, counts, rate, weighing, weighing
                )
                _solve(matrix, right)
                for a in range(len(members)):
                    step[members[a]] = right[a, 0]
        n_moving = 0
        for g in range(len(settled)):
            if settled[g]:
                continue
            worst = 0.0
            for j in order[start[g] : start[g + 1]]:
                worst = max(worst, abs(step[j]) / (1.0 + used[j]))
                intensity[j] += step[j]
                more = max(intensity[j], expected[j]) - used[j]
                used[j] += more
                for e in range(first[j], first[j + 1]):
                    rate[pixels[e]] += step[j] * shares[e]
                    weighing[pixels[e]] += more * shares[e]
            settled[g] = worst < _SETTLED
            n_moving += not settled[g]
        if not n_moving:
            break
    likely = _likely(expected, intensity)
    _deviations(first, pixels, shares, groups, counts, background, likely, weighing, sigma, alone)
    _deviations(first, pixels, shares, groups, counts, background, expected, weighing, prior, alone)


@numba.njit(cache=True, nogil=True)
def _likely(expected, intensity):  # type: ignore[no-untyped-def]
    """Return the intensities that the measured ones make likely.

    Of a count n, exponentially distributed intensities of mean E are (n + 1) / (1 + 1 / E) on
    average, whose own average is that of the intensities (compare S. French & K. Wilson, Acta
    Cryst. A34, 517 (1978)). So the variance is right on average at no photons and at two. One far
    above what is expected is believed.
    """
    likely = np.empty(len(intensity))
    for j in range(len(intensity)):
        e = max(expected[j], 1e-12)
        counted = max(intensity[j], 0.0)
        likely[j] = max((counted + 1.0) / (1.0 + 1.0 / e), counted - _BELIEVED * (1.0 + e))
    return likely


@numba.njit(cache=True, nogil=True)
def _deviations(  # type: ignore[no-untyped-def]
    first, pixels, shares, groups, counts, background, true, weighing, sigma, alone
):
    """Fill in the standard deviations of what is measured of `true` intensities."""
    order, start = groups
    rate = np.empty(len(counts), np.float32)
    _rates(first, pixels, shares, background, true, rate)
    for g in range(len(start) - 1):
        members = order[start[g] : start[g + 1]]
        matrix, _ = _equations(members, first, pixels, shares, counts, rate, weighing, weighing)
        noise, _ = _equations(members, first, pixels, shares, counts, rate, weighing, rate)
        for a in range(len(members)):
            j = members[a]
            alone[j] = math.sqrt(noise[a, a]) / matrix[a, a]
            if matrix[a, a] <= 2.0 * _RIDGE:
                alone[j] = np.inf
        inverse = np.zeros((len(members), len(members)))
        for a in range(len(members)):
            inverse[a, a] = 1.0
        _solve(matrix, inverse)
        for a in range(len(members)):
            variance = 0.0
            for b in range(len(members)):
                for c in range(len(members)):
                    variance += inverse[a, b] * noise[b, c] * inverse[a, c]
            j = members[a]
            sigma[j] = math.sqrt(max(variance, 0.0)) if alone[j] < np.inf else np.inf


@numba.njit(cache=True, nogil=True)
def _solve(matrix, right):  # type: ignore[no-untyped-def]
    """Put X with matrix X = right in place of `right`; overwrites `matrix`.

    Gauss-Jordan elimination with the largest pivots (G. H. Golub & C. F. Van Loan, Matrix
    Computations, section 3.4): Numba takes long to compile LAPACK's, and groups are small.
    """
    n = len(matrix)
    for c in range(n):
        best = c
        for a in range(c + 1, n):
            best = a if abs(matrix[a, c]) > abs(matrix[best, c]) else best
        if best != c:
            _swap_rows(matrix, c, best)
            _swap_rows(right, c, best)
        for a in range(n):
            part = matrix[a, c] / matrix[c, c]
            if a == c or part == 0.0:
                continue
            for b in range(c, n):
                matrix[a, b] -= part * matrix[c, b]
            for b in range(right.shape[1]):
                right[a, b] -= part * right[c, b]
    for a in range(n):
        for b in range(right.shape[1]):
            right[a, b] /= matrix[a, a]


@numba.njit(cache=True, nogil=True)
def _swap_rows(matrix, one, other):  # type: ignore[no-untyped-def]
    for b in range(matrix.shape[1]):
        matrix[one, b], matrix[other, b] = matrix[other, b], matrix[one, b]


@numba.njit(cache=True, nogil=True)
def _rates(first, pixels, shares, background, intensity, rate):  # type: ignore[no-untyped-def]
    """Fill in the photons expected of the pixels that belong to footprints."""
    for e in range(first[-1]):
        rate[pixels[e]] = max(background[pixels[e]], _LEAST_RATE)
    for j in range(len(first) - 1):
        for e in range(first[j], first[j + 1]):
            rate[pixels[e]] += intensity[j] * shares[e]


@numba.njit(cache=True, nogil=True)
def _equations(members, first, pixels, shares, counts, rate, weighing, variance):  # type: ignore[no-untyped-def]
    """Sum f_j f_k variance / v², and f_j (n - rate) / v, over the pixels that are read."""
    n = len(members)
    matrix, right = np.zeros((n, n)), np.zeros((n, 1))
    for a in range(n):
        j = members[a]
        for e in range(first[j], first[j + 1]):
            p = pixels[e]
            if counts[p] < 0:
                continue
            v = weighing[p]
            right[a, 0] += shares[e] * (counts[p] - rate[p]) / v
            matrix[a, a] += shares[e] ** 2 * variance[p] / (v * v)
        for b in range(a):
            k = members[b]
            at, end = first[k], first[k + 1]
            if pixels[at] > pixels[first[j + 1] - 1] or pixels[end - 1] < pixels[first[j]]:
                continue
            # A merge of their sorted pixels.
            for e in range(first[j], first[j + 1]):
                p = pixels[e]
                while at < end and pixels[at] < p:
                    at += 1
                if at < end and pixels[at] == p and counts[p] >= 0:
                    value = shares[e] * shares[at] * variance[p] / (weighing[p] * weighing[p])
                    matrix[a, b] += value
            matrix[b, a] = matrix[a, b]
    for a in range(n):
        matrix[a, a] += _RIDGE
    return matrix, right


@numba.njit(cache=True, nogil=True)
def footprint_sums(first, pixels, shares, counts, background, out):  # type: ignore[no-untyped-def]
    """Fill in, for each reflection, what its footprint holds.

    `out` has the columns: share that is read; and of its pixels with over a tenth of the largest
    share: photons, expected background, pixels, and the largest count.
    """
    for j in range(len(first) - 1):
        most = 0.0
        for e in range(first[j], first[j + 1]):
            most = max(most, shares[e])
        for e in range(first[j], first[j + 1]):
            p = pixels[e]
            if counts[p] < 0:
                continue
            out[j, 0] += shares[e]
            if shares[e] >= 0.1 * most:
                out[j, 1] += counts[p]
                out[j, 2] += background[p]
                out[j, 3] += 1.0
                out[j, 4] = max(out[j, 4], counts[p])


@numba.njit(cache=True, nogil=True)
def log_ratio(first, pixels, shares, counts, background, expected):  # type: ignore[no-untyped-def]
    """Log likelihood ratio of a frame with reflections of given photons to one without."""
    total = 0.0
    rate = np.empty(len(counts), np.float32)
    _rates(first, pixels, shares, background, expected, rate)
    done = np.zeros(len(counts), np.bool_)
    for e in range(first[-1]):
        p = pixels[e]
        if done[p] or counts[p] < 0:
            continue
        done[p] = True
        b = max(background[p], _LEAST_RATE)
        total += counts[p] * math.log(rate[p] / b) - (rate[p] - b)
    return total

"""Expected background per ring of one frame, robust to the Bragg peaks in it.

Each ring's counts are gathered in a histogram in one pass over the frame; everything robust is
then done on the histograms, which are small.
"""

from __future__ import annotations

import math

import numpy as np
from numba import njit
from numpy.typing import NDArray

from hitfinder.finding.poisson import log_mass, log_tail

EXACT_LEVELS = 64
"""Counts below this have a histogram level each; above it there are eight levels an octave."""

N_LEVELS = EXACT_LEVELS + 8 * 25

_BLOCK = 128
_CLIP_TAIL = math.log(1e-3)
_SMOOTH_PHOTONS = 400.0
_SMOOTH_RINGS = 64
_SIGMAS_ALIKE = 4.0
_ITERATIONS = 6


@njit(cache=True, nogil=True, inline="always")
def _level(count: int) -> int:
    """Histogram level of a count."""
    if count < EXACT_LEVELS:
        return count
    shift = 0
    top = count
    while top >= 16:
        top >>= 1
        shift += 1
    return min(N_LEVELS - 1, EXACT_LEVELS + (shift - 3) * 8 + top - 8)


@njit(cache=True, nogil=True)
def fill_histograms(work, ring, rows, histogram, sums):
    """Gather the counts of the chosen rows in a histogram for each ring.

    Parameters
    ----------
    work : ndarray of int32, shape (ss, fs)
        Counts, -1 where there is no reading.
    ring : ndarray of int16, shape (ss, fs)
        Ring of each pixel.
    rows : ndarray of int
        Rows to take.
    histogram, sums : ndarray, shape (n_rings, N_LEVELS)
        Added to: pixels, and the counts of the levels that hold more than one count. Pixels that
        read zero are not entered; they follow from the ring's size.

    Returns
    -------
    int
        Levels up to the highest that holds a pixel.
    """
    n_levels, flat = 1, histogram.ravel()
    lit, places = np.empty(_BLOCK, np.int32), np.empty(_BLOCK, np.int32)
    for i in rows:
        counts, rings = work[i], ring[i]
        for start in range(0, counts.size, _BLOCK):
            block, near = counts[start : start + _BLOCK], rings[start : start + _BLOCK]
            top = np.int32(0)
            for j in range(block.size):
                top = max(top, block[j])
            if top == 0:
                continue
            if top < EXACT_LEVELS:
                # Zeros and masked pixels are entered too, and taken out at the end: to ask of
                # each pixel whether it is lit would take longer.
                _place(block, near, places)
                for j in range(block.size):
                    flat[np.uint32(places[j])] += 1
                n_levels = max(n_levels, int(top) + 1)
                continue
            # Lit pixels are listed first, without a branch that nobody can foresee.
            n = 0
            for j in range(block.size):
                lit[n] = j
                n += int(block[j] > 0)
            for k in range(n):
                j = lit[k]
                level = _level(block[j])
                n_levels = max(n_levels, level + 1)
                histogram[near[j], level] += 1
                if level >= EXACT_LEVELS:
                    sums[near[j], level] += block[j]
    histogram[:, 0] = 0
    return n_levels


@njit(cache=True, nogil=True)
def _place(counts, rings, places):
    """Write where in the histogram of all rings each count is; vectorised, being on its own."""
    none = np.int32(0)
    for j in range(counts.size):
        ring, level = max(np.int32(rings[j]), none), max(counts[j], none)
        places[j] = np.int32(ring * np.int32(N_LEVELS)) + level


@njit(cache=True, nogil=True)
def fill_lit_histograms(rings, counts, histogram, sums):
    """Do what `fill_histograms` does for all rows, from the pixels that hold photons.

    Parameters
    ----------
    rings, counts : ndarray, shape (n,)
        See `hitfinder.finding.lit.Lit`.
    histogram, sums
        As for `fill_histograms`.

    Returns
    -------
    int
        As from `fill_histograms`.
    """
    n_levels = 1
    for p in range(rings.size):
        r, level = rings[p], _level(counts[p])
        n_levels = max(n_levels, level + 1)
        histogram[r, level] += 1
        if level >= EXACT_LEVELS:
            sums[r, level] += counts[p]
    return n_levels


@njit(cache=True, nogil=True)
def ring_rates(histogram, sums, n_levels, n_pixels, weight_sum, photons, exposure):
    """Fit each ring's background rate with its bright pixels clipped.

    The rate is the one whose Poisson law, cut where the clipping cuts it, has the mean that the
    remaining pixels have. The clipping starts from the median (or, where most pixels read zero,
    from the ratio of ones to zeros, which bright pixels do not touch) and is repeated.

    Parameters
    ----------
    histogram, sums : ndarray, shape (n_rings, N_LEVELS)
        Written by `fill_histograms`.
    n_levels : int
        From `fill_histograms`.
    n_pixels, weight_sum : ndarray, shape (n_rings,)
        Pixels with a reading, and the sum of their weights.
    photons, exposure : ndarray of float64, shape (n_rings,)
        Written: background photons corrected for the clipping, and the weight they fell on.
        Their ratio is the rate at weight 1.
    """
    for r in range(n_pixels.size):
        n = n_pixels[r]
        photons[r] = exposure[r] = 0.0
        if n <= 0:
            continue
        levels = histogram[r, :n_levels]
        zeros = n
        for level in range(n_levels):
            zeros -= levels[level]
        rate = _first_guess(levels, sums[r], zeros, n)
        kept, counts = zeros, 0.0
        for _ in range(_ITERATIONS):
            cut = _clip_count(rate, n)
            kept, counts = zeros, 0.0
            for level in range(1, min(cut, n_levels) if cut < EXACT_LEVELS else n_levels):
                if levels[level] == 0:
                    continue
                inside = level < EXACT_LEVELS
                mean = float(level) if inside else sums[r, level] / levels[level]
                if mean >= cut:
                    break
                kept += levels[level]
                counts += levels[level] * mean
            new = counts / max(kept, 1)
            new *= _clip_correction(new, cut)
            if abs(new - rate) <= 1e-4 * rate:
                rate = new
                break
            rate = new
        photons[r] = rate * kept
        exposure[r] = kept * weight_sum[r] / n


@njit(cache=True, nogil=True)
def _first_guess(levels, sums, zeros, n):
    """Median count, or ones over zeros where the median is zero."""
    if 2 * zeros >= n:
        ones = levels[1] if levels.size > 1 else 0
        return max(ones, 1) / zeros
    below = zeros
    for level in range(1, levels.size):
        below += levels[level]
        if 2 * below >= n:
            return float(level) if level < EXACT_LEVELS else sums[level] / levels[level]
    return 0.0


@njit(cache=True, nogil=True)
def _clip_count(rate, n):
    """Count at and above which a pixel is left out of a ring of n pixels."""
    log_p = min(_CLIP_TAIL, math.log(0.3 / n))
    step = max(1, int(0.25 * math.sqrt(rate)))
    cut = max(2, int(rate + 2.0 * math.sqrt(rate)))
    # One term of the tail, which takes less time than all, is more than enough until near the end.
    while (rate > 0.0 and log_mass(cut, rate, math.inf) > log_p) or (
        log_tail(cut, rate, math.inf) > log_p
    ):
        cut += step
    return cut


@njit(cache=True, nogil=True)
def _clip_correction(mean, cut):
    """Ratio of a Poisson rate to its mean below `cut`, to first order in what is cut off."""
    lost = math.exp(log_tail(cut, mean, math.inf))
    edge = math.exp(log_tail(cut - 1, mean, math.inf))
    return (1.0 - lost) / max(1.0 - edge, 0.1)


@njit(cache=True, nogil=True)
def smooth_rates(photons, exposure, rate):
    """Smooth the rates over as many neighbouring rings as their photons need.

    Rings with photons enough keep their own rate, so narrow features of bright frames stay; in
    sparse frames the window grows until it holds photons enough for a rate good to 5 %. It does not
    grow past a ring that is brighter or darker than chance allows: thin light around a beam stop
    and a faint powder ring hold fewer photons than a window needs.

    Parameters
    ----------
    photons, exposure : ndarray of float64, shape (n_rings,)
        From `ring_rates`.
    rate : ndarray of float64, shape (n_rings,)
        Written: background at weight 1, in photons per pixel.
    """
    n = photons.size
    for r in range(n):
        p, e = photons[r], exposure[r]
        inwards = outwards = True
        for h in range(1, _SMOOTH_RINGS):
            if p >= _SMOOTH_PHOTONS or not (inwards or outwards):
                break
            inwards = inwards and r - h >= 0 and _alike(photons[r - h], exposure[r - h], p, e)
            outwards = outwards and r + h < n and _alike(photons[r + h], exposure[r + h], p, e)
            if inwards:
                p += photons[r - h]
                e += exposure[r - h]
            if outwards:
                p += photons[r + h]
                e += exposure[r + h]
        rate[r] = p / e if e > 0 else 0.0


@njit(cache=True, nogil=True)
def _alike(counts, exposure, others, other_exposure):
    """Whether two Poisson counts may have one rate, by their likelihood ratio.

    Twice its logarithm is the square of a standard normal number (Wilks, Ann. Math. Statist. 9, 60,
    1938).
    """
    total, whole = counts + others, exposure + other_exposure
    if exposure <= 0.0 or other_exposure <= 0.0 or total <= 0.0:
        return True
    # The logarithm of the ratio is Pearson's sum at most, which takes less time.
    off = counts * whole - total * exposure
    if 2.0 * off * off <= _SIGMAS_ALIKE**2 * total * exposure * other_exposure:
        return True
    ratio = 0.0
    if counts > 0.0:
        ratio += counts * math.log(counts * whole / (total * exposure))
    if others > 0.0:
        ratio += others * math.log(others * whole / (total * other_exposure))
    return 2.0 * ratio <= _SIGMAS_ALIKE**2


def new_histograms(n_rings: int) -> tuple[NDArray[np.int32], NDArray[np.int64]]:
    """Return the empty histogram and level sums that `fill_histograms` fills."""
    return np.zeros((n_rings, N_LEVELS), np.int32), np.zeros((n_rings, N_LEVELS), np.int64)


def compilable(frame: NDArray) -> NDArray:
    """Return a frame in a type that Numba knows: single and double precision stay as they are."""
    if frame.dtype.kind != "f" or frame.dtype in (np.float32, np.float64):
        return frame
    return frame.astype(np.float32 if frame.dtype.itemsize < 4 else np.float64)

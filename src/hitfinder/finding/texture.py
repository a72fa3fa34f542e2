"""How the background near a candidate differs from its ring's average.

Real frames are never quite azimuthal: solvent and air scatter, shadows and panels add texture.
The texture's variance is measured on each frame at control points; around a candidate the ring's
rate is then corrected by the counts nearby, as far as these counts can be trusted (a gamma prior
whose variance is the texture's; the posterior mean and shape follow from conjugacy: Gelman et
al., Bayesian Data Analysis, 3rd ed., section 2.6). On a frame without texture the correction
vanishes and the test is the plain Poisson one.

A few places are far outside the texture: the halo of a beam stop, a smear of diffuse scattering.
They get a second, wide prior, and its share in the verdict follows from how badly the first one
explains the counts nearby.
"""

from __future__ import annotations

import math

import numpy as np
from numba import njit

from hitfinder.finding.poisson import log_mass, log_tail

OUTER = 9
INNER = 4
"""The neighbourhood: pixels at most OUTER and more than INNER rows or columns away."""

N_OCTANTS = 8

N_LOCAL = 5
"""Numbers that describe the background near a candidate, see `local_background`."""

_MAX_SHAPE = 1e12
_ODD_PLACES = math.log(1e-3)
_ODD_SHAPE = 0.5
_N_TRIMMED = 2
_MOST_LOOKS = 6


@njit(cache=True, nogil=True, inline="always")
def expected(i, j, position, weight, rate):
    """Background expected on pixel (i, j), interpolated between the rings' centres."""
    place = position[i, j] - 0.5
    low = int(place)
    if place <= 0.0:
        return weight[i, j] * rate[0]
    if low >= rate.size - 1:
        return weight[i, j] * rate[rate.size - 1]
    part = place - low
    return weight[i, j] * (rate[low] + part * (rate[low + 1] - rate[low]))


@njit(cache=True, nogil=True)
def neighbourhood(i, j, scale, work, ring, position, weight, rate, bright, sums):
    """Sum counts and expected background around pixel (i, j), by octant.

    Parameters
    ----------
    i, j : int
        Row and column.
    scale : float
        How much brighter than its rings the place is taken to be, for what counts as bright.
    work : ndarray of int32, shape (ss, fs)
        Counts, negative where there is no reading.
    ring : ndarray of int16, shape (ss, fs)
        Ring of each pixel, -1 where masked.
    position, weight : ndarray of float32, shape (ss, fs)
        Radial position and relative brightness of each pixel.
    rate : ndarray of float64, shape (n_rings,)
        Background at weight 1.
    bright : ndarray of int32, shape (n_rings,)
        Counts at and above which a pixel is bright where the place is as its rings are.
    sums : ndarray of float64, shape (N_OCTANTS, 4)
        Written: counts and expected background without the bright pixels; the same with the
        bright pixels, their counts cut to `bright`.
    """
    sums[:] = 0.0
    n_ss, n_fs = work.shape
    for k in range(max(0, i - OUTER), min(n_ss, i + OUTER + 1)):
        dk = k - i
        for m in range(max(0, j - OUTER), min(n_fs, j + OUTER + 1)):
            dm = m - j
            n = work[k, m]
            if n < 0 or (abs(dk) <= INNER and abs(dm) <= INNER):
                continue
            octant = octant_of(dk, dm)
            mean = expected(k, m, position, weight, rate)
            top = float(bright[ring[k, m]])
            if scale != 1.0:
                top = scale * mean + math.sqrt(scale) * (top - mean)
            if n < top:
                sums[octant, 0] += n
                sums[octant, 1] += mean
            sums[octant, 2] += min(n, top)
            sums[octant, 3] += mean


@njit(cache=True, nogil=True)
def look_around(i, j, work, ring, position, weight, rate, bright, sums):
    """Sum the neighbourhood, raising what counts as bright until it fits the place itself.

    Parameters as for `neighbourhood`.
    """
    scale = 1.0
    for _ in range(_MOST_LOOKS):
        neighbourhood(i, j, scale, work, ring, position, weight, rate, bright, sums)
        counts, mean = without_brightest(sums)
        if fits(counts, scale * mean):
            return
        scale = counts / max(mean, 1e-30)


@njit(cache=True, nogil=True, inline="always")
def fits(counts, mean):
    """Whether a place is no brighter than it is taken to be."""
    return counts - mean < 3.0 * math.sqrt(mean) + 3.0


@njit(cache=True, nogil=True, inline="always")
def octant_of(dk, dm):
    """Octant of the neighbourhood that is so many rows and columns from the middle."""
    return int(dk > 0) + 2 * int(dm > 0) + 4 * int(abs(dk) > abs(dm))


@njit(cache=True, nogil=True)
def as_usual(out):
    """Describe a background exactly as its ring says; `out` as for `local_background`."""
    out[0], out[1], out[2], out[3], out[4] = 1.0, _MAX_SHAPE, 1.0, _MAX_SHAPE, -math.inf


@njit(cache=True, nogil=True)
def as_least(out, variance, rate):
    """Describe a background that makes counts no less significant than `local_background` does.

    It is the factor that a neighbourhood without a count would give where most counts are expected
    of one: no pixel weighs more than 1. The law is Poisson's, whose tail is the lower one.

    Parameters
    ----------
    out : ndarray of float64, shape (N_LOCAL,)
        Written, as by `local_background`.
    variance, rate
        As for `local_background`.
    """
    as_usual(out)
    if variance > 0.0:
        out[0] = 1.0 / (1.0 + variance * (2 * OUTER + 1) ** 2 * rate.max())


@njit(cache=True, nogil=True)
def local_background(i, j, variance, work, ring, position, weight, rate, bright, sums, out):
    """Describe the background near pixel (i, j) by two gamma laws and the odds between them.

    Parameters
    ----------
    i, j : int
        Row and column.
    variance : float
        From `texture_variance`.
    work, ring, position, weight, rate, bright
        As for `neighbourhood`.
    sums : ndarray of float64, shape (N_OCTANTS, 4)
        Room to work in.
    out : ndarray of float64, shape (N_LOCAL,)
        Written: factor on the ring's rate and gamma shape in a usual place, the same in an odd
        place, and the log odds that this place is odd.
    """
    as_usual(out)
    look_around(i, j, work, ring, position, weight, rate, bright, sums)
    if variance > 0.0:
        prior, counts = 1.0 / variance, total_of(sums, 0)
        out[0], out[1] = (prior + counts) / (prior + total_of(sums, 1)), prior + counts
    counts, mean = without_brightest(sums)
    if counts <= out[0] * mean or mean <= 0.0:
        return
    usual_shape = 1.0 / variance if variance > 0.0 else _MAX_SHAPE
    odds = log_mass(int(counts), mean, _ODD_SHAPE) - log_mass(int(counts), mean, usual_shape)
    out[2] = (_ODD_SHAPE + counts) / (_ODD_SHAPE + mean)
    out[3] = _ODD_SHAPE + counts
    out[4] = _ODD_PLACES + odds


@njit(cache=True, nogil=True)
def without_brightest(sums):
    """Sum counts and expected background without the brightest octants.

    A neighbouring spot fills an octant or two; a smear of background fills most of them.
    """
    ratios = np.empty(N_OCTANTS)
    for s in range(N_OCTANTS):
        ratios[s] = sums[s, 2] / max(sums[s, 3], 1e-30)
    counts = mean = 0.0
    for _ in range(N_OCTANTS - _N_TRIMMED):
        darkest = 0
        for s in range(1, N_OCTANTS):
            if ratios[s] < ratios[darkest]:
                darkest = s
        counts += sums[darkest, 2]
        mean += sums[darkest, 3]
        ratios[darkest] = math.inf
    return counts, mean


@njit(cache=True, nogil=True)
def total_of(sums, column):
    """Add up one column of the sums of the octants."""
    total = 0.0
    for s in range(N_OCTANTS):
        total += sums[s, column]
    return total


@njit(cache=True, nogil=True)
def significance(counts, mean, local):
    """Log chance probability of a window's counts, over both laws of its background.

    Parameters
    ----------
    counts, mean : float
        Counts in the window and the rings' expectation of them.
    local : ndarray of float64, shape (N_LOCAL,)
        From `local_background`.
    """
    usual = log_tail(int(counts), local[0] * mean, local[1])
    if local[4] < -20.0:
        return usual
    odd = log_tail(int(counts), local[2] * mean, local[3])
    log_share = min(local[4], 0.0) - math.log1p(math.exp(-abs(local[4])))
    share = math.exp(log_share)
    low, high = min(usual, odd), max(usual, odd)
    share_high = share if odd > usual else 1.0 - share
    if share_high <= 0.0:
        return low
    return min(0.0, high + math.log(share_high + (1.0 - share_high) * math.exp(low - high)))

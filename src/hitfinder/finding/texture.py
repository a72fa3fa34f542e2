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

import dataclasses
import math

import numpy as np
from numba import njit
from numpy.typing import NDArray

from hitfinder.finding.lit import first_from
from hitfinder.finding.poisson import log_mass, log_tail
from hitfinder.finding.rings import Rings

OUTER = 9
INNER = 4
"""The neighbourhood: pixels at most OUTER and more than INNER rows or columns away."""

N_OCTANTS = 8

N_LOCAL = 5
"""Numbers that describe the background near a candidate, see `local_background`."""

_MAX_SHAPE = 1e12
_OUTLIER = 3.5
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
            octant = _octant(dk, dm)
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
        counts, mean = _without_brightest(sums)
        if _fits(counts, scale * mean):
            return
        scale = counts / max(mean, 1e-30)


@njit(cache=True, nogil=True, inline="always")
def _fits(counts, mean):
    """Whether a place is no brighter than it is taken to be."""
    return counts - mean < 3.0 * math.sqrt(mean) + 3.0


@njit(cache=True, nogil=True, inline="always")
def _octant(dk, dm):
    """Octant of the neighbourhood that is so many rows and columns from the middle."""
    return int(dk > 0) + 2 * int(dm > 0) + 4 * int(abs(dk) > abs(dm))


@dataclasses.dataclass(frozen=True, eq=False)
class ControlPoints:
    """Places at which the texture of each frame is measured, and what no frame changes of them.

    Attributes
    ----------
    at : ndarray of int32, shape (n, 2)
        (ss, fs) of the points.
    first : ndarray of int64, shape (n,)
        First ring that has a part in the background around each.
    parts : ndarray of float64, shape (n, N_OCTANTS, n_around)
        Background expected in each octant where a ring has the rate 1: from the first ring on.
    """

    at: NDArray[np.int32]
    first: NDArray[np.int64]
    parts: NDArray[np.float64]

    @staticmethod
    def of(rings: Rings) -> ControlPoints:
        """Spread control points over the unmasked pixels of a geometry."""
        at, n_rings = control_points(rings.index < 0), rings.q.size
        place = np.clip(_patches(at, rings.position).astype(float) - 0.5, 0, n_rings - 1)
        # Masked pixels have no weight, nor has what is outside the frame.
        weight = _patches(at, rings.weight).astype(float)
        weight[:, OUTER - INNER : OUTER + INNER + 1, OUTER - INNER : OUTER + INNER + 1] = 0
        low = np.minimum(place.astype(np.int64), max(n_rings - 2, 0))
        first = np.min(low, axis=(1, 2), initial=n_rings, where=weight > 0)
        around = np.where(weight > 0, low - first[:, None, None], 0)
        n_around = int(around.max(initial=0)) + 2
        steps = np.arange(-OUTER, OUTER + 1)
        octant = np.array([[_octant.py_func(dk, dm) for dm in steps] for dk in steps])
        of_point = np.arange(len(at))[:, None, None] * N_OCTANTS
        index = ((of_point + octant) * n_around + around).ravel()
        upper = (weight * (place - low)).ravel()
        n = len(at) * N_OCTANTS * n_around
        parts = np.bincount(index, weight.ravel() - upper, n) + np.bincount(index + 1, upper, n)
        shape = len(at), N_OCTANTS, n_around
        return ControlPoints(at, first, np.asarray(parts, np.float64).reshape(shape))


@njit(cache=True, nogil=True)
def texture_variance(points, first, parts, work, ring, position, weight, rate, bright, at, rows):
    """Relative variance of the local background about its ring's average.

    The excess of the counts' variance over Poisson's, by moments, at control points; points that
    deviate too far for the variance found are left out and the estimate is repeated. It must
    exceed its own standard error to count.

    Parameters
    ----------
    points, first, parts : ndarray
        `at`, `first` and `parts` of `ControlPoints`.
    work, ring, position, weight, rate, bright
        As for `neighbourhood`.
    at, rows : ndarray
        The pixels that are not 0 or masked, see `hitfinder.finding.lit.Lit`; without `rows` they
        are looked for.

    Returns
    -------
    float
        Variance of the ratio of local to ring background; 0 for none.
    """
    n = points.shape[0]
    counts, means, sums = np.empty(n), np.empty(n), np.empty((N_OCTANTS, 4))
    for p in range(n):
        i, j = np.int64(points[p, 0]), np.int64(points[p, 1])
        _expect(first[p], parts[p], rate, sums)
        _enter_counts(i, j, work, ring, position, weight, rate, bright, at, rows, sums)
        around, usual = _without_brightest(sums)
        if not _fits(around, usual):
            look_around(i, j, work, ring, position, weight, rate, bright, sums)
        counts[p], means[p] = _total(sums, 0), _total(sums, 1)
    variance = math.inf
    for _ in range(4):
        excess = squares = noise = 0.0
        for p in range(n):
            mean = means[p]
            deviation = counts[p] - mean
            if math.isfinite(variance):
                limit = _OUTLIER**2 * (mean + variance * mean * mean) + 1.0
                if deviation * deviation > limit:
                    continue
            excess += deviation * deviation - mean
            squares += mean * mean
            noise += mean + 2.0 * mean * mean
        variance = max(0.0, (excess - math.sqrt(noise)) / squares) if squares > 0 else 0.0
    return variance


@njit(cache=True, nogil=True)
def _expect(first, parts, rate, sums):
    """Write what is expected around a control point if all its pixels are read and none bright."""
    sums[:] = 0.0
    for r in range(min(parts.shape[1], rate.size - first)):
        for s in range(N_OCTANTS):
            sums[s, 1] += parts[s, r] * rate[first + r]
    for s in range(N_OCTANTS):
        sums[s, 3] = sums[s, 1]


@njit(cache=True, nogil=True)
def _enter_counts(i, j, work, ring, position, weight, rate, bright, at, rows, sums):
    """Make the sums of `_expect` those of `neighbourhood` at scale 1.

    Nearly all pixels are read and not bright, so that nothing is expected of them one by one.
    """
    n_fs, columns = work.shape[1], np.empty(2 * OUTER + 1, np.int64)
    left, right = max(0, j - OUTER), min(n_fs, j + OUTER + 1)
    for k in range(max(0, i - OUTER), min(work.shape[0], i + OUTER + 1)):
        n_entered = 0
        if rows.size:
            p = first_from(at, rows[k], rows[k + 1], k * n_fs + left)
            while p < rows[k + 1] and at[p] < k * n_fs + right:
                columns[n_entered] = at[p] - k * n_fs
                n_entered, p = n_entered + 1, p + 1
        else:
            for m in range(left, right):
                columns[n_entered] = m
                n_entered += int((work[k, m] != 0) & (ring[k, m] >= 0))
        for c in range(n_entered):
            m = columns[c]
            if abs(k - i) <= INNER and abs(m - j) <= INNER:
                continue
            n, s, top = work[k, m], _octant(k - i, m - j), bright[ring[k, m]]
            if n < 0 or n >= top:
                mean = expected(k, m, position, weight, rate)
                sums[s, 1] -= mean
                if n < 0:
                    sums[s, 3] -= mean
                    continue
            else:
                sums[s, 0] += n
            sums[s, 2] += min(n, top)
    for s in range(N_OCTANTS):
        # Of a place of which nothing is read rounding may leave less than 0.
        sums[s, 1], sums[s, 3] = max(sums[s, 1], 0.0), max(sums[s, 3], 0.0)


@njit(cache=True, nogil=True)
def as_usual(out):
    """Describe a background exactly as its ring says; `out` as for `local_background`."""
    out[0], out[1], out[2], out[3], out[4] = 1.0, _MAX_SHAPE, 1.0, _MAX_SHAPE, -math.inf


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
        prior, counts = 1.0 / variance, _total(sums, 0)
        out[0], out[1] = (prior + counts) / (prior + _total(sums, 1)), prior + counts
    counts, mean = _without_brightest(sums)
    if counts <= out[0] * mean or mean <= 0.0:
        return
    usual_shape = 1.0 / variance if variance > 0.0 else _MAX_SHAPE
    odds = log_mass(int(counts), mean, _ODD_SHAPE) - log_mass(int(counts), mean, usual_shape)
    out[2] = (_ODD_SHAPE + counts) / (_ODD_SHAPE + mean)
    out[3] = _ODD_SHAPE + counts
    out[4] = _ODD_PLACES + odds


@njit(cache=True, nogil=True)
def _without_brightest(sums):
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
def _total(sums, column):
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


def control_points(mask: NDArray[np.bool_], n_wanted: int = 250) -> NDArray[np.int32]:
    """Spread control points evenly over the unmasked part of a frame.

    Parameters
    ----------
    mask : ndarray of bool, shape (ss, fs)
        True where a pixel is ignored.
    n_wanted : int
        About how many points to place.

    Returns
    -------
    ndarray of int32, shape (n, 2)
        (ss, fs) of the points.
    """
    n_good = int((~mask).sum())
    if n_good == 0:
        return np.zeros((0, 2), np.int32)
    step = max(2 * OUTER + 1, int(math.sqrt(n_good / n_wanted)))
    rows, columns = np.mgrid[step // 2 : mask.shape[0] : step, step // 2 : mask.shape[1] : step]
    points = np.stack([rows.ravel(), columns.ravel()], axis=1)
    return points[~mask[points[:, 0], points[:, 1]]].astype(np.int32)


def _patches(points: NDArray[np.int32], values: NDArray) -> NDArray:
    """Cut the neighbourhoods of points out of a map, 0 outside the frame, shape (n, side, side)."""
    padded = np.pad(values, OUTER)
    steps = np.arange(2 * OUTER + 1)
    return padded[points[:, 0, None, None] + steps[:, None], points[:, 1, None, None] + steps]

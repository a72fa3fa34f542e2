"""How the background near a candidate differs from its ring's average.

Real frames are never quite azimuthal: solvent and air scatter, shadows and panels add texture.
The texture's variance is measured on each frame at control points; around a candidate the ring's
rate is then corrected by the counts nearby, as far as these counts can be trusted (a gamma prior
whose variance is the texture's; the posterior mean and shape follow from conjugacy: Gelman et
al., Bayesian Data Analysis, 3rd ed., section 2.6). On a frame without texture the correction
vanishes and the test is the plain Poisson one.
"""

from __future__ import annotations

import math

import numpy as np
from numba import njit
from numpy.typing import NDArray

from hitfinder.inference.poisson import critical_count

OUTER = 9
INNER = 4
"""The neighbourhood: pixels at most OUTER and more than INNER rows or columns away."""

_MAX_SHAPE = 1e12
_OUTLIER = 3.5


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
def neighbourhood(i, j, work, ring, position, weight, rate, bright):
    """Counts and expected background around pixel (i, j), bright pixels left out.

    Parameters
    ----------
    i, j : int
        Row and column.
    work : ndarray of int32, shape (ss, fs)
        Counts, negative where there is no reading.
    ring : ndarray of int16, shape (ss, fs)
        Ring of each pixel, -1 where masked.
    position, weight : ndarray of float32, shape (ss, fs)
        Radial position and relative brightness of each pixel.
    rate : ndarray of float64, shape (n_rings,)
        Background at weight 1.
    bright : ndarray of int32, shape (n_rings,)
        Counts at and above which a pixel is left out.

    Returns
    -------
    counts, mean : float
        Sums over the neighbourhood.
    """
    counts = mean = 0.0
    n_ss, n_fs = work.shape
    for k in range(max(0, i - OUTER), min(n_ss, i + OUTER + 1)):
        for m in range(max(0, j - OUTER), min(n_fs, j + OUTER + 1)):
            if abs(k - i) <= INNER and abs(m - j) <= INNER:
                continue
            n = work[k, m]
            if n < 0 or n >= bright[ring[k, m]]:
                continue
            counts += n
            mean += expected(k, m, position, weight, rate)
    return counts, mean


@njit(cache=True, nogil=True)
def texture_variance(points, work, ring, position, weight, rate, bright, counts, means):
    """Relative variance of the local background about its ring's average.

    The excess of the counts' variance over Poisson's, by moments, at control points; points that
    deviate too far for the variance found are left out and the estimate is repeated. It must
    exceed its own standard error to count.

    Parameters
    ----------
    points : ndarray of int32, shape (n, 2)
        Control points (ss, fs).
    work, ring, position, weight, rate, bright
        As for `neighbourhood`.
    counts, means : ndarray of float64, shape (n,)
        Room to work in.

    Returns
    -------
    float
        Variance of the ratio of local to ring background; 0 for none.
    """
    n = points.shape[0]
    for p in range(n):
        i, j = points[p]
        counts[p], means[p] = neighbourhood(i, j, work, ring, position, weight, rate, bright)
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


@njit(cache=True, nogil=True, inline="always")
def local_rate(counts, mean, variance):
    """Posterior of the local correction factor.

    Parameters
    ----------
    counts, mean : float
        From `neighbourhood`.
    variance : float
        From `texture_variance`.

    Returns
    -------
    factor, shape : float
        Mean and gamma shape of the factor on the ring's rate.
    """
    if variance <= 0.0:
        return 1.0, _MAX_SHAPE
    prior = 1.0 / variance
    return (prior + counts) / (prior + mean), prior + counts


@njit(cache=True, nogil=True)
def pixel_thresholds(means, log_p, out):
    """Counts of a single pixel at and above which chance is less likely than exp(`log_p`).

    Parameters
    ----------
    means : ndarray of float64, shape (n_rings,)
        Expected background per pixel.
    log_p : float
        Natural logarithm of the chance probability.
    out : ndarray of int32, shape (n_rings,)
        Written.
    """
    for r in range(means.size):
        out[r] = critical_count(means[r], log_p)


def control_points(mask: NDArray[np.bool_], n_wanted: int = 900) -> NDArray[np.int32]:
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

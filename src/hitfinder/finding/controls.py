"""How far the background of a frame is from that of its rings, measured at control points."""

from __future__ import annotations

import dataclasses
import math

import numpy as np
from numba import njit
from numpy.typing import NDArray

from hitfinder.finding.lit import first_from, least_between
from hitfinder.finding.rings import Rings
from hitfinder.finding.texture import (
    INNER,
    N_OCTANTS,
    OUTER,
    expected,
    fits,
    look_around,
    octant_of,
    total_of,
    without_brightest,
)

_OUTLIER = 3.5


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
        octant = np.array([[octant_of.py_func(dk, dm) for dm in steps] for dk in steps])
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
        start = min(first[p], bright.size - 1)
        plain = least_between(bright, start, min(start + parts.shape[2], bright.size))
        _enter_counts(i, j, plain, work, ring, position, weight, rate, bright, at, rows, sums)
        around, usual = without_brightest(sums)
        if not fits(around, usual):
            look_around(i, j, work, ring, position, weight, rate, bright, sums)
        counts[p], means[p] = total_of(sums, 0), total_of(sums, 1)
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
def _enter_counts(i, j, plain, work, ring, position, weight, rate, bright, at, rows, sums):
    """Make the sums of `_expect` those of `neighbourhood` at scale 1.

    Nearly all pixels are read and not bright, so that nothing is expected of them one by one; no
    pixel of fewer counts than `plain` is bright.
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
            low, high = _extremes(work[k, left:right])
            if low >= 0 and high < plain:
                _enter_row(work[k], k - i, j, left, right, sums)
                continue
            for m in range(left, right):
                columns[n_entered] = m
                n_entered += int((work[k, m] != 0) & (ring[k, m] >= 0))
        for c in range(n_entered):
            m = columns[c]
            if abs(k - i) <= INNER and abs(m - j) <= INNER:
                continue
            n, s, top = work[k, m], octant_of(k - i, m - j), bright[ring[k, m]]
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
def _extremes(counts):
    """Return the least and the most of some counts; on its own, so that it is vectorised."""
    low = high = counts[0]
    for m in range(counts.size):
        low, high = min(low, counts[m]), max(high, counts[m])
    return low, high


@njit(cache=True, nogil=True)
def _enter_row(counts, dk, j, left, right, sums):
    """Enter a row, dk below pixel (i, j), all of whose pixels are read and none bright."""
    # Octants on either side, and those above or below the middle, which lie between these.
    far = max(abs(dk), INNER + 1)
    _enter_piece(counts[left : max(j - far + 1, left)], sums[octant_of(dk, -far)])
    _enter_piece(counts[j + far : right], sums[octant_of(dk, far)])
    if abs(dk) > INNER:
        _enter_piece(counts[max(j - far + 1, left) : j + 1], sums[octant_of(dk, 0)])
        _enter_piece(counts[j + 1 : min(j + far, right)], sums[octant_of(dk, 1)])


@njit(cache=True, nogil=True)
def _enter_piece(counts, octant):
    """Add a part of a row to the counts of its octant, with and without bright pixels."""
    photons = 0
    for m in range(counts.size):
        photons += counts[m]
    octant[0] += photons
    octant[2] += photons


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

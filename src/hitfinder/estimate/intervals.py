"""Mean, covariance and 68 % intervals from the nodes of a posterior.

The intervals are those of the likelihood alone: energies, and camera lengths, at which the best
value of the other one comes within ½ of the largest log L (the likelihood ratio of Wilks, Ann.
Math. Stat. 9, 60 (1938); Pawitan, In All Likelihood (2001), sections 2.6 and 3.4). They hold the
truth as often wherever it lies. Intervals about the posterior's mean hold it as often on average
over the range of what is possible only, and where photons are few never near that range's ends.
"""

from __future__ import annotations

import math

import numba
import numpy as np
from numpy.typing import NDArray

_PARTS = 24
_LEAST = 1e-9
_LOG_E, _TOP, _RIDGE, _PEAK, _BEND = range(5)


def moments(nodes: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return mean and covariance of (E, D) over nodes of a posterior, in eV and m.

    Parameters
    ----------
    nodes : ndarray, shape (n, 4)
        ln E, ln D, log L and weight.
    """
    weights = np.exp(nodes[:, 2] - nodes[:, 2].max()) * nodes[:, 3]
    weights /= weights.sum()
    points = np.exp(nodes[:, :2])
    mean = weights @ points
    away = points - mean
    return mean, (weights[:, None] * away).T @ away


def likelihood_intervals(
    nodes: NDArray[np.float64], box: NDArray[np.float64], excess: float = 1.0
) -> NDArray[np.float64]:
    """Return the ends of the 68 % intervals of energy and camera length.

    Parameters
    ----------
    nodes : ndarray, shape (n, 4)
        ln E, ln D, log L and weight; those of one energy are next to one another and in order.
    box : ndarray, shape (2, 2)
        Limits of ln E and ln D, where an interval ends that has not ended before.
    excess : float
        Variance of the counts over Poisson's.

    Returns
    -------
    ndarray, shape (2, 2)
        ln E and ln D, lower and upper end.
    """
    slices = _slices(nodes, box[1])
    slices = slices[np.argsort(slices[:, _LOG_E], kind="stable")]
    out = np.empty((2, 2))
    _region(slices, _signed_roots(slices), 0.5 * excess, box, out)
    return out


@numba.njit(cache=True, nogil=True)
def _slices(nodes, limits):  # type: ignore[no-untyped-def]
    """Return ln E, largest log L within the limits, and a parabola over ln D for each energy.

    The parabola's middle, which may lie outside the limits, its height there, and its bend.
    """
    out = np.empty((nodes.shape[0], 5))
    n, first = 0, np.int64(0)
    while first < nodes.shape[0]:
        end, best = first + 1, first
        while end < nodes.shape[0] and nodes[end, 0] == nodes[first, 0]:
            if nodes[end, 2] > nodes[best, 2]:
                best = end
            end += 1
        middle, top, bend = _parabola(nodes, first, end, best)
        inside = min(max(middle, limits[0]), limits[1])
        out[n, 0], out[n, 1] = nodes[first, 0], top - 0.5 * bend * (middle - inside) ** 2
        out[n, 2], out[n, 3], out[n, 4] = middle, top, bend
        n, first = n + 1, end
    return out[:n]


@numba.njit(cache=True, nogil=True)
def _parabola(nodes, first, end, best):  # type: ignore[no-untyped-def]
    """Return middle, height and bend of log L over ln D about the best node of a slice."""
    top = nodes[best, 2]
    if end - first >= 3:
        at = min(max(best, first + 1), end - 2)
        move, gain, bend = _vertex(nodes[at - 1 : at + 2, 1], nodes[at - 1 : at + 2, 2])
        if bend > 0.0:
            return nodes[at, 1] + move, nodes[at, 2] + gain, bend
    # The largest value is at an end, and log L bends upwards there: as far as it falls by ½.
    bend = _LEAST
    for side in (-1, 1):
        other = best + side
        while first <= other < end:
            fall = top - nodes[other, 2]
            bend = max(bend, 2.0 * fall / (nodes[other, 1] - nodes[best, 1]) ** 2)
            if fall > 0.5:
                break
            other += side
    return nodes[best, 1], top, bend


@numba.njit(cache=True, nogil=True, inline="always")
def _vertex(x, y):  # type: ignore[no-untyped-def]
    """Return how far and how much higher than the middle one of three points a parabola's top is.

    And its bend, which is positive where it has a top.
    """
    left, right = x[1] - x[0], x[2] - x[1]
    rises, falls = (y[1] - y[0]) / left, (y[1] - y[2]) / right
    bend = 2.0 * (rises + falls) / (left + right)
    slope = (rises * right - falls * left) / (left + right)
    if bend <= 0.0:
        return 0.0, 0.0, bend
    return slope / bend, 0.5 * slope**2 / bend, bend


@numba.njit(cache=True, nogil=True)
def _signed_roots(slices):  # type: ignore[no-untyped-def]
    """Return √(2 (max - log L)) of the slices, negative below the maximum.

    It is nearly linear in ln E, as log L is nearly a parabola, and can be interpolated.
    """
    n = slices.shape[0]
    best = 0
    for i in range(n):
        if slices[i, _TOP] > slices[best, _TOP]:
            best = i
    top, at = slices[best, _TOP], slices[best, _LOG_E]
    if 0 < best < n - 1:
        near = slices[best - 1 : best + 2]
        move, gain, _ = _vertex(near[:, _LOG_E], near[:, _TOP])
        top, at = top + gain, at + move
    out = np.empty(n)
    for i in range(n):
        root = math.sqrt(2.0 * max(top - slices[i, _TOP], 0.0))
        out[i] = -root if slices[i, _LOG_E] < at else root
    return out


@numba.njit(cache=True, nogil=True)
def _region(slices, roots, drop, box, out):  # type: ignore[no-untyped-def]
    """Write the ends in ln E and ln D of the region where log L is within `drop` of its maximum."""
    n, reach = slices.shape[0], math.sqrt(2.0 * drop)
    out[0, 0] = out[1, 0] = np.inf
    out[0, 1] = out[1, 1] = -np.inf
    for i in range(n):
        for part in range(_PARTS if i < n - 1 else 1):
            # From slice to slice everything is taken as linear.
            j, t = min(i + 1, n - 1), part / _PARTS
            root = roots[i] + t * (roots[j] - roots[i])
            if abs(root) > reach:
                continue
            v = slices[i, _LOG_E] + t * (slices[j, _LOG_E] - slices[i, _LOG_E])
            middle = slices[i, _RIDGE] + t * (slices[j, _RIDGE] - slices[i, _RIDGE])
            bend = slices[i, _BEND] + t * (slices[j, _BEND] - slices[i, _BEND])
            over = slices[i, _PEAK] - slices[i, _TOP]
            over += t * (slices[j, _PEAK] - slices[j, _TOP] - over)
            out[0, 0], out[0, 1] = min(out[0, 0], v), max(out[0, 1], v)
            half = math.sqrt((reach**2 - root**2 + 2.0 * over) / bend)
            out[1, 0], out[1, 1] = min(out[1, 0], middle - half), max(out[1, 1], middle + half)
    for i in range(n - 1):
        for side in (-1, 1):
            if (roots[i] - side * reach) * (roots[i + 1] - side * reach) < 0.0:
                t = (side * reach - roots[i]) / (roots[i + 1] - roots[i])
                v = slices[i, _LOG_E] + t * (slices[i + 1, _LOG_E] - slices[i, _LOG_E])
                out[0, 0], out[0, 1] = min(out[0, 0], v), max(out[0, 1], v)
    if abs(roots[0]) <= reach:
        out[0, 0] = box[0, 0]
    if abs(roots[n - 1]) <= reach:
        out[0, 1] = box[0, 1]
    for k in range(2):
        out[k, 0] = min(max(out[k, 0], box[k, 0]), box[k, 1])
        out[k, 1] = max(min(out[k, 1], box[k, 1]), box[k, 0])

"""The search for a crystal's orientation in compiled loops.

Scattering vectors are in Å⁻¹, without the factor 2π. A rotation turns the crystal as its cell is
given into the crystal as it was in the beam. ``spread`` is how far from lattice points peaks lie,
four numbers: standard deviation across the scattering vector, and along it, each a constant (Å⁻¹)
and a part of the vector's length.
"""

from __future__ import annotations

import math

import numba
import numpy as np
from numpy.typing import NDArray

from hitfinder.indexing.rotation import fill_rotation

Floats = NDArray[np.float64]

_FAR = 12.0
_LEAST_ANGLE = 0.1
_IN_A_ROW = 0.9999


@numba.njit(cache=True, nogil=True)
def fit(
    turn: Floats, q: Floats, reciprocal: Floats, inverse: Floats, spread: Floats, gain: Floats
) -> None:
    """Say how much better each vector fits a lattice point than chance does.

    Parameters
    ----------
    turn : ndarray, shape (3, 3)
        Rotation.
    q : ndarray, shape (n, 3)
        Scattering vectors of the peaks.
    reciprocal, inverse : ndarray, shape (3, 3)
        Reciprocal axes as columns, and the inverse of that matrix.
    spread : ndarray, shape (4,)
        See the module.
    gain : ndarray, shape (n,)
        Receives the density of a normal distribution around the nearest lattice point over the
        even one of chance; 0 far from it.
    """
    volume = abs(
        reciprocal[0, 0]
        * (reciprocal[1, 1] * reciprocal[2, 2] - reciprocal[1, 2] * reciprocal[2, 1])
        - reciprocal[0, 1]
        * (reciprocal[1, 0] * reciprocal[2, 2] - reciprocal[1, 2] * reciprocal[2, 0])
        + reciprocal[0, 2]
        * (reciprocal[1, 0] * reciprocal[2, 1] - reciprocal[1, 1] * reciprocal[2, 0])
    )
    for k in range(q.shape[0]):
        x = turn[0, 0] * q[k, 0] + turn[1, 0] * q[k, 1] + turn[2, 0] * q[k, 2]
        y = turn[0, 1] * q[k, 0] + turn[1, 1] * q[k, 1] + turn[2, 1] * q[k, 2]
        z = turn[0, 2] * q[k, 0] + turn[1, 2] * q[k, 1] + turn[2, 2] * q[k, 2]
        h = inverse[0, 0] * x + inverse[0, 1] * y + inverse[0, 2] * z
        i = inverse[1, 0] * x + inverse[1, 1] * y + inverse[1, 2] * z
        j = inverse[2, 0] * x + inverse[2, 1] * y + inverse[2, 2] * z
        h, i, j = h - np.rint(h), i - np.rint(i), j - np.rint(j)
        off_x = reciprocal[0, 0] * h + reciprocal[0, 1] * i + reciprocal[0, 2] * j
        off_y = reciprocal[1, 0] * h + reciprocal[1, 1] * i + reciprocal[1, 2] * j
        off_z = reciprocal[2, 0] * h + reciprocal[2, 1] * i + reciprocal[2, 2] * j
        length = math.sqrt(x * x + y * y + z * z)
        along = (off_x * x + off_y * y + off_z * z) / length
        across = off_x * off_x + off_y * off_y + off_z * off_z - along * along
        sigma_across = spread[0] + spread[1] * length
        sigma_along = spread[2] + spread[3] * length
        half = 0.5 * (across / sigma_across**2 + (along / sigma_along) ** 2)
        gain[k] = 0.0
        if half < _FAR:
            norm = (2 * math.pi) ** 1.5 * sigma_across * sigma_across * sigma_along
            gain[k] = volume / norm * math.exp(-half)


@numba.njit(cache=True, nogil=True)
def log_likelihood(gain: Floats, odds: Floats) -> float:
    """Log of the likelihood of an orientation over that of one which no peak belongs to.

    Parameters
    ----------
    gain : ndarray, shape (n,)
        From `fit`.
    odds : ndarray, shape (n,)
        Of each peak to be a Bragg peak of this crystal, orientation apart.
    """
    total = 0.0
    for k in range(gain.size):
        if gain[k] > 0:
            total += math.log(1 + odds[k] * gain[k])
    return total


@numba.njit(cache=True, nogil=True)
def search(
    seeds: Floats,
    q: Floats,
    odds: Floats,
    pairs: NDArray[np.int64],
    first: NDArray[np.int64],
    last: NDArray[np.int64],
    points: Floats,
    lengths: Floats,
    is_unique: NDArray[np.bool_],
    reciprocal: Floats,
    inverse: Floats,
    spread: Floats,
    most: int,
    enough: float,
    best: Floats,
    turns: Floats,
) -> int:
    """Try the orientations that bring two seeds onto lattice points, and keep the best.

    Parameters
    ----------
    seeds : ndarray, shape (n_seeds, 3)
        Scattering vectors to lay on lattice points.
    q, odds, reciprocal, inverse, spread
        As for `fit` and `log_likelihood`.
    pairs : ndarray of int, shape (n_pairs, 2)
        Seeds to take together, the best pairs first.
    first, last : ndarray of int, shape (n_seeds,)
        Range of the lattice points that are as long as each seed.
    points, lengths : ndarray, shape (n_points, 3) and (n_points,)
        Lattice points by length.
    is_unique : ndarray of bool, shape (n_points,)
        Whether a point is the one to try of those that the lattice's rotations map on each other.
    most : int
        Orientations to try.
    enough : float
        Log likelihood at which to stop.
    best, turns : ndarray, shape (n_kept,) and (n_kept, 3, 3)
        Receive the log likelihoods and rotations that are kept; -inf where there are fewer.

    Returns
    -------
    int
        Orientations tried.
    """
    best[:] = -np.inf
    gain = np.empty(q.shape[0])
    turn = np.empty((3, 3))
    worst, n_tried = 0, 0
    for m in range(pairs.shape[0]):
        i, j = pairs[m, 0], pairs[m, 1]
        c, d = seeds[i], seeds[j]
        one, other = math.sqrt(_product(c, c)), math.sqrt(_product(d, d))
        between = math.acos(min(1.0, max(-1.0, _product(c, d) / (one * other))))
        if between < _LEAST_ANGLE or between > math.pi - _LEAST_ANGLE:
            continue
        reach = 2 * spread[1] + spread[0] * (1 / one + 1 / other)
        low = math.cos(min(math.pi, between + reach))
        high = math.cos(max(0.0, between - reach))
        for a in range(first[i], last[i]):
            if not is_unique[a]:
                continue
            for b in range(first[j], last[j]):
                inner = _product(points[a], points[b]) / (lengths[a] * lengths[b])
                if inner < low or inner > high or abs(inner) > _IN_A_ROW:
                    continue
                _turn_onto(points[a], points[b], c, d, turn)
                fit(turn, q, reciprocal, inverse, spread, gain)
                value = log_likelihood(gain, odds)
                n_tried += 1
                if value > best[worst]:
                    best[worst] = value
                    for row in range(3):
                        for column in range(3):
                            turns[worst, row, column] = turn[row, column]
                    for k in range(best.size):
                        worst = k if best[k] < best[worst] else worst
                if value > enough or n_tried >= most:
                    return n_tried
    return n_tried


@numba.njit(cache=True, nogil=True)
def _turn_onto(a: Floats, b: Floats, c: Floats, d: Floats, turn: Floats) -> None:
    """Fill in the rotation of a onto the direction of c, and of b into the plane of c and d.

    H. D. Black, AIAA Journal 2, 1350 (1964).
    """
    before, after = np.empty((3, 3)), np.empty((3, 3))
    _fill_axes(a, b, before)
    _fill_axes(c, d, after)
    for i in range(3):
        for j in range(3):
            turn[i, j] = (
                after[0, i] * before[0, j] + after[1, i] * before[1, j] + after[2, i] * before[2, j]
            )


@numba.njit(cache=True, nogil=True)
def _fill_axes(one: Floats, other: Floats, axes: Floats) -> None:
    """Fill in, as rows: the direction of a vector, that across it and another, and the third."""
    length = math.sqrt(_product(one, one))
    for k in range(3):
        axes[0, k] = one[k] / length
    _fill_cross(axes[0], other, axes[1])
    length = math.sqrt(_product(axes[1], axes[1]))
    for k in range(3):
        axes[1, k] /= length
    _fill_cross(axes[0], axes[1], axes[2])


@numba.njit(cache=True, nogil=True)
def _fill_cross(one: Floats, other: Floats, out: Floats) -> None:
    """Fill in the vector product."""
    out[0] = one[1] * other[2] - one[2] * other[1]
    out[1] = one[2] * other[0] - one[0] * other[2]
    out[2] = one[0] * other[1] - one[1] * other[0]


@numba.njit(cache=True, nogil=True)
def _product(one: Floats, other: Floats) -> float:
    """Return the scalar product of two vectors."""
    return one[0] * other[0] + one[1] * other[1] + one[2] * other[2]


@numba.njit(cache=True, nogil=True)
def refine(
    turn: Floats,
    q: Floats,
    odds: Floats,
    reciprocal: Floats,
    inverse: Floats,
    spread: Floats,
    rounds: int,
) -> Floats:
    """Turn a crystal so that peaks come nearer to their lattice points.

    Expectation and maximisation: each peak counts for as much as it belongs to its lattice point;
    the best rotation between two sets of directions is that of `hitfinder.indexing.rotation`.

    Returns
    -------
    ndarray, shape (3, 3)
    """
    gain, moment = np.empty(q.shape[0]), np.empty((3, 3))
    for _ in range(rounds):
        fit(turn, q, reciprocal, inverse, spread, gain)
        if _fill_moment(turn, q, odds, gain, reciprocal, inverse, spread, moment) < 1.5:
            break
        turn = np.empty((3, 3))
        fill_rotation(moment, turn)
    return turn


@numba.njit(cache=True, nogil=True)
def _fill_moment(
    turn: Floats,
    q: Floats,
    odds: Floats,
    gain: Floats,
    reciprocal: Floats,
    inverse: Floats,
    spread: Floats,
    moment: Floats,
) -> float:
    """Sum the products of the directions of peaks and of their lattice points; see `refine`.

    Returns
    -------
    float
        Peaks that belong to their lattice points.
    """
    moment[:] = 0.0
    total, back, hkl, point = 0.0, np.empty(3), np.empty(3), np.empty(3)
    for k in range(q.shape[0]):
        belongs = odds[k] * gain[k]
        belongs /= 1 + belongs
        if belongs < 1e-3:
            continue
        for i in range(3):
            back[i] = turn[0, i] * q[k, 0] + turn[1, i] * q[k, 1] + turn[2, i] * q[k, 2]
        for i in range(3):
            hkl[i] = np.rint(_product(inverse[i], back))
        for i in range(3):
            point[i] = _product(reciprocal[i], hkl)
        length, lattice = math.sqrt(_product(q[k], q[k])), math.sqrt(_product(point, point))
        if lattice == 0:
            continue
        weight = belongs * (length / (spread[0] + spread[1] * length)) ** 2 / (length * lattice)
        for i in range(3):
            for j in range(3):
                moment[i, j] += weight * q[k, i] * point[j]
        total += belongs
    return total

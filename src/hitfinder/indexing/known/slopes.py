"""Compiled: how the likelihood of a frame changes as the crystal turns."""

from __future__ import annotations

import math

import numba
import numpy as np

from hitfinder.indexing.known.band import LEAST_SHARE, excited
from hitfinder.indexing.known.predict import FS, PHOTONS, ROW, SIDE, SS, fill_shares, on_frame

_STEP = 1e-5
"""Rotation by which slopes are taken, in rad."""


@numba.njit(cache=True, nogil=True)
def derivatives(  # type: ignore[no-untyped-def]
    turn, found, n, scale, counts, background, reflections, detector, nodes, weights, gradient,
    information, spread, blur, off_px,
):  # fmt: skip
    """Fill in gradient, Fisher's information and spread; return the log likelihood ratio.

    Parameters
    ----------
    turn : ndarray, shape (3, 3)
        Rotation of the crystal.
    found, n
        Predicted reflections and their number, from `hitfinder.indexing.known.predict.predict`.
    scale : float
        Bragg photons of a frame, on average over orientations.
    counts, background : ndarray, shape of a frame
        As for `hitfinder.indexing.known.predict.footprint_ratio`.
    reflections, detector : tuple
        As for `hitfinder.indexing.known.predict.predict`.
    nodes, weights : ndarray, shape (k,)
        Of `hitfinder.indexing.known.expected.ExpectedReflections`.
    gradient : ndarray, shape (3,)
        Receives the slope by a further small rotation about x, y and z of the laboratory, in rad.
    information, spread : ndarray, shape (3, 3)
        Receive Fisher's information, and the variance that the gradient has.
    blur, off_px : float
        Standard deviation of a round footprint, and of what is not known of its place, in pixels.
    """
    vectors, _, _, _, shell = reflections
    lookup, inverse, extent = detector
    n_ss, n_fs = counts.shape
    gradient[:] = 0.0
    information[:] = 0.0
    spread[:] = 0.0
    own = np.empty((3, 3))
    total = 0.0
    across, down = np.empty(SIDE), np.empty(SIDE)
    d_across, d_down = np.empty(SIDE), np.empty(SIDE)
    moved = np.empty((3, 3))
    parts = np.empty(len(nodes))
    for j in range(n):
        if not _moves(turn, vectors[int(found[j, ROW])], shell, lookup, inverse, extent, moved):
            continue
        fs, ss = found[j, FS], found[j, SS]
        column, row = int(fs), int(ss)
        _shares_and_slopes(fs - column, blur, across, d_across)
        _shares_and_slopes(ss - row, blur, down, d_down)
        photons = scale * found[j, PHOTONS]
        total += _node_weights(
            photons, column, row, across, down, counts, background, nodes, weights, parts
        )
        own[:] = 0.0
        sharpness = 0.0
        for q in range(len(nodes)):
            s = photons * nodes[q]
            if parts[q] < 1e-6:
                continue
            for y in range(SIDE):
                for x in range(SIDE):
                    at_y, at_x = row + y - 1, column + x - 1
                    if at_y < 0 or at_x < 0 or at_y >= n_ss or at_x >= n_fs:
                        continue
                    c, b = counts[at_y, at_x], background[at_y, at_x]
                    if c < 0 or b <= 0.0:
                        continue
                    v = b + s * across[x] * down[y]
                    # A ray in a pixel pulls no more than chance makes of the expected photons.
                    number = min(float(c), v + 5.0 * math.sqrt(v) + 3.0)
                    by_fs, by_ss = s * d_across[x] * down[y], s * across[x] * d_down[y]
                    own_photons = s * across[x] * down[y]
                    sharpness += 0.5 * parts[q] * (by_fs * by_fs + by_ss * by_ss) / v
                    for a in range(3):
                        slope = by_fs * moved[a, 0] + by_ss * moved[a, 1]
                        slope += own_photons * moved[a, 2]
                        gradient[a] += parts[q] * (number / v - 1.0) * slope
                        for e in range(3):
                            other = by_fs * moved[e, 0] + by_ss * moved[e, 1]
                            other += own_photons * moved[e, 2]
                            own[a, e] += parts[q] * slope * other / v
        information += own
        spread += own * (1.0 + off_px * off_px * sharpness)
    return total


@numba.njit(cache=True, nogil=True)
def _moves(turn, g, shell, lookup, inverse, extent, moved):  # type: ignore[no-untyped-def]
    """Fill in how far a spot moves (fs, ss) for each rad about x, y and z; say if it can be.

    The third column is by how much the logarithm of its photons changes.
    """
    gx = turn[0, 0] * g[0] + turn[0, 1] * g[1] + turn[0, 2] * g[2]
    gy = turn[1, 0] * g[0] + turn[1, 1] * g[1] + turn[1, 2] * g[2]
    gz = turn[2, 0] * g[0] + turn[2, 1] * g[1] + turn[2, 2] * g[2]
    squared = gx * gx + gy * gy + gz * gz
    for a in range(3):
        dx, dy, dz = 0.0, -gz, gy
        if a == 1:
            dx, dy, dz = gz, 0.0, -gx
        elif a == 2:
            dx, dy, dz = -gy, gx, 0.0
        moved[a] = 0.0
        for sign in (-1.0, 1.0):
            x, y, z = gx + sign * _STEP * dx, gy + sign * _STEP * dy, gz + sign * _STEP * dz
            share, x, y, z = excited(x, y, z, shell)
            fs, ss = on_frame(x, y, z - squared / (2.0 * z), lookup, inverse, extent)
            if fs < 0.0:
                return False
            moved[a, 0] += sign * fs / (2.0 * _STEP)
            moved[a, 1] += sign * ss / (2.0 * _STEP)
            moved[a, 2] += sign * math.log(max(share, LEAST_SHARE)) / (2.0 * _STEP)
    return bool(np.abs(moved[:, :2]).max() * _STEP < 1.0)


@numba.njit(cache=True, nogil=True)
def _shares_and_slopes(place, blur, share, slope):  # type: ignore[no-untyped-def]
    """Share of a spot at `place` (0 to 1 in the middle pixel) of three pixels each, and slope."""
    fill_shares(place, blur, share)
    for k in range(SIDE):
        low, high = (k - 1.0 - place) / blur, (k - place) / blur
        slope[k] = math.exp(-0.5 * low * low) - math.exp(-0.5 * high * high)
        slope[k] /= blur * math.sqrt(2.0 * math.pi)


@numba.njit(cache=True, nogil=True)
def _node_weights(  # type: ignore[no-untyped-def]
    photons, column, row, across, down, counts, background, nodes, weights, parts
):
    """Fill in the probability of each intensity of a reflection; return its log ratio."""
    n_ss, n_fs = counts.shape
    for q in range(len(nodes)):
        s, value = photons * nodes[q], math.log(weights[q])
        for y in range(SIDE):
            for x in range(SIDE):
                at_y, at_x = row + y - 1, column + x - 1
                if at_y < 0 or at_x < 0 or at_y >= n_ss or at_x >= n_fs:
                    continue
                c, b = counts[at_y, at_x], background[at_y, at_x]
                if c < 0 or b <= 0.0:
                    continue
                f = across[x] * down[y]
                v = b + s * f
                value += min(float(c), v + 5.0 * math.sqrt(v) + 3.0) * math.log(v / b) - s * f
        parts[q] = value
    most = parts.max()
    total = 0.0
    for q in range(len(nodes)):
        parts[q] = math.exp(parts[q] - most)
        total += parts[q]
    for q in range(len(nodes)):
        parts[q] /= total
    return most + math.log(total)


@numba.njit(cache=True, nogil=True)
def step_towards(gradient, information, farthest, turn):  # type: ignore[no-untyped-def]
    """Return a rotation a step of Fisher's scoring nearer to the likelihood's maximum.

    Parameters
    ----------
    gradient, information : ndarray
        From `derivatives`.
    farthest : float
        How far the maximum is expected to be, and the longest step, in rad.
    turn : ndarray, shape (3, 3)
        The rotation to start from.

    Returns
    -------
    ndarray, shape (3, 3)
    """
    m = information + np.eye(3) / (farthest * farthest)
    cofactors = np.empty((3, 3))
    for i in range(3):
        for j in range(3):
            a, b, c, d = (i + 1) % 3, (i + 2) % 3, (j + 1) % 3, (j + 2) % 3
            cofactors[i, j] = m[a, c] * m[b, d] - m[a, d] * m[b, c]
    determinant = m[0, 0] * cofactors[0, 0] + m[0, 1] * cofactors[0, 1] + m[0, 2] * cofactors[0, 2]
    step = np.empty(3)
    for i in range(3):
        step[i] = 0.0
        for j in range(3):
            step[i] += cofactors[j, i] * gradient[j] / determinant
    length = math.sqrt(step[0] ** 2 + step[1] ** 2 + step[2] ** 2)
    if not 0.0 < length < np.inf:
        return turn.copy()
    x, y, z = step * (min(length, farthest) / length)
    out = np.empty((3, 3))
    turned(turn, x, y, z, out)
    return out


@numba.njit(cache=True, nogil=True)
def turned(turn, x, y, z, out):  # type: ignore[no-untyped-def]
    """Fill in a rotation, turned further by a small vector (rad) in the laboratory."""
    angle = math.sqrt(x * x + y * y + z * z)
    out[:] = turn
    if angle == 0.0:
        return
    cos, sin = math.cos(angle), math.sin(angle)
    x, y, z = x / angle, y / angle, z / angle
    for k in range(3):
        # Rodrigues' formula for each column.
        along = (x * turn[0, k] + y * turn[1, k] + z * turn[2, k]) * (1.0 - cos)
        out[0, k] = turn[0, k] * cos + (y * turn[2, k] - z * turn[1, k]) * sin + x * along
        out[1, k] = turn[1, k] * cos + (z * turn[0, k] - x * turn[2, k]) * sin + y * along
        out[2, k] = turn[2, k] * cos + (x * turn[1, k] - y * turn[0, k]) * sin + z * along

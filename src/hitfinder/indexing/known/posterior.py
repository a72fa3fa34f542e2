"""How surely an orientation is known: the likelihood's maximum in one frame, and its width."""

from __future__ import annotations

import dataclasses
import math

import numba
import numpy as np
from numpy.typing import NDArray
from scipy.spatial.transform import Rotation

from hitfinder.indexing.known.crystal import KnownCrystal
from hitfinder.indexing.known.predict import (
    BLUR_PX,
    FS,
    MOST_PREDICTED,
    N_COLUMNS,
    PHOTONS,
    ROW,
    SIDE,
    SS,
    WIDE_BLUR_PX,
    fill_shares,
    on_frame,
    predict,
)

Floats = NDArray[np.float64]

OFF_PX = 0.3
"""How far spots lie from where they are predicted, for what is not known of their shape."""

_STEP = 1e-5
_ROUNDS = 8
_SHARES_OF_STEP = (1.0, 0.5, 0.2)
_FARTHEST = 0.005
_ENOUGH = 0.01


@dataclasses.dataclass(frozen=True, eq=False)
class Posterior:
    """Orientations that a frame leaves likely, near one of them.

    Attributes
    ----------
    turn : ndarray, shape (3, 3)
        Rotation of the crystal at which the frame is likeliest.
    covariance : ndarray, shape (3, 3)
        Of a further small rotation, as a vector in the laboratory frame, in rad². NaN where the
        frame tells nothing of a direction.
    """

    turn: Floats
    covariance: Floats

    @property
    def sigmas(self) -> Floats:
        """Standard deviations of the rotation about x, y and z of the laboratory, in rad."""
        return np.sqrt(np.diag(self.covariance))


def posterior(
    crystal: KnownCrystal,
    counts: NDArray[np.int32],
    background: NDArray[np.float32],
    turn: Floats,
    photons: float,
) -> Posterior:
    """Find the likeliest orientation near one that was found, and how surely it is known.

    Fisher's scoring: R. A. Fisher, Phil. Trans. R. Soc. A 222, 309 (1922). Which reflections the
    band excites is taken as known.

    Parameters
    ----------
    crystal : KnownCrystal
        The crystal, the detector and the beam.
    counts : ndarray of int32, shape of a frame
        Counts, negative where there is no reading.
    background : ndarray of float32, shape of a frame
        Expected background of each pixel, in photons.
    turn : ndarray, shape (3, 3)
        Rotation of the crystal, to about a pixel.
    photons : float
        Bragg photons of the frame, on average over orientations.
    """
    for blur in (WIDE_BLUR_PX, BLUR_PX):
        slopes = _Slopes(crystal, counts, background, photons, blur)
        found = _climbed(slopes, turn)
        if found is None:
            return Posterior(turn, np.full((3, 3), np.nan))
        turn = found
    return Posterior(turn, _covariance(slopes, turn))


def _climbed(slopes: _Slopes, turn: Floats) -> Floats | None:
    """Return the nearest rotation with the largest likelihood; None if there is no slope."""
    value, gradient, information, _ = slopes.at(turn)
    for _ in range(_ROUNDS):
        step = _solved(information, gradient)
        if step is None:
            return None
        for share in _SHARES_OF_STEP:
            there = Rotation.from_rotvec(share * step).as_matrix() @ turn
            better, *rest = slopes.at(there)
            if better > value:
                break
        else:
            break
        gained, value, turn = better - value, better, there
        gradient, information, _ = rest
        if gained < _ENOUGH:
            break
    return turn


@dataclasses.dataclass(frozen=True, eq=False)
class _Slopes:
    """Gives log likelihood ratio, gradient, Fisher's information and spread of any rotation."""

    crystal: KnownCrystal
    counts: NDArray[np.int32]
    background: NDArray[np.float32]
    photons: float
    blur_px: float

    def at(self, turn: Floats) -> tuple[float, Floats, Floats, Floats]:
        """Return these; the spread is the variance that the gradient has."""
        one = self.crystal
        found = np.empty((MOST_PREDICTED, N_COLUMNS))
        n = predict(turn, one.judging, one.geometry.polarisation, one.detector, found)
        gradient, information, spread = np.empty(3), np.empty((3, 3)), np.empty((3, 3))
        value = _derivatives(turn, found, n, self.photons, self.counts, self.background,
                             one.judging[0], one.detector, one.expected.nodes,
                             one.expected.weights, gradient, information, spread,
                             self.blur_px, OFF_PX)  # fmt: skip
        return value, gradient, information, spread


def _solved(information: Floats, gradient: Floats) -> Floats | None:
    """Return the step to where the gradient vanishes; None if that is not known."""
    try:
        step = np.asarray(np.linalg.solve(information, gradient), np.float64)
    except np.linalg.LinAlgError:
        return None
    length = float(np.linalg.norm(step))
    if not math.isfinite(length):
        return None
    return step * min(1.0, _FARTHEST / length) if length > 0 else step


def _covariance(slopes: _Slopes, turn: Floats) -> Floats:
    """Return the covariance that holds though spots are not quite as they are taken to be.

    It is H⁻¹ J H⁻¹, with the likelihood's curvature H and the gradient's variance J (H. White,
    Econometrica 50, 1, 1982). J is Fisher's information, and more for bright spots, whose photons
    tell their places better than `OFF_PX`.
    """
    _, _, information, spread = slopes.at(turn)
    try:
        inverse = np.linalg.inv(information)
        step = 0.5 * np.sqrt(np.diag(inverse))
        curvature = np.empty((3, 3))
        for axis in range(3):
            move = np.zeros(3)
            move[axis] = step[axis]
            ahead, behind = (
                slopes.at(Rotation.from_rotvec(s * move).as_matrix() @ turn)[1] for s in (1.0, -1.0)
            )
            curvature[axis] = (behind - ahead) / (2 * step[axis])
        curvature = 0.5 * (curvature + curvature.T)
        if np.linalg.eigvalsh(curvature)[0] > 0:
            inverse = np.linalg.inv(curvature)
    except np.linalg.LinAlgError:
        return np.full((3, 3), np.nan)
    return np.asarray(inverse @ spread @ inverse, np.float64)


@numba.njit(cache=True, nogil=True)
def _derivatives(  # type: ignore[no-untyped-def]
    turn, found, n, scale, counts, background, vectors, detector, nodes, weights, gradient,
    information, spread, blur, off_px,
):  # fmt: skip
    """Fill in gradient, Fisher's information and spread; return the log likelihood ratio."""
    lookup, inverse, extent = detector
    n_ss, n_fs = counts.shape
    gradient[:] = 0.0
    information[:] = 0.0
    spread[:] = 0.0
    own = np.empty((3, 3))
    total = 0.0
    across, down = np.empty(SIDE), np.empty(SIDE)
    d_across, d_down = np.empty(SIDE), np.empty(SIDE)
    moved = np.empty((3, 2))
    parts = np.empty(len(nodes))
    for j in range(n):
        if not _moves(turn, vectors[int(found[j, ROW])], lookup, inverse, extent, moved):
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
                    sharpness += 0.5 * parts[q] * (by_fs * by_fs + by_ss * by_ss) / v
                    for a in range(3):
                        slope = by_fs * moved[a, 0] + by_ss * moved[a, 1]
                        gradient[a] += parts[q] * (number / v - 1.0) * slope
                        for e in range(3):
                            other = by_fs * moved[e, 0] + by_ss * moved[e, 1]
                            own[a, e] += parts[q] * slope * other / v
        information += own
        spread += own * (1.0 + off_px * off_px * sharpness)
    return total


@numba.njit(cache=True, nogil=True)
def _moves(turn, g, lookup, inverse, extent, moved):  # type: ignore[no-untyped-def]
    """Fill in how far a spot moves (fs, ss) for each rad about x, y and z; say if it can be."""
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
            fs, ss = on_frame(x, y, z - squared / (2.0 * z), lookup, inverse, extent)
            if fs < 0.0:
                return False
            moved[a, 0] += sign * fs / (2.0 * _STEP)
            moved[a, 1] += sign * ss / (2.0 * _STEP)
    return bool(np.abs(moved).max() * _STEP < 1.0)


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

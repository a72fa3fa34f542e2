"""How surely an orientation is known: the likelihood's maximum in one frame, and its width."""

from __future__ import annotations

import dataclasses
import math

import numpy as np
from numpy.typing import NDArray
from scipy.spatial.transform import Rotation

from hitfinder.indexing.known.crystal import KnownCrystal
from hitfinder.indexing.known.predict import (
    BLUR_PX,
    MOST_PREDICTED,
    N_COLUMNS,
    WIDE_BLUR_PX,
    predict,
)
from hitfinder.indexing.known.slopes import derivatives

Floats = NDArray[np.float64]

OFF_PX = 0.3
"""How far spots lie from where they are predicted, for what is not known of their shape."""

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
        value = derivatives(turn, found, n, self.photons, self.counts, self.background,
                            one.judging, one.detector, one.expected.nodes,
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

"""Find the orientation of a known crystal in one frame, from all its pixels."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterable, Iterator

import numba
import numpy as np
from numpy.typing import NDArray

from hitfinder.crystal.lattice import Lattice
from hitfinder.indexing.known import pixels
from hitfinder.indexing.known.crystal import KnownCrystal
from hitfinder.indexing.known.families import rotation, vote
from hitfinder.indexing.known.judging import grid_steps, judge
from hitfinder.indexing.known.pairs import Pairs, bright_pairs, weakest_crystal
from hitfinder.indexing.known.predict import (
    BLUR_PX,
    MOST_PREDICTED,
    N_COLUMNS,
    SHARP_BLUR_PX,
    footprint_ratio,
    predict,
)
from hitfinder.indexing.known.slopes import derivatives, step_towards

Floats = NDArray[np.float64]

_MOST_HYPOTHESES = 40_000
_JUDGED, _REFINED = 10_000, 200
"""Hypotheses that are judged by the strongest reflections, and the best of them, by all. Of 44 weak
crystals over 2,000 shots that the vote lists, 42 are among the first 10,000 and 37 among the first
5,000; nearly all are among the first 200 then."""

_CLIMBS = (
    ((0.9, 0.7, 0.5), BLUR_PX, 40),
    ((0.7, 0.45, 0.45, 0.3, 0.2, 0.2), SHARP_BLUR_PX, 20),
)
"""Widths of spots in each step towards the likeliest orientation, the sharpest by which it is
judged, and how many of them go on."""

_STEP_PX = 1.8
"""How far spots move at most in a step of a family's angle."""

_FAR_PX = 2.0
"""How far spots are moved at most in a step of the climb."""

_LEAST_VOTES = 3.0
"""Log likelihood ratio of all votes of an angle below which it is not listed: fewer photons than
two are no orientation."""

_SCALES = np.exp([-1.2, -0.6, 0.0, 0.6, 1.2])
"""Strengths of a crystal that are tried in each step, over the best of the step before."""

_SAME_DEG = 0.2


@dataclasses.dataclass(frozen=True, eq=False)
class Hypothesis:
    """An orientation.

    Attributes
    ----------
    turn : ndarray, shape (3, 3)
        Rotation of the crystal.
    log_ratio : float
        Log likelihood ratio of the frame with the crystal so turned to one without a crystal.
    photons : float
        Bragg photons of the frame, on average over orientations, at which it is largest.
    covariance : ndarray, shape (3, 3), optional
        How surely it is known: see `hitfinder.indexing.known.posterior.Posterior`.
    """

    turn: Floats
    log_ratio: float
    photons: float
    covariance: Floats | None = None


def search(
    crystal: KnownCrystal, counts: NDArray[np.int32], background: NDArray[np.float32]
) -> list[Hypothesis]:
    """Return the likeliest orientations of a crystal in a frame, the best first.

    Parameters
    ----------
    crystal : KnownCrystal
        The crystal, the detector and the beam.
    counts : ndarray of int32, shape of a frame
        Counts, negative where there is no reading.
    background : ndarray of float32, shape of a frame
        Expected background of each pixel, in photons.
    """
    weakest = weakest_crystal(crystal, background)
    pairs = bright_pairs(crystal, counts, background, weakest)
    if not len(pairs.gains):
        return []
    tried = _tried(crystal, counts, background, weakest, pairs)
    tried.sort(key=lambda one: -one.log_ratio)
    return list(distinct(crystal.lattice, tried, _SAME_DEG))


def _tried(
    crystal: KnownCrystal,
    counts: NDArray[np.int32],
    background: NDArray[np.float32],
    weakest: float,
    pairs: Pairs,
) -> list[Hypothesis]:
    """Let bright pixels vote, judge what many vote for, and let the best of these climb."""
    n_angles = int(2 * np.pi * crystal.pixels_a_rad / _STEP_PX)
    chosen = np.empty((_MOST_HYPOTHESES, 2), np.int32)
    scores = np.empty(_MOST_HYPOTHESES, np.float32)
    n = vote(pairs.rows, pairs.gains, pairs.seeds, crystal.voting, pairs.pixels, n_angles,
             _LEAST_VOTES, chosen, scores)  # fmt: skip
    chosen = chosen[np.argsort(-scores[:n], kind="stable")[:_JUDGED]]
    rough = np.empty((len(chosen), 3, 3))
    _turns(chosen, pairs.rows, crystal.unit_vectors, pairs.seeds[0], n_angles, rough)
    turns, ratios, photons = np.empty_like(rough), np.empty(len(rough)), np.empty(len(rough))
    codes, levels = pixels.classes(counts, background)
    nodes = crystal.expected.nodes, crystal.expected.weights
    table = np.empty((pixels.N_STEPS, len(levels) * pixels.N_COUNTS), np.float32)
    pixels.gains(levels, *nodes, table)
    beam = crystal.geometry.polarisation, crystal.detector
    steps = grid_steps(crystal.pixels_a_rad, 0.5 * max(counts.shape))
    judge(rough, crystal.first, *beam, codes, table, weakest, steps, turns, ratios, photons)
    best = np.argsort(-ratios, kind="stable")[:_REFINED]
    turns, photons = turns[best], photons[best]
    farthest = _FAR_PX / crystal.pixels_a_rad
    for blurs, sharpest, most in _CLIMBS:
        refined, values = np.empty_like(turns), np.empty(len(turns))
        at = np.empty(len(turns))
        _climb(turns, photons, np.array(blurs), sharpest, farthest, crystal.judging, *beam, counts,
               background, _SCALES, *nodes, refined, values, at)  # fmt: skip
        best = np.argsort(-values, kind="stable")[:most]
        turns, photons, values = refined[best], at[best], values[best]
    return [
        Hypothesis(turn, float(value), float(n))
        for turn, value, n in zip(turns, values, photons, strict=True)
    ]


@numba.njit(cache=True, nogil=True)
def _turns(chosen, pairs, g, q, n_angles, out):  # type: ignore[no-untyped-def]
    """Fill in the rotations of hypotheses."""
    for k in range(len(chosen)):
        j, i = pairs[chosen[k, 0]]
        rotation(g[j], q[i], 2.0 * math.pi * (chosen[k, 1] + 0.5) / n_angles, out[k])


@numba.njit(cache=True, nogil=True)
def _climb(  # type: ignore[no-untyped-def]
    turns, start, blurs, sharpest, farthest, reflections, polarised, detector, counts, background,
    relative, nodes, weights, out, ratios, photons,
):  # fmt: skip
    """Turn each crystal to where the frame is likelier, step by step; keep its best rotation."""
    found = np.empty((MOST_PREDICTED, N_COLUMNS))
    total, sharp = np.empty(len(relative)), np.empty(len(relative))
    gradient, information, spread = np.empty(3), np.empty((3, 3)), np.empty((3, 3))
    for t in range(len(turns)):
        turn, scale = turns[t].copy(), start[t]
        ratios[t] = -np.inf
        for k in range(len(blurs) + 1):
            n = predict(turn, reflections, polarised, detector, found)
            scales = relative * scale
            footprint_ratio(found, n, BLUR_PX, counts, background, scales, nodes, weights, total)
            if sharpest < BLUR_PX:
                footprint_ratio(
                    found, n, sharpest, counts, background, scales, nodes, weights, sharp
                )
                total[:] = np.maximum(total, sharp)
            best = np.argmax(total)
            if total[best] > ratios[t]:
                ratios[t], photons[t] = total[best], scales[best]
                out[t] = turn
            if k == len(blurs):
                break
            scale = scales[best]
            derivatives(turn, found, n, scale, counts, background, reflections, detector, nodes,
                        weights, gradient, information, spread, blurs[k], 0.0)  # fmt: skip
            turn = step_towards(gradient, information, farthest, turn)


def distinct(
    lattice: Lattice, found: Iterable[Hypothesis], same_deg: float
) -> Iterator[Hypothesis]:
    """Yield orientations without those that are an earlier one's again.

    Parameters
    ----------
    lattice : Lattice
        Of the crystal, up to whose rotations orientations are the same.
    found : iterable of Hypothesis
        Orientations, the best first.
    same_deg : float
        Angle up to which two are the same, in degrees.
    """
    kept: list[Floats] = []
    for one in found:
        axes = one.turn @ lattice.cell.reciprocal
        if all(lattice.angle_deg(axes, other) > same_deg for other in kept):
            kept.append(axes)
            yield one

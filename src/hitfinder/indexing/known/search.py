"""Find the orientation of a known crystal in one frame, from all its pixels."""

from __future__ import annotations

import dataclasses
import math

import numba
import numpy as np
from numpy.typing import NDArray

from hitfinder.indexing.known import windows
from hitfinder.indexing.known.crystal import SCANNED, KnownCrystal
from hitfinder.indexing.known.families import rotation, scan
from hitfinder.indexing.known.pairs import Pairs, bright_pairs, weakest_crystal
from hitfinder.indexing.known.predict import (
    BLUR_PX,
    FS,
    MOST_PREDICTED,
    N_COLUMNS,
    PHOTONS,
    SHARP_BLUR_PX,
    SS,
    footprint_ratio,
    predict,
)
from hitfinder.indexing.known.slopes import derivatives, step_towards

Floats = NDArray[np.float64]

_MOST_HYPOTHESES = 20_000
_JUDGED, _REFINED = 5000, 400
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

_FLOOR = 0.0

_SCALES = np.geomspace(0.3, 4000.0, 16)
_OCTAVES = np.array([-1.0, 0.0, 1.0, 2.0, 4.0])
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
    return _distinct(crystal, _tried(crystal, counts, background, weakest, pairs))


def _tried(
    crystal: KnownCrystal,
    counts: NDArray[np.int32],
    background: NDArray[np.float32],
    weakest: float,
    pairs: Pairs,
) -> list[Hypothesis]:
    """Scan the families, judge the best of their orientations, and let the best of these climb."""
    codes, levels = windows.classes(counts, background)
    expected = crystal.expected
    nodes = expected.nodes, expected.weights
    table = np.empty((windows.N_STEPS, len(levels) * windows.N_COUNTS), np.float32)
    windows.gains(levels, *nodes, table)
    step = (np.log(weakest * expected.photons[:SCANNED]) - windows.LOWEST) * windows.PER_E
    step = np.clip(step.astype(np.int64), -1, windows.N_STEPS - 1)
    reflections = crystal.unit_vectors, crystal.bands, step
    n_angles = int(2 * np.pi * crystal.pixels_a_rad / _STEP_PX)
    chosen = np.empty((_MOST_HYPOTHESES, 2), np.int32)
    scores = np.empty(_MOST_HYPOTHESES, np.float32)
    n = scan(pairs.rows, pairs.gains, reflections, pairs.directions, codes, table,
             crystal.detector, n_angles, _FLOOR, chosen, scores)  # fmt: skip
    chosen = chosen[np.argsort(-scores[:n], kind="stable")[:_JUDGED]]
    turns = np.empty((len(chosen), 3, 3))
    _turns(chosen, pairs.rows, crystal.unit_vectors, pairs.directions, n_angles, turns)
    beam = crystal.geometry.polarisation, crystal.detector
    ratios, photons = np.empty(len(turns)), np.empty(len(turns))
    _judge(turns, crystal.first, *beam, codes, table, weakest, ratios, photons)
    best = np.argsort(-ratios, kind="stable")[:_REFINED]
    turns, photons = turns[best], photons[best]
    farthest = _FAR_PX / crystal.pixels_a_rad
    for blurs, sharpest, most in _CLIMBS:
        refined, values = np.empty_like(turns), np.empty(len(turns))
        at = np.empty(len(turns))
        _climb(turns, photons, np.array(blurs), sharpest, farthest, crystal.judging, *beam, counts,
               background, weakest * _SCALES, *nodes, refined, values, at)  # fmt: skip
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
def _judge(turns, reflections, polarised, detector, codes, table, weakest, ratios, photons):  # type: ignore[no-untyped-def]
    """Fill in the best log ratio of each rotation and its scale, places known to a pixel."""
    found = np.empty((MOST_PREDICTED, N_COLUMNS))
    total = np.empty(len(_OCTAVES))
    for t in range(len(turns)):
        n = predict(turns[t], reflections, polarised, detector, found)
        total[:] = 0.0
        for j in range(n):
            code = codes[int(found[j, SS]), int(found[j, FS])]
            if code == windows.UNKNOWN:
                continue
            step = math.log(weakest * found[j, PHOTONS]) - windows.LOWEST
            for a in range(len(_OCTAVES)):
                s = int((step + _OCTAVES[a]) * windows.PER_E)
                if s >= 0:
                    total[a] += table[min(s, windows.N_STEPS - 1), code]
        best = np.argmax(total)
        ratios[t], photons[t] = total[best], weakest * math.exp(_OCTAVES[best])


@numba.njit(cache=True, nogil=True)
def _climb(  # type: ignore[no-untyped-def]
    turns, start, blurs, sharpest, farthest, reflections, polarised, detector, counts, background,
    scales, nodes, weights, out, ratios, photons,
):  # fmt: skip
    """Turn each crystal to where the frame is likelier, step by step; keep its best rotation."""
    found = np.empty((MOST_PREDICTED, N_COLUMNS))
    total, sharp = np.empty(len(scales)), np.empty(len(scales))
    gradient, information, spread = np.empty(3), np.empty((3, 3)), np.empty((3, 3))
    for t in range(len(turns)):
        turn, scale = turns[t].copy(), start[t]
        ratios[t] = -np.inf
        for k in range(len(blurs) + 1):
            n = predict(turn, reflections, polarised, detector, found)
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
            if k > 0:
                scale = scales[best]
            derivatives(turn, found, n, scale, counts, background, reflections[0], detector, nodes,
                        weights, gradient, information, spread, blurs[k], 0.0)  # fmt: skip
            turn = step_towards(gradient, information, farthest, turn)


def _distinct(crystal: KnownCrystal, found: list[Hypothesis]) -> list[Hypothesis]:
    """Drop every orientation that is a better one's again, up to the lattice's rotations."""
    kept: list[Hypothesis] = []
    cell = crystal.lattice.cell.reciprocal
    for one in sorted(found, key=lambda h: -h.log_ratio):
        axes = one.turn @ cell
        if all(crystal.lattice.angle_deg(axes, h.turn @ cell) > _SAME_DEG for h in kept):
            kept.append(one)
    return kept

"""Find the orientation of a known crystal in one frame, from all its pixels."""

from __future__ import annotations

import dataclasses
import math

import numba
import numpy as np
from numpy.typing import NDArray

from hitfinder.indexing.known import families as voting
from hitfinder.indexing.known.crystal import KnownCrystal
from hitfinder.indexing.known.predict import (
    BLUR_PX,
    MOST_GAIN,
    MOST_PREDICTED,
    N_COLUMNS,
    WIDE_BLUR_PX,
    footprint_ratio,
    nine_ratio,
    predict,
    sums_of_nine,
    turned_onto,
)

Floats = NDArray[np.float64]

MOST_PIXELS = 5000
"""Bright pixels of a frame that vote."""

FAMILIES = 600
"""Pairs of a reflection and a bright pixel that are tried, the best."""

_MOST_HYPOTHESES = 60_000
_JUDGED_PER_FAMILY, _JUDGED, _REFINED, _KEPT = 20, 600, 80, 20
_FLOOR = 10.0
_TARGET = 30.0
_SHARE = 0.6
"""Share of a reflection that its brightest pixel has."""

_SCALES = np.geomspace(0.3, 4000.0, 16)
_FEW_SCALES = _SCALES[[0, 2, 4, 7, 11]]
_REACH = (1.2, 0.8, 0.6)
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
    pixels, place = _bright(crystal, counts, background, weakest)
    if not len(place):
        return []
    pairs, gains = _families(crystal, pixels, weakest)
    if not len(pairs):
        return []
    return _distinct(crystal, _tried(crystal, counts, background, weakest, pixels, pairs, gains))


def weakest_crystal(crystal: KnownCrystal, background: NDArray[np.float32]) -> float:
    """Return how many Bragg photons of a frame just suffice to tell the crystal, on average.

    The expected log likelihood ratio of a known orientation, Σ (b + S) ln(1 + S / b) - S, reaches
    what a search through all orientations costs.
    """
    expected = crystal.expected
    lengths = expected.lengths[:: max(1, len(expected.lengths) // 4000)]
    photons = expected.photons[:: max(1, len(expected.lengths) // 4000)]
    share = 0.25 * crystal.geometry.wavelength_a * crystal.bandwidth * lengths
    share *= len(expected.lengths) / len(lengths)
    b = np.maximum(_background_at(crystal, background, lengths), 1e-6)
    low, high = 0.1, 1e6
    for _ in range(40):
        middle = math.sqrt(low * high)
        s = middle * photons
        if float((share * ((b + s) * np.log1p(s / b) - s)).sum()) > _TARGET:
            high = middle
        else:
            low = middle
    return high


def _background_at(
    crystal: KnownCrystal, background: NDArray[np.float32], lengths: Floats
) -> Floats:
    """Mean background of the pixels that scatter by as much as reflections do."""
    at = crystal.lengths[::7, ::7].ravel()
    value = background[::7, ::7].ravel()
    keep = (value > 0) & np.isfinite(at)
    edges = np.linspace(0, float(at[keep].max()) * 1.001, 41)
    index = np.digitize(at[keep], edges) - 1
    n = np.bincount(index, minlength=40)
    mean = np.bincount(index, value[keep], 40) / np.maximum(n, 1)
    middle = 0.5 * (edges[1:] + edges[:-1])
    return np.interp(lengths, middle[n > 0], mean[n > 0])


def _bright(
    crystal: KnownCrystal,
    counts: NDArray[np.int32],
    background: NDArray[np.float32],
    weakest: float,
) -> tuple[tuple, NDArray[np.int64]]:
    """Choose the pixels that vote, by length, and what they say of reflections of any strength."""
    place = np.flatnonzero(counts > 0)
    n = counts.ravel()[place].astype(float)
    b = background.ravel()[place].astype(float)
    length = crystal.lengths.ravel()[place].astype(float)
    excess = n * np.log(n / np.maximum(b, 1e-12)) - n + b
    excess[(n <= b) | (b <= 0) | ~np.isfinite(length)] = 0
    order = np.argsort(-excess, kind="stable")[:MOST_PIXELS]
    order = order[excess[order] > 0.5]
    order = order[np.argsort(length[order], kind="stable")]
    place, n, b, length = place[order], n[order], b[order], length[order]
    pixel = crystal.geometry.pixel_inv_a
    expected = crystal.expected
    ratios = np.exp(voting.LOWEST + (np.arange(voting.N_STEPS) + 0.5) / voting.PER_E)
    photons = ratios * b[:, None] / _SHARE
    votes = np.full(photons.shape, -np.inf)
    for node, weight in zip(expected.nodes, expected.weights, strict=True):
        one = n[:, None] * np.log1p(node * ratios) - node * photons + math.log(weight)
        np.logaddexp(votes, one, out=votes)
    pixels = (
        np.ascontiguousarray(crystal.directions.reshape(-1, 3)[place].astype(float)),
        length,
        2e-4 + 0.5 * pixel / np.maximum(length, pixel),
        crystal.length_tolerance(length),
        np.log(_SHARE * weakest / b),
        np.minimum(votes, MOST_GAIN).astype(np.float32),
    )
    return pixels, place


def _families(
    crystal: KnownCrystal, pixels: tuple, weakest: float
) -> tuple[NDArray[np.int64], Floats]:
    """Pair reflections with bright pixels of their length, the best pairs first."""
    _, length, _, _, log_rate, votes = pixels
    expected = crystal.expected
    wanted = expected.lengths[crystal.seeds]
    tolerance = crystal.length_tolerance(wanted)
    low = np.searchsorted(length, wanted - tolerance)
    n = np.searchsorted(length, wanted + tolerance) - low
    rows = np.repeat(crystal.seeds, n)
    pixel = np.arange(n.sum()) - np.repeat(np.cumsum(n) - n, n) + np.repeat(low, n)
    step = (np.log(expected.photons[rows]) + log_rate[pixel] - voting.LOWEST) * voting.PER_E
    gain = votes[pixel, np.clip(step.astype(int), 0, voting.N_STEPS - 1)].astype(float)
    gain[step < 0] = 0
    order = np.argsort(-gain, kind="stable")[:FAMILIES]
    order = order[gain[order] > 0]
    return np.stack([rows, pixel], 1)[order], gain[order]


def _tried(
    crystal: KnownCrystal,
    counts: NDArray[np.int32],
    background: NDArray[np.float32],
    weakest: float,
    pixels: tuple,
    pairs: NDArray[np.int64],
    gains: Floats,
) -> list[Hypothesis]:
    """Let the bright pixels vote in some families, judge what many vote for, refine the best."""
    order = np.argsort(pairs[:, 0], kind="stable")
    pairs, gains = np.ascontiguousarray(pairs[order]), gains[order]
    expected, some = crystal.expected, crystal.voting
    lengths = expected.lengths[some]
    reflections = (
        expected.vectors[some] / lengths[:, None], lengths, np.log(expected.photons[some]),
    )  # fmt: skip
    n_angles = int(2 * np.pi * lengths.max() / crystal.geometry.pixel_inv_a)
    hypotheses = np.empty((_MOST_HYPOTHESES, 2), np.int32)
    scores = np.empty(_MOST_HYPOTHESES, np.float32)
    n = voting.vote(pairs, gains, reflections, pixels, n_angles, _FLOOR, hypotheses, scores)
    chosen = hypotheses[np.argsort(-scores[:n], kind="stable")[: _JUDGED_PER_FAMILY * len(pairs)]]
    turns = np.empty((len(chosen), 3, 3))
    _turns(chosen, pairs, reflections[0], pixels[0], n_angles, turns)
    scales = weakest * _FEW_SCALES
    beam = crystal.geometry.polarisation, crystal.detector
    nodes = expected.nodes, expected.weights
    ratios, at = np.empty(len(turns)), np.empty(len(turns), np.int64)
    _judge(turns, crystal.first, *beam, sums_of_nine(counts), background, scales, *nodes,
           ratios, at)  # fmt: skip
    best = np.argsort(-ratios, kind="stable")[:_JUDGED]
    turns, photons = turns[best], scales[at[best]]
    for rounds, finer, most in ((2, _FEW_SCALES, _REFINED), (len(_REACH) + 2, _SCALES, _KEPT)):
        scales = weakest * finer
        refined, values = np.empty_like(turns), np.empty(len(turns))
        at = np.empty(len(turns), np.int64)
        _refine(turns, photons, rounds, crystal.judging, *beam, counts, background,
                crystal.directions, scales, *nodes, refined, values, at)  # fmt: skip
        best = np.argsort(-values, kind="stable")[:most]
        turns, photons, values = refined[best], scales[at[best]], values[best]
    return [
        Hypothesis(turn, float(value), float(n))
        for turn, value, n in zip(turns, values, photons, strict=True)
    ]


@numba.njit(cache=True, nogil=True)
def _turns(chosen, pairs, g, q, n_angles, out):  # type: ignore[no-untyped-def]
    """Fill in the rotations of hypotheses."""
    for k in range(len(chosen)):
        j, i = pairs[chosen[k, 0]]
        voting.rotation(g[j], q[i], 2.0 * math.pi * (chosen[k, 1] + 0.5) / n_angles, out[k])


@numba.njit(cache=True, nogil=True)
def _judge(turns, table, polarised, detector, sums, background, scales, nodes, weights, ratios, at):  # type: ignore[no-untyped-def]
    """Fill in the best log ratio of each rotation and its scale, its place known to a pixel."""
    found = np.empty((MOST_PREDICTED, N_COLUMNS))
    total = np.empty(len(scales))
    for t in range(len(turns)):
        n = predict(turns[t], table, polarised, detector, found)
        nine_ratio(found, n, sums, background, scales, nodes, weights, total)
        at[t] = np.argmax(total)
        ratios[t] = total[at[t]]


@numba.njit(cache=True, nogil=True)
def _refine(  # type: ignore[no-untyped-def]
    turns, start, rounds, table, polarised, detector, counts, background, directions, scales, nodes,
    weights, out, ratios, at,
):  # fmt: skip
    """Turn each crystal onto the photons near its reflections; keep the best of each's rounds."""
    found = np.empty((MOST_PREDICTED, N_COLUMNS))
    total = np.empty(len(scales))
    for t in range(len(turns)):
        turn, scale = turns[t].copy(), start[t]
        ratios[t] = -np.inf
        for k in range(rounds):
            n = predict(turn, table, polarised, detector, found)
            blur = WIDE_BLUR_PX if k == 0 else BLUR_PX
            footprint_ratio(found, n, blur, counts, background, scales, nodes, weights, total)
            best = np.argmax(total)
            if k > 0 and total[best] > ratios[t]:
                ratios[t], at[t] = total[best], best
                out[t] = turn
            scale = scales[best]
            reach = _REACH[min(k, len(_REACH) - 1)]
            turn = turned_onto(
                turn, found, n, scale, reach, counts, background, table[0], directions
            )


def _distinct(crystal: KnownCrystal, found: list[Hypothesis]) -> list[Hypothesis]:
    """Drop every orientation that is a better one's again, up to the lattice's rotations."""
    kept: list[Hypothesis] = []
    cell = crystal.lattice.cell.reciprocal
    for one in sorted(found, key=lambda h: -h.log_ratio):
        axes = one.turn @ cell
        if all(crystal.lattice.angle_deg(axes, h.turn @ cell) > _SAME_DEG for h in kept):
            kept.append(one)
    return kept

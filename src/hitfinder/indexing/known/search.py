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
from hitfinder.indexing.known.predict import (
    BLUR_PX,
    FS,
    MOST_GAIN,
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

MOST_PIXELS = 5000
"""Bright pixels of a frame that are put on reflections, at most."""

FAMILIES = 300
"""Pairs of a reflection and a bright pixel that are tried, the best."""

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

_SPLIT_PX, _MOST_PARTS = 300.0, 4
"""Distance from the beam, in pixels, below which pixels are split, and into how many parts."""

_FAR_PX = 2.0
"""How far spots are moved at most in a step of the climb."""

_LEAST_EXCESS = 1.0
_FLOOR = 0.0
_TARGET = 30.0
_PER_E, _LOWEST, _N_STEPS = 4, -4.0, 72
_SHARE = 0.6
"""Share of a reflection that its brightest pixel has."""

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
    pixels, place = _bright(crystal, counts, background, weakest)
    if not len(place):
        return []
    pairs, gains = _families(crystal, pixels, weakest)
    if not len(pairs):
        return []
    return _distinct(crystal, _tried(crystal, counts, background, weakest, pixels[0], pairs, gains))


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
    """Choose bright pixels, by length, and what they say of reflections of any strength."""
    n_bright = _bright_pixels(counts, background, np.empty(0, np.int64), np.empty(0))
    place, excess = np.empty(n_bright, np.int64), np.empty(n_bright)
    _bright_pixels(counts, background, place, excess)
    excess[~np.isfinite(crystal.lengths.ravel()[place])] = 0
    order = np.argsort(-excess, kind="stable")[:MOST_PIXELS]
    place = place[order[excess[order] > 0]]
    n = counts.ravel()[place].astype(float)
    b = background.ravel()[place].astype(float)
    length = crystal.lengths.ravel()[place].astype(float)
    order = np.argsort(length, kind="stable")
    place, n, b, length = place[order], n[order], b[order], length[order]
    expected = crystal.expected
    ratios = np.exp(_LOWEST + (np.arange(_N_STEPS) + 0.5) / _PER_E)
    photons = ratios * b[:, None] / _SHARE
    votes = np.full(photons.shape, -np.inf)
    for node, weight in zip(expected.nodes, expected.weights, strict=True):
        one = n[:, None] * np.log1p(node * ratios) - node * photons + math.log(weight)
        np.logaddexp(votes, one, out=votes)
    pixels = (
        np.ascontiguousarray(crystal.directions.reshape(-1, 3)[place].astype(float)),
        length,
        np.log(_SHARE * weakest / b),
        np.minimum(votes, MOST_GAIN).astype(np.float32),
    )
    return pixels, place


@numba.njit(cache=True, nogil=True)
def _bright_pixels(counts, background, place, excess):  # type: ignore[no-untyped-def]
    """Fill in the pixels brighter than chance makes most, as far as there is room; return how many.

    The excess is the log likelihood ratio of a pixel whose expectation is its own count.
    """
    n_found = 0
    for i in range(counts.shape[0]):
        for j in range(counts.shape[1]):
            n, b = counts[i, j], background[i, j]
            if b <= 0.0 or n <= b or (n - b) * (n - b) < b:
                continue
            value = n * math.log(n / b) - n + b
            if value < _LEAST_EXCESS:
                continue
            if n_found < len(place):
                place[n_found], excess[n_found] = i * counts.shape[1] + j, value
            n_found += 1
    return n_found


def _families(
    crystal: KnownCrystal, pixels: tuple, weakest: float
) -> tuple[NDArray[np.int64], Floats]:
    """Pair reflections with bright pixels of their length, the best pairs first."""
    _, length, log_rate, votes = pixels
    expected = crystal.expected
    wanted = expected.lengths[crystal.seeds]
    tolerance = crystal.length_tolerance(wanted)
    low = np.searchsorted(length, wanted - tolerance)
    n = np.searchsorted(length, wanted + tolerance) - low
    rows = np.repeat(crystal.seeds, n)
    pixel = np.arange(n.sum()) - np.repeat(np.cumsum(n) - n, n) + np.repeat(low, n)
    step = (np.log(expected.photons[rows]) + log_rate[pixel] - _LOWEST) * _PER_E
    gain = votes[pixel, np.clip(step.astype(int), 0, _N_STEPS - 1)].astype(float)
    gain[step < 0] = 0
    order = np.argsort(-gain, kind="stable")[:FAMILIES]
    order = order[gain[order] > 0]
    return np.stack([rows, pixel], 1)[order], gain[order]


def _within_pixels(
    crystal: KnownCrystal, pairs: NDArray[np.int64], gains: Floats, directions: Floats
) -> tuple[NDArray[np.int64], Floats, Floats]:
    """Split pixels near the beam: their width leaves the crystal's turn about it too uncertain.

    Returns
    -------
    pairs : ndarray, shape (n, 2)
        Row of the reflection and of the direction, those of one reflection in a row.
    gains : ndarray, shape (n,)
        What each pair says.
    directions : ndarray, shape (n, 3)
        Of the parts of pixels.
    """
    q = directions[pairs[:, 1]]
    # The momentum transfer of an unturned wavelength makes half the angle of scattering with the
    # detector's plane.
    off_beam_px = 0.5 * crystal.pixels_a_rad * np.tan(2 * np.arcsin(np.clip(-q[:, 2], 0.0, 0.7)))
    n = np.clip(np.ceil(_SPLIT_PX / np.maximum(off_beam_px, 1.0)), 1, _MOST_PARTS).astype(int)
    row = np.repeat(np.arange(len(pairs)), n)
    part = np.arange(n.sum()) - np.repeat(np.cumsum(n) - n, n)
    angle = ((part + 0.5) / n[row] - 0.5) / np.maximum(off_beam_px[row], 1.0)
    cos, sin, q = np.cos(angle), np.sin(angle), q[row]
    turned = np.stack([cos * q[:, 0] - sin * q[:, 1], sin * q[:, 0] + cos * q[:, 1], q[:, 2]], 1)
    order = np.argsort(pairs[row, 0], kind="stable")
    out = np.stack([pairs[row[order], 0], np.arange(len(order))], 1)
    return out, gains[row[order]], np.ascontiguousarray(turned[order])


def _tried(
    crystal: KnownCrystal,
    counts: NDArray[np.int32],
    background: NDArray[np.float32],
    weakest: float,
    directions: Floats,
    pairs: NDArray[np.int64],
    gains: Floats,
) -> list[Hypothesis]:
    """Scan the families, judge the best of their orientations, and let the best of these climb."""
    pairs, gains, directions = _within_pixels(crystal, pairs, gains, directions)
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
    n = scan(pairs, gains, reflections, directions, codes, table, crystal.detector, n_angles,
             _FLOOR, chosen, scores)  # fmt: skip
    chosen = chosen[np.argsort(-scores[:n], kind="stable")[:_JUDGED]]
    turns = np.empty((len(chosen), 3, 3))
    _turns(chosen, pairs, crystal.unit_vectors, directions, n_angles, turns)
    beam = crystal.geometry.polarisation, crystal.detector
    ratios, photons = np.empty(len(turns)), np.empty(len(turns))
    _judge(turns, crystal.first, *beam, codes, table, weakest, ratios, photons)
    best = np.argsort(-ratios, kind="stable")[:_REFINED]
    turns, photons = turns[best], photons[best]
    values = ratios[best]
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

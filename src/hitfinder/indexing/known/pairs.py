"""Bright pixels and the reflections that they may be."""

from __future__ import annotations

import dataclasses
import math

import numba
import numpy as np
from numpy.typing import NDArray

from hitfinder.indexing.known.crystal import KnownCrystal
from hitfinder.indexing.known.families import LOWEST, N_STEPS, PER_E, PER_UNIT
from hitfinder.indexing.known.predict import MOST_GAIN

Floats = NDArray[np.float64]

MOST_PIXELS = 10_000
"""Bright pixels of a frame that vote, at most. Where there is background, most of what tells a weak
crystal is in pixels that are hardly bright."""

FAMILIES = 200
"""Pairs of a reflection and a bright pixel that are tried, the best: nine weak crystals in ten have
a true one among them, and families beyond are worth less than more pixels that vote."""

_LEAST_EXCESS = 1.0
_OVERFLOW = 500.0
"""Log likelihood ratio beyond which only that it is large counts."""

_TARGET = 30.0
_SHARE = 0.6
"""Share of a reflection that its brightest pixel has."""

_LEVELS = 16
"""Levels of background in a factor e that are told apart by what pixels say."""

_SPLIT_PX, _MOST_PARTS = 300.0, 4
"""Distance from the beam, in pixels, below which pixels are split, and into how many parts."""


@dataclasses.dataclass(frozen=True, eq=False)
class Pairs:
    """Reflections and the places on the detector that they are put on.

    Attributes
    ----------
    rows : ndarray of int64, shape (n, 2)
        Row of the reflection and of the seed, those of one reflection in a row.
    gains : ndarray, shape (n,)
        What the two say for each other, as a log likelihood ratio.
    seeds, pixels : tuple
        The places, and all bright pixels, as `hitfinder.indexing.known.families.vote` takes them.
    """

    rows: NDArray[np.int64]
    gains: Floats
    seeds: tuple
    pixels: tuple


def bright_pairs(
    crystal: KnownCrystal,
    counts: NDArray[np.int32],
    background: NDArray[np.float32],
    weakest: float,
) -> Pairs:
    """Pair bright pixels with reflections of their length, and keep the best pairs.

    Parameters
    ----------
    crystal, counts, background
        As for `hitfinder.indexing.known.search.search`.
    weakest : float
        From `weakest_crystal`.
    """
    place = _brightest(crystal, counts, background)
    pixels = _votes(crystal, counts, background, weakest, place)
    return _within_pixels(crystal, *_families(crystal, pixels), pixels)


def weakest_crystal(crystal: KnownCrystal, background: NDArray[np.float32]) -> float:
    """Return how many Bragg photons of a frame just suffice to tell the crystal, on average.

    The expected log likelihood ratio of a known orientation, Σ (b + S) ln(1 + S / b) - S, reaches
    what a search through all orientations costs.
    """
    expected = crystal.expected
    lengths = expected.lengths[:: max(1, len(expected.lengths) // 4000)]
    photons = expected.seen[:: max(1, len(expected.lengths) // 4000)]
    # The rest of a reflection's photons is in as many orientations more.
    share = crystal.band.share * lengths / crystal.band.seen(lengths)
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


def _brightest(
    crystal: KnownCrystal, counts: NDArray[np.int32], background: NDArray[np.float32]
) -> NDArray[np.int64]:
    """Return the places of the brightest pixels."""
    place, excess = np.empty(counts.size, np.int32), np.empty(counts.size, np.float32)
    n = _bright_pixels(counts, background, crystal.lengths, place, excess)
    return place[_largest(excess[:n], MOST_PIXELS)].astype(np.int64)


def _votes(
    crystal: KnownCrystal,
    counts: NDArray[np.int32],
    background: NDArray[np.float32],
    weakest: float,
    place: NDArray[np.int64],
) -> tuple:
    """Tell, by length, what bright pixels say of reflections of any strength."""
    n = counts.ravel()[place].astype(float)
    b = background.ravel()[place].astype(float)
    length = crystal.lengths.ravel()[place].astype(float)
    order = np.argsort(length, kind="stable")
    place, n, b, length = place[order], n[order], b[order], length[order]
    votes, kind = _votes_of_kinds(crystal, n, b)
    pixels = (
        np.ascontiguousarray(crystal.directions.reshape(-1, 3)[place].astype(float)),
        crystal.direction_tolerance(length),
        crystal.radial_tolerance,
        length,
        crystal.length_tolerance(length),
        np.log(_SHARE * weakest / b),
        votes[kind],
    )
    return pixels


def _votes_of_kinds(
    crystal: KnownCrystal, n: Floats, b: Floats
) -> tuple[NDArray[np.uint16], NDArray[np.int64]]:
    """Tell what pixels of each kind say, and the kind of each; kinds differ in count or background.

    Parameters
    ----------
    crystal : KnownCrystal
        The crystal.
    n, b : ndarray, shape (n_pixels,)
        Counts and background of pixels.
    """
    level = np.rint(_LEVELS * np.log(b)) / _LEVELS
    kinds, kind = np.unique(n + 1j * level, return_inverse=True)
    expected = crystal.expected
    ratios = np.exp(LOWEST + (np.arange(N_STEPS) + 0.5) / PER_E)
    photons = ratios * np.exp(kinds.imag)[:, None] / _SHARE
    odds = np.zeros(photons.shape)
    for node, weight in zip(expected.nodes, expected.weights, strict=True):
        one = kinds.real[:, None] * np.log1p(node * ratios) - node * photons
        odds += weight * np.exp(np.minimum(one, _OVERFLOW))
    votes = np.minimum(np.log(np.maximum(odds, 1.0)), MOST_GAIN)
    return np.rint(votes * PER_UNIT).astype(np.uint16), kind


@numba.njit(cache=True, nogil=True)
def _bright_pixels(counts, background, lengths, place, excess):  # type: ignore[no-untyped-def]
    """Fill in the pixels brighter than chance makes most; return how many.

    The excess is the log likelihood ratio of a pixel whose expectation is its own count.
    """
    n_found = 0
    for i in range(counts.shape[0]):
        for j in range(counts.shape[1]):
            n, b = np.float32(counts[i, j]), background[i, j]
            # The excess is at most (n - b)² / 2 b: most pixels are passed over without a logarithm.
            if b <= 0.0 or n <= b or (n - b) * (n - b) < np.float32(2.0 * _LEAST_EXCESS) * b:
                continue
            if not lengths[i, j] < np.inf:
                continue
            value = n * math.log(n / b) - n + b
            if value < _LEAST_EXCESS:
                continue
            place[n_found], excess[n_found] = i * counts.shape[1] + j, value
            n_found += 1
    return n_found


def _families(crystal: KnownCrystal, pixels: tuple) -> tuple[NDArray[np.int64], Floats]:
    """Pair reflections with bright pixels of their length; return the best pairs."""
    _, _, _, length, _, log_rate, votes = pixels
    expected = crystal.expected
    wanted = expected.lengths[crystal.seeds]
    tolerance = crystal.length_tolerance(wanted)
    low = np.searchsorted(length, wanted - tolerance)
    high = np.searchsorted(length, wanted + tolerance)
    rate = (log_rate - LOWEST).astype(np.float32)
    log_photons = np.log(expected.seen[crystal.seeds]).astype(np.float32)
    pairs, gains = np.empty((FAMILIES, 2), np.int64), np.empty(FAMILIES, np.uint16)
    n = _best_pairs(low, high, log_photons, rate, votes, pairs, gains)
    pairs[:, 0] = crystal.seeds[pairs[:, 0]]
    return pairs[:n], gains[:n] / PER_UNIT


@numba.njit(cache=True, nogil=True)
def _best_pairs(low, high, log_photons, rate, votes, pairs, gains):  # type: ignore[no-untyped-def]
    """Fill in the pairs with the largest gains, as far as there is room; return how many.

    Of pairs with the least gain that there is room for, those of the strongest reflections are
    taken.
    """
    often = np.zeros(1 << 16, np.int64)
    for k in range(len(low)):
        for i in range(low[k], high[k]):
            often[_gain(log_photons[k] + rate[i], votes[i])] += 1
    spare, least = len(gains), len(often) - 1
    while least > 1 and often[least] <= spare:
        spare -= often[least]
        least -= 1
    n_found = 0
    for k in range(len(low)):
        for i in range(low[k], high[k]):
            gain = _gain(log_photons[k] + rate[i], votes[i])
            if gain > least or (gain == least and spare > 0):
                spare -= int(gain == least)
                pairs[n_found, 0], pairs[n_found, 1], gains[n_found] = k, i, gain
                n_found += 1
    return n_found


@numba.njit(cache=True, nogil=True, inline="always")
def _gain(beyond_lowest, votes):  # type: ignore[no-untyped-def]
    """Look up what a pixel says of a reflection, given the log of photons over background."""
    step = beyond_lowest * np.float32(PER_E)
    return 0 if step < 0.0 else int(votes[min(int(step), N_STEPS - 1)])


def _largest(values: NDArray[np.float32], most: int) -> NDArray[np.int64]:
    """Return where the largest values are, rising."""
    if len(values) <= most:
        return np.arange(len(values))
    return np.sort(np.argpartition(-values, most)[:most])


def _within_pixels(
    crystal: KnownCrystal, pairs: NDArray[np.int64], gains: Floats, pixels: tuple
) -> Pairs:
    """Split pixels near the beam: their width leaves the crystal's turn about it too uncertain."""
    q = pixels[0][pairs[:, 1]]
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
    seeds = np.ascontiguousarray(turned[order]), pixels[1][pairs[row[order], 1]]
    return Pairs(out, gains[row[order]], seeds, pixels)

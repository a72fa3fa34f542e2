"""Where zero photons are in the values of a detector that does not count, and its noise.

A charge-integrating detector gives photons as real numbers: around an offset, which a common mode
moves from frame to frame and from panel to panel, with the Gaussian noise of the read-out. Where
some pixels have no photon, their values are a peak of their own, the zero peak; it is fitted, in
each panel of each frame, together with the peaks of one, two and more photons that follow it at
the distance of one photon. Between zero and one photon there is a plateau besides, of photons
that are shared by two pixels.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence

import numpy as np
from numba import njit
from numpy.typing import NDArray

LEAST_NOISE = 0.08
"""Photons. Less noise never turns a photon into another number of them: values are rounded."""

MOST_NOISE = 10.0
"""Photons. Frames with more show no spots of a crystal: the size of a photon is wrong."""

_PIXELS, _LEAST_OF_PANEL = 120_000, 8_000
"""Pixels of a frame that are looked at, and those of a panel at least."""

_LEAST_PIXELS = 400
_NOT_WHOLE = 0.01
_CONTINUOUS, _FEW = 0.5, 2_000
_MOST_PEAKS = 14
_BIN = 0.02
_ITERATIONS = 80
_LEAST_WEIGHT = 2e-3
_USUAL, _MEAN_USUAL = 0.8, 0.5586
"""Share of the differences of neighbours that are taken, the smallest, and the mean of that share
of the absolute values of a normal distribution of width 1."""

_SURE = 0.45
_CLEAR, _NARROW = 0.05, 0.35
"""Share of a first peak so narrow that no peak can be missing before it: of light of which five in
a hundred pixels have one photon, more than one in a thousand has none."""

_MORE_THAN_FITTED = 1.3
_MOST_OFFSET = 0.3
_MOST_BELOW = 8.0

_CUT_OFF, _DOWN_TO_ZERO, _MOST_MIRRORED = 0.3, 0.05, 5.0
"""Share of zeros, and share of the values above that are less than a quarter of their median, which
make values noise cut off at zero: half of it, and 0.13, would be; and how many medians of what is
above are mirrored, though no more than half a photon."""

Block = tuple[slice, slice]


@dataclasses.dataclass(frozen=True, eq=False)
class ReadNoise:
    """Offset and noise of the panels of one frame, in photons.

    Attributes
    ----------
    offset : ndarray, shape (n_panels,)
        What pixels without a photon read; 0 where a panel does not show it.
    sigma : ndarray, shape (n_panels,)
        Standard deviation of the noise.
    seen : ndarray of bool, shape (n_panels,)
        Whether the panel has a zero peak. The others are given the noise of those.
    marks : bool
        Whether whole numbers below zero mark pixels without a reading, since no other is whole.
    """

    offset: NDArray[np.float64]
    sigma: NDArray[np.float64]
    seen: NDArray[np.bool_]
    marks: bool


def read_noise(
    frame: NDArray, good: NDArray[np.bool_], blocks: Sequence[Block]
) -> ReadNoise | None:
    """Measure offset and noise of each panel of a frame.

    Parameters
    ----------
    frame : ndarray, shape (ss, fs)
        Values in photons.
    good : ndarray of bool, shape (ss, fs)
        Pixels that are not masked.
    blocks : sequence of tuple of slice
        Rows and columns of the panels.

    Returns
    -------
    ReadNoise or None
        None if the values are photons: whole numbers, or noise below `LEAST_NOISE`.
    """
    if frame.dtype.kind != "f":
        return None
    n = len(blocks)
    offset, sigma, seen, marks = np.zeros(n), np.full(n, np.nan), np.zeros(n, bool), False
    most = max(_PIXELS // max(n, 1), _LEAST_OF_PANEL)
    for b, block in enumerate(blocks):
        values, spread, continuous = _sample(frame[block], good[block], most)
        if spread < LEAST_NOISE:
            continue
        marks |= continuous
        found = zero_peak(values)
        if found is not None and _explains(found, values, spread):
            (offset[b], sigma[b]), seen[b] = found, True
        else:
            # What light there is spreads the values too: Poisson's variance is its mean.
            middle = float(np.median(values))
            offset[b] = min(middle, 0.0)
            sigma[b] = math.sqrt(max(spread**2 - max(middle, 0.0), 0.0))
    known = sigma[seen] if seen.any() else sigma[np.isfinite(sigma)]
    usual = float(np.median(known)) if known.size else 0.0
    if not usual >= LEAST_NOISE:
        return None
    sigma[~seen] = usual
    return ReadNoise(offset, sigma, seen, marks)


def corrected(
    frame: NDArray, noise: ReadNoise, blocks: Sequence[Block], out: NDArray[np.float32]
) -> None:
    """Take the offsets out of a frame; NaN where a value is no reading.

    No reading is what is further below zero than noise reaches, and a mark.

    Parameters
    ----------
    frame : ndarray, shape (ss, fs)
        Values in photons.
    noise : ReadNoise
        From `read_noise`.
    blocks : sequence of tuple of slice
        Rows and columns of the panels.
    out : ndarray of float32, shape (ss, fs)
        Written; may be `frame`. What is in no panel stays as it is.
    """
    if out is not frame:
        out[:] = frame
    for block, offset, sigma in zip(blocks, noise.offset, noise.sigma, strict=True):
        least = np.float32(-_MOST_BELOW * sigma)
        _correct(out[block], np.float32(offset), least, noise.marks)


@njit(cache=True, nogil=True)
def _correct(values, offset, least, marks):  # type: ignore[no-untyped-def]
    for i in range(values.shape[0]):
        row = values[i]
        for j in range(row.size):
            value = row[j]
            if marks and value < 0 and value == np.floor(value):
                row[j] = np.nan
            else:
                value -= offset
                row[j] = value if value >= least else np.nan


def _sample(
    values: NDArray, good: NDArray[np.bool_], most: int
) -> tuple[NDArray[np.float64], float, bool]:
    """Return good values of a panel, how much neighbours differ, and if hardly two are the same.

    The difference is 0 if the values are whole numbers.

    Neighbours are compared since a smooth image, of expected photons, has no noise.
    """
    step = max(1, values.size // most)
    values, good = values[::step].astype(np.float64), good[::step]
    good = good & np.isfinite(values)
    chosen = values[good]
    if chosen.size < _LEAST_PIXELS:
        return chosen, 0.0, False
    if np.mean(np.abs(chosen - np.rint(chosen)) > 1e-3) <= _NOT_WHOLE:
        return chosen, 0.0, False
    lost = _lost_side(chosen)
    if lost.size:
        noise = 1.4826 * float(np.median(-lost))
        return np.concatenate([lost, chosen[chosen > 0]]), noise, False
    continuous = np.unique(chosen[:_FEW]).size > _CONTINUOUS * min(_FEW, chosen.size)
    if continuous:
        # Zero and whole numbers below are marks then.
        good &= (values != 0) & ~((values < 0) & (values == np.floor(values)))
        chosen = values[good]
    differences = (values[:, 1:] - values[:, :-1])[good[:, 1:] & good[:, :-1]]
    if differences.size < _LEAST_PIXELS:
        return chosen, 0.0, continuous
    smallest = np.sort(np.abs(differences))[: int(_USUAL * differences.size)]
    return chosen, float(smallest.mean()) / _MEAN_USUAL / math.sqrt(2), continuous


def _lost_side(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return what noise that was cut off at zero would have had below: the mirror of what is above.

    Empty if nothing was cut off: then few values are zero, or none is a little above.
    """
    above = values[values > 0]
    if not above.size or values.min() < 0 or np.mean(values == 0) < _CUT_OFF:
        return above[:0]
    middle, least = float(np.median(above)), float(above.min())
    if least > middle / 2 or np.mean(above <= max(middle / 4, least)) < _DOWN_TO_ZERO:
        return above[:0]
    return -above[above < min(_MOST_MIRRORED * middle, 0.5)]


def zero_peak(values: NDArray[np.float64]) -> tuple[float, float] | None:
    """Fit the zero peak of values in photons.

    The peaks of n photons are Gaussians of one width at offset + n, with any weights, and the
    shared photons a plateau; expectation and maximisation by turns (Dempster, Laird and Rubin,
    J. R. Statist. Soc. B 39, 1 (1977)).

    Parameters
    ----------
    values : ndarray
        Values of the pixels of a panel.

    Returns
    -------
    offset, sigma : float
        None if no peak can be that of zero photons.
    """
    low, middle, high = np.quantile(values, (0.002, 0.5, 0.99))
    first = math.ceil(middle - low) if middle - low > 1.5 else 1
    last = min(math.ceil(high - middle) + 1, 6)
    if first + last > _MOST_PEAKS:
        return None
    edges = np.arange(middle - first - 1.5, middle + last + 0.5, _BIN)
    heights = np.histogram(values, edges)[0].astype(np.float64)
    left = values[values < middle]
    width = 1.4826 * float(np.median(middle - left)) if left.size else 0.0
    width = min(max(width, LEAST_NOISE / 2), 0.5)
    likeliest, best = -np.inf, None
    for phase in (0.0, 0.5, 0.25, 0.75):
        weights = np.full(first + last + 2, 1.0 / (first + last + 2))
        start = middle - first + phase
        likelihood, place, sigma = _fit(edges[:-1] + _BIN / 2, heights, start, width, weights)
        zero = int(weights[:-1].argmax())
        if weights[zero] > _SURE:
            # So many pixels of one number of photons have none.
            offset = place + zero
            if abs(offset) <= _MOST_OFFSET or sigma**2 < abs(offset) / 2:
                return offset, sigma
            return None
        if likelihood > likeliest:
            zero = int(np.flatnonzero(weights[:-1] > _LEAST_WEIGHT * weights[zero])[0])
            clear = weights[zero] > _CLEAR and sigma < _NARROW
            likeliest, best = likelihood, (place + zero, sigma, clear)
    if best is None or not (abs(best[0]) <= _MOST_OFFSET or best[2]):
        return None
    return best[:2]


def _explains(peak: tuple[float, float], values: NDArray[np.float64], spread: float) -> bool:
    """Say whether a zero peak and light make values as different as neighbours are."""
    offset, sigma = peak
    light = max(float(values.mean()) - offset, 0.0)
    return spread**2 <= _MORE_THAN_FITTED * (sigma**2 + light)


@njit(cache=True, nogil=True)
def _fit(x, heights, place, sigma, weights):  # type: ignore[no-untyped-def]
    """Fit peaks one photon apart, from `place` on, and the plateau after the strongest.

    `weights` are those of the peaks and, last, of the plateau; they are changed. Returns the
    logarithm of the likelihood, the place of the first peak and the width.
    """
    n = weights.size - 1
    density = np.empty(n + 1)
    total, value = 0.0, -np.inf
    for b in range(heights.size):
        total += heights[b]
    for _ in range(_ITERATIONS):
        counts = np.zeros(n + 1)
        moment = square = value = 0.0
        strongest = 0
        for k in range(1, n):
            strongest = k if weights[k] > weights[strongest] else strongest
        start = place + strongest
        for b in range(x.size):
            if heights[b] == 0.0:
                continue
            norm = 0.0
            for k in range(n):
                z = (x[b] - place - k) / sigma
                density[k] = 0.0
                if abs(z) < 8.0:
                    density[k] = weights[k] * math.exp(-0.5 * z * z) / (sigma * 2.5066282746)
                norm += density[k]
            up = math.erf((x[b] - start) / (sigma * math.sqrt(2.0)))
            down = math.erf((x[b] - start - 1.0) / (sigma * math.sqrt(2.0)))
            density[n] = weights[n] * 0.5 * (up - down)
            norm += density[n] + 1e-9
            value += heights[b] * math.log(norm)
            for k in range(n):
                share = heights[b] * density[k] / norm
                counts[k] += share
                away = x[b] - k
                moment += share * away
                square += share * away * away
            counts[n] += heights[b] * density[n] / norm
        inside = 0.0
        for k in range(n):
            inside += counts[k]
        if inside <= 0.0:
            break
        for k in range(n + 1):
            weights[k] = max(counts[k] / total, 1e-12)
        new = moment / inside
        wide = math.sqrt(max(square / inside - new * new, 1e-4))
        done = abs(new - place) < 1e-4 and abs(wide - sigma) < 1e-4
        place, sigma = new, wide
        if done:
            break
    return value, place, sigma

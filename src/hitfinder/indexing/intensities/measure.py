"""Measure the reflections of a crystal in a frame."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from hitfinder.indexing.intensities import kernel
from hitfinder.indexing.intensities.prediction import PredictedReflections

Floats = NDArray[np.float64]

REFLECTION_DTYPE = np.dtype(
    [
        ("h", "i4"),
        ("k", "i4"),
        ("l", "i4"),
        ("intensity", "f8"),
        ("sigma", "f8"),
        ("expected", "f8"),
        ("weight", "f8"),
        ("polarisation", "f8"),
        ("partiality", "f8"),
        ("covered", "f8"),
        ("fs", "f8"),
        ("ss", "f8"),
        ("resolution_a", "f8"),
        ("counted", "i8"),
        ("background", "f8"),
        ("n_pixels", "i4"),
        ("maximum", "i8"),
        ("f_squared", "f8"),
    ]
)
"""A measured reflection; `hitfinder.export.tables.REFLECTION_COLUMNS` says what its fields are."""

LEAST_COVERED = 0.3
"""Share of a reflection, on pixels that are read and inside the band, that is worth a value; where
mosaic spread is wider than the band, of what is inside it at most."""

MOST_INFLATED = 5.0
"""Factor by which overlap may enlarge a standard deviation: beyond, nothing tells two apart."""

LEAST_PHOTONS = 0.5
"""Bragg photons that a frame is taken to have in all, at least."""

_ROUNDS = 4


def measure(
    crystals: Sequence[PredictedReflections],
    counts: NDArray[np.int32],
    background: NDArray[np.float32],
) -> list[tuple[NDArray[np.void], float]]:
    """Measure the photons of the predicted reflections of a frame's crystals.

    Reflections of one crystal that overlap are solved together; those of the others are part of
    its background.

    Parameters
    ----------
    crystals : sequence of PredictedReflections
        The reflections of each crystal.
    counts : ndarray of int32, shape of a frame
        Counts, negative where there is no reading.
    background : ndarray of float32, shape of a frame
        Expected background of each pixel, in photons.

    Returns
    -------
    list of (structured ndarray of REFLECTION_DTYPE, float)
        For each crystal, the reflections that can be told from others and are covered by pixels
        that are read; and the photons for each weight and e² of |F|², by which intensities are
        expected: from the structure where it is known, else from an average protein.
    """
    solved = [_solved(one, counts, background) for one in crystals]
    under = [background] * len(crystals)
    if len(crystals) > 1:
        images = [
            _image(one, _photons(s), background) for one, s in zip(crystals, solved, strict=True)
        ]
        under = [background + sum(i for i in images if i is not own) for own in images]
        solved = [_solved(one, counts, b) for one, b in zip(crystals, under, strict=True)]
    each = zip(crystals, solved, under, strict=True)
    return [_table(one, found, counts, b) for one, found, b in each]


@dataclasses.dataclass(frozen=True, eq=False)
class _Solution:
    """Photons of all predicted reflections, by what they scatter, and the frame's scale.

    `sigma` follows the counts. `prior` does not: it is what reflections of expected photons scatter
    by; and `alone`, what they would if none overlapped. Averages weighed by `sigma` would be too
    low, since fewer counts have smaller ones.
    """

    intensity: Floats
    sigma: Floats
    prior: Floats
    alone: Floats
    scale: float


def _photons(solution: _Solution) -> Floats:
    """Return what reflections add to the background of other crystals."""
    return np.where(np.isfinite(solution.sigma), np.maximum(solution.intensity, 0), 0)


def _image(
    predicted: PredictedReflections, photons: Floats, like: NDArray[np.float32]
) -> NDArray[np.float32]:
    image = np.zeros(like.size, np.float32)
    owner = np.repeat(np.arange(len(predicted)), np.diff(predicted.first))
    np.add.at(image, predicted.pixels, (photons[owner] * predicted.shares).astype(np.float32))
    return image.reshape(like.shape)


def _solved(
    predicted: PredictedReflections, counts: NDArray[np.int32], background: NDArray[np.float32]
) -> _Solution:
    """Solve for all photons, and learn from the frame what is expected of them."""
    n = len(predicted)
    sigma, prior, alone = np.full((3, n), np.inf)
    if not n:
        return _Solution(np.zeros(n), sigma, prior, alone, 0.0)
    feet = predicted.first, predicted.pixels, predicted.shares
    groups = kernel.overlaps(*feet, counts.size)
    model = predicted.weight * predicted.mean_f_squared
    scale = least = LEAST_PHOTONS / float(model.sum())
    found = _Solution(scale * model, sigma, prior, alone, scale)
    for _ in range(_ROUNDS):
        kernel.solve(
            *feet, groups, counts.ravel(), background.ravel(), scale * model,
            found.intensity, found.sigma, found.prior, found.alone,
        )  # fmt: skip
        good = np.isfinite(found.prior)
        before = scale
        # Intensities are distributed exponentially about the model's: E² on top of what counts do.
        variance = found.prior**2 + (scale * model) ** 2
        scale = max(_scale(model[good], found.intensity[good], variance[good]), least)
        if abs(scale - before) < 0.05 * before:
            break
    return dataclasses.replace(found, scale=scale)


def _table(
    predicted: PredictedReflections,
    found: _Solution,
    counts: NDArray[np.int32],
    background: NDArray[np.float32],
) -> tuple[NDArray[np.void], float]:
    """Put together what is said of each reflection."""
    table = np.zeros(len(predicted), REFLECTION_DTYPE)
    sums = np.zeros((len(predicted), 5))
    feet = predicted.first, predicted.pixels, predicted.shares
    kernel.footprint_sums(*feet, counts.ravel(), background.ravel(), sums)
    for column, name in enumerate("hkl"):
        table[name] = predicted.hkl[:, column]
    for name in ("fs", "ss", "resolution_a", "weight", "polarisation", "partiality", "f_squared"):
        table[name] = getattr(predicted, name)
    table["intensity"], table["sigma"] = found.intensity, found.sigma
    for column, name in enumerate(("covered", "counted", "background", "n_pixels", "maximum")):
        table[name] = sums[:, column]
    keep = np.isfinite(found.prior) & (found.prior <= MOST_INFLATED * found.alone)
    keep &= table["covered"] * predicted.partiality >= LEAST_COVERED * predicted.attainable
    scale = found.scale
    table["expected"] = scale * predicted.weight * predicted.mean_f_squared
    known = keep & np.isfinite(predicted.f_squared)
    if known.any():
        strength = predicted.weight * predicted.f_squared
        # What the background does, and the reflection's own photons.
        under = np.maximum(found.prior**2 - table["expected"], 1e-9)[known]
        for _ in range(_ROUNDS):
            variance = under + scale * strength[known]
            scale = max(_scale(strength[known], found.intensity[known], variance), 0.0)
        table["expected"] = scale * strength
    return table[keep], scale


def _scale(model: Floats, intensity: Floats, variance: Floats) -> float:
    """Factor that fits a model to intensities, each by what it scatters by."""
    weight = model / variance
    total = float((weight * model).sum())
    return float((weight * intensity).sum()) / total if total > 0 else 0.0


def spread_evidence(
    predicted: PredictedReflections, counts: NDArray[np.int32], background: NDArray[np.float32]
) -> float:
    """Log likelihood ratio of a frame with these footprints to one without a crystal.

    By it, of predictions whose spots are spread differently, the best is chosen. Intensities that
    few photons tell are those expected, so that wide footprints gain nothing by holding more noise.
    """
    found = _solved(predicted, counts, background)
    if not len(predicted):
        return 0.0
    expected = found.scale * predicted.weight * predicted.mean_f_squared
    trust = expected**2 / np.maximum(expected**2 + found.prior**2, 1e-18)
    photons = np.maximum(expected + trust * (found.intensity - expected), 0.0)
    feet = predicted.first, predicted.pixels, predicted.shares
    return float(kernel.log_ratio(*feet, counts.ravel(), background.ravel(), photons))

"""Measure the reflections of a crystal in a frame."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from hitfinder.indexing.intensities import kernel
from hitfinder.indexing.intensities.prediction import PredictedReflections

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
"""Share of a reflection, on pixels that are read and inside the band, that is worth a value."""

MOST_INFLATED = 5.0
"""Factor by which overlap may enlarge a standard deviation: beyond, nothing tells two apart."""

LEAST_PHOTONS = 0.5
"""Bragg photons that a frame is taken to have in all, at least."""

_ROUNDS = 4


def measure(
    predicted: PredictedReflections,
    counts: NDArray[np.int32],
    background: NDArray[np.float32],
) -> tuple[NDArray[np.void], float]:
    """Measure the photons of predicted reflections, those that overlap together.

    Parameters
    ----------
    predicted : PredictedReflections
        The reflections.
    counts : ndarray of int32, shape of a frame
        Counts, negative where there is no reading.
    background : ndarray of float32, shape of a frame
        Expected background of each pixel, in photons.

    Returns
    -------
    reflections : structured ndarray of REFLECTION_DTYPE
        Those that can be told from others and are covered by pixels that are read.
    scale : float
        Photons for each weight and e² of |F|², by which intensities are expected: from the
        structure where it is known, else from an average protein.
    """
    n = len(predicted)
    table = np.zeros(n, REFLECTION_DTYPE)
    if not n:
        return table, 0.0
    feet = predicted.first, predicted.pixels, predicted.shares
    flat = counts.ravel(), background.ravel()
    groups = kernel.overlaps(*feet, counts.size)
    intensity, sigma, alone = np.empty(n), np.empty(n), np.empty(n)
    model = predicted.weight * predicted.mean_f_squared
    # As many photons in all as the footprints hold more than the background, to begin with.
    scale = LEAST_PHOTONS / model.sum()
    for _ in range(_ROUNDS):
        expected = scale * model
        kernel.solve(*feet, groups, *flat, expected, intensity, sigma, alone)
        good = np.isfinite(sigma) & (sigma > 0)
        before, scale = scale, _scale(model[good], intensity[good], sigma[good])
        scale = max(scale, LEAST_PHOTONS / model.sum())
        if abs(scale - before) < 0.05 * before:
            break
    sums = np.zeros((n, 5))
    kernel.footprint_sums(*feet, *flat, sums)
    for column, name in enumerate("hkl"):
        table[name] = predicted.hkl[:, column]
    for name in ("fs", "ss", "resolution_a", "weight", "polarisation", "partiality", "f_squared"):
        table[name] = getattr(predicted, name)
    table["intensity"], table["sigma"] = intensity, sigma
    for column, name in enumerate(("covered", "counted", "background", "n_pixels", "maximum")):
        table[name] = sums[:, column]
    keep = good & (table["covered"] * table["partiality"] >= LEAST_COVERED)
    keep &= sigma <= MOST_INFLATED * alone
    known = keep & np.isfinite(predicted.f_squared)
    strength = predicted.weight * predicted.f_squared
    table["expected"] = scale * model
    if known.any():
        scale = max(_scale(strength[known], intensity[known], sigma[known]), 0.0)
        table["expected"] = scale * strength
    return table[keep], scale


def _scale(model: NDArray, intensity: NDArray, sigma: NDArray) -> float:
    """Factor that fits a model to intensities, each by its standard deviation."""
    weight = model / sigma**2
    total = float((weight * model).sum())
    return float((weight * intensity).sum()) / total if total > 0 else 0.0

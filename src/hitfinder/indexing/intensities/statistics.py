"""What measured reflections come to, by shells of resolution."""

from __future__ import annotations

import dataclasses
import itertools
import math

import numpy as np
from numpy.typing import NDArray

from hitfinder.crystal.lattice import Lattice
from hitfinder.crystal.scale import protein_mean
from hitfinder.indexing.intensities.prediction import half_space

Floats = NDArray[np.float64]

COMPLETE = 0.99
"""Completeness that is asked for."""


@dataclasses.dataclass(frozen=True)
class ShellStatistics:
    """The reflections of a shell of resolution.

    Attributes
    ----------
    d_max_a, d_min_a : float
        Its ends, in Å.
    measured : int
        Reflections of all frames.
    completeness : float
        Share of the unique reflections that are measured.
    multiplicity : float
        How often a unique reflection is measured, on average.
    i_over_sigma : float
        Mean of intensity over standard deviation, of single measurements.
    merged_i_over_sigma : float
        Mean intensity over the standard deviation of a merged one.
    wilson : float
        ln of the mean of intensity over weight and over that of an average protein at rest; NaN
        where the mean is not positive.
    correlation : float
        Of the intensities with those expected of the structure; NaN where it is not known.
    """

    d_max_a: float
    d_min_a: float
    measured: int
    completeness: float
    multiplicity: float
    i_over_sigma: float
    merged_i_over_sigma: float
    wilson: float
    correlation: float

    def frames_needed(self, frames: int) -> float:
        """Return how many frames make the shell `COMPLETE`, if so many gave what there is.

        As many measurements as there are fall on each reflection by Poisson's law.
        """
        if self.multiplicity <= 0:
            return math.inf
        return frames * -math.log(1 - COMPLETE) / self.multiplicity


def by_shell(
    lattice: Lattice,
    hkl: NDArray[np.integer],
    intensity: Floats,
    sigma: Floats,
    weight: Floats,
    expected: Floats,
    n_shells: int = 8,
) -> list[ShellStatistics]:
    """Describe reflections by shells of resolution of equal volume.

    Reflections that the lattice's rotations or Friedel's law make equal are taken for one. The
    crystal may have less symmetry than its lattice.

    Parameters
    ----------
    lattice : Lattice
        Of the crystals.
    hkl : ndarray of int, shape (n, 3)
        Indices.
    intensity, sigma, weight, expected : ndarray, shape (n,)
        Of each, as measured.
    n_shells : int
        Shells.
    """
    if not len(hkl):
        return []
    reciprocal = lattice.cell.reciprocal
    inv_d = np.linalg.norm(hkl @ reciprocal.T, axis=1)
    every = half_space(lattice, float(inv_d.max()) * (1 + 1e-9)).astype(int)
    all_inv_d = np.linalg.norm(every @ reciprocal.T, axis=1)
    every_code, code = unique_codes(lattice, every), unique_codes(lattice, hkl)
    cubes = np.linspace(inv_d.min() ** 3, inv_d.max() ** 3, n_shells + 1)
    edges = np.cbrt(cubes) * np.linspace(1 - 1e-6, 1 + 1e-6, n_shells + 1)
    told = []
    for low, high in itertools.pairwise(edges):
        some = (inv_d > low) & (inv_d <= high)
        possible = len(np.unique(every_code[(all_inv_d > low) & (all_inv_d <= high)]))
        if not some.any() or not possible:
            continue
        seen = len(np.unique(code[some]))
        value, error = intensity[some] / weight[some], sigma[some] / weight[some]
        rest = protein_mean(lattice.cell, inv_d[some] ** 2 / 4)
        multiplicity = some.sum() / possible
        ratio = float((value / rest).mean())
        known = some & np.isfinite(expected)
        pair = expected[known], intensity[known]
        told.append(
            ShellStatistics(
                1 / float(low),
                1 / float(high),
                int(some.sum()),
                seen / possible,
                float(multiplicity),
                float((intensity[some] / sigma[some]).mean()),
                float(value.mean() / np.sqrt((error**2).mean()) * np.sqrt(some.sum() / seen)),
                math.log(ratio) if ratio > 0 else math.nan,
                float(np.corrcoef(*pair)[0, 1]) if known.sum() > 2 else math.nan,
            )
        )
    return told


def unique_codes(lattice: Lattice, hkl: NDArray[np.integer]) -> NDArray[np.int64]:
    """Return a number for each reflection, the same for those the lattice makes equal."""
    reciprocal = lattice.cell.reciprocal
    best = np.full(len(hkl), np.iinfo(np.int64).min)
    for turn in lattice.rotations:
        index = np.linalg.inv(reciprocal) @ turn @ reciprocal
        turned = np.rint(hkl @ index.T).astype(np.int64)
        for sign in (1, -1):
            h, k, el = sign * turned.T + (1 << 15)
            best = np.maximum(best, (h << 32) | (k << 16) | el)
    return best

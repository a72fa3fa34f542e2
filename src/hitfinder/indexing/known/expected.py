"""How many photons each reflection of a known crystal gives, up to one common factor."""

from __future__ import annotations

import dataclasses

import numpy as np
from numpy.typing import NDArray

from hitfinder.crystal.lattice import Lattice
from hitfinder.crystal.reflections import StructureFactors
from hitfinder.crystal.scale import protein_mean
from hitfinder.indexing.known.band import Band

Floats = NDArray[np.float64]

B_FACTOR_A2 = 25.0
"""Overall B factor where only the cell is known: the median of the Protein Data Bank's entries is
about that."""

_WILSON_SHARES = np.array([0.0, 0.1, 0.25, 0.45, 0.65, 0.8, 0.9, 0.96, 0.99, 0.999, 1.0])
"""Edges of the parts of an exponential distribution, each of which one node stands for."""

MOST = 400_000
"""Reflections that are used, the strongest."""


@dataclasses.dataclass(frozen=True, eq=False)
class ExpectedReflections:
    """All reflections of a crystal, those first that are seen strongest.

    Attributes
    ----------
    vectors : ndarray, shape (n, 3)
        Reciprocal lattice vectors g of the unturned crystal, in Å⁻¹ without 2π.
    lengths : ndarray, shape (n,)
        |g|.
    photons : ndarray, shape (n,)
        Expected photons of a reflection that is excited by the whole of its share of the spectrum,
        polarisation apart, in units such that a frame has one Bragg photon on average over
        orientations.
    seen : ndarray, shape (n,)
        Photons that a reflection has on average where it is excited, as mosaic blocks may be
        turned out of the spectrum.
    hkl : ndarray of int32, shape (n, 3)
        Indices in the conventional cell.
    nodes, weights : ndarray, shape (k,)
        Intensities that a reflection may have, in units of `photons`, and their probabilities:
        one of 1 where |F|² is known, an exponential distribution (Wilson, Acta Cryst. 2, 318,
        1949) where only its mean is.
    """

    vectors: Floats
    lengths: Floats
    photons: Floats
    seen: Floats
    hkl: NDArray[np.int32]
    nodes: Floats
    weights: Floats

    @property
    def is_known(self) -> bool:
        """Whether |F|² itself is known."""
        return len(self.nodes) == 1

    @staticmethod
    def of_structure(factors: StructureFactors, longest: float, band: Band) -> ExpectedReflections:
        """Expect what structure factors say.

        Parameters
        ----------
        factors : StructureFactors
            |F|² and cell.
        longest : float
            Longest |g| on the detector, in Å⁻¹.
        band : Band
            Of the beam.

        Raises
        ------
        ValueError
            If no reflection is that short.
        """
        table = factors.expanded
        hkl = np.concatenate([table.hkl, -table.hkl]).astype(np.int32)
        f_squared = table.f_squared.T.ravel().astype(float)
        reciprocal = factors.cell.reciprocal
        return _sorted(reciprocal, hkl, f_squared, longest, band, np.ones(1), np.ones(1))

    @staticmethod
    def of_lattice(lattice: Lattice, longest: float, band: Band) -> ExpectedReflections:
        """Expect Wilson's statistics for an average protein, where only the cell is known.

        Parameters and errors are those of `of_structure`.
        """
        reciprocal = lattice.cell.reciprocal
        limits = np.floor(longest * np.linalg.norm(lattice.cell.direct, axis=0)).astype(int)
        grids = np.meshgrid(*(np.arange(-n, n + 1) for n in limits), indexing="ij")
        hkl = np.stack(grids, -1).reshape(-1, 3)
        length = np.linalg.norm(hkl @ reciprocal.T, axis=1)
        hkl = hkl[(length > 0) & (length <= longest)]
        # Whole multiples of the primitive axes reflect, whatever the centring.
        primitive = hkl @ reciprocal.T @ np.linalg.inv(lattice.primitive).T
        hkl = hkl[(np.abs(primitive - np.rint(primitive)) < 1e-6).all(axis=1)].astype(np.int32)
        stol2 = ((hkl @ reciprocal.T) ** 2).sum(axis=1) / 4
        mean = protein_mean(lattice.cell, stol2) * np.exp(-2 * B_FACTOR_A2 * stol2)
        return _sorted(reciprocal, hkl, mean, longest, band, *_wilson())


def _wilson() -> tuple[Floats, Floats]:
    """Nodes and weights of an exponential distribution of mean 1: the mean of each part."""
    low, high = 1 - _WILSON_SHARES[:-1], 1 - _WILSON_SHARES[1:]
    edges = -np.log(low), -np.log(np.maximum(high, 1e-300))
    # ∫ x e^-x = -(1 + x) e^-x
    first = (1 + edges[0]) * low - np.where(high > 0, (1 + edges[1]) * high, 0.0)
    return first / (low - high), low - high


def _sorted(
    reciprocal: Floats,
    hkl: NDArray[np.int32],
    f_squared: Floats,
    longest: float,
    band: Band,
    nodes: Floats,
    weights: Floats,
) -> ExpectedReflections:
    vectors = hkl @ reciprocal.T
    lengths = np.linalg.norm(vectors, axis=1)
    keep = (lengths <= longest) & (f_squared > 0)
    if not keep.any():
        raise ValueError("no reflection of the crystal reaches the detector")
    vectors, lengths, hkl, f_squared = vectors[keep], lengths[keep], hkl[keep], f_squared[keep]
    # Photons go as λ² |F|² / g² (docs/physics/bragg.md).
    photons = f_squared / lengths**2
    seen = photons * band.seen(lengths)
    order = np.argsort(-seen, kind="stable")[:MOST]
    scale = float((photons * lengths).sum()) * band.share
    return ExpectedReflections(
        np.ascontiguousarray(vectors[order]),
        lengths[order],
        photons[order] / scale,
        seen[order] / scale,
        hkl[order],
        nodes,
        weights,
    )

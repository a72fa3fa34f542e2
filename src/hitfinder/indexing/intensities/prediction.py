"""Which reflections a crystal of known orientation shows, and which pixels each one lights."""

from __future__ import annotations

import dataclasses
import math

import numpy as np
import scipy.special
from numpy.typing import NDArray

from hitfinder.crystal.lattice import Lattice
from hitfinder.crystal.reflections import Reflections, StructureFactors
from hitfinder.crystal.scale import protein_mean
from hitfinder.geometry.geometry import Geometry
from hitfinder.indexing.known.expected import B_FACTOR_A2
from hitfinder.simulation import footprint
from hitfinder.simulation.beam import Beam, Crystal
from hitfinder.simulation.bragg import paint_reflections
from hitfinder.simulation.panels import PanelArrays
from hitfinder.simulation.radial import polarisation_weights
from hitfinder.simulation.spectrum import tophat
from hitfinder.units import CLASSICAL_ELECTRON_RADIUS_M

Floats = NDArray[np.float64]

SIZE_A = 1e5
"""Edge of the crystal: at 10 µm, lattice points are narrow beside a pixel and the band."""

MOST_REFLECTIONS = 6_000_000
"""Of half of reciprocal space; of a larger cell, fewer orders are looked at."""

_UNIT = 100.0
"""Photons that a reflection of weight 1 is painted with: shares down to 1e-8 are kept."""

_LEAST_WEIGHT = 0.005
_LEAST_SHARE = 2e-4


@dataclasses.dataclass(frozen=True, eq=False)
class PredictedReflections:
    """The reflections of one crystal in one frame, and their footprints.

    Attributes
    ----------
    hkl : ndarray of int32, shape (n, 3)
        Indices in the conventional cell.
    fs, ss : ndarray, shape (n,)
        Centre in the stored frame (pixels, corner convention).
    resolution_a : ndarray, shape (n,)
        d, in Å.
    weight : ndarray, shape (n,)
        Photons for each |F|², polarisation and partiality included, in units of what a wholly
        excited reflection half as long as the longest gives in a beam that is not polarised.
    polarisation : ndarray, shape (n,)
        The factor of polarisation in it.
    partiality : ndarray, shape (n,)
        Share of what the reflection would give if all of it lay inside the band.
    attainable : ndarray, shape (n,)
        The same in the middle of the band: less than 1 where mosaic spread is wider than it.
    mean_f_squared : ndarray, shape (n,)
        |F|² of an average protein in the cell, in e².
    f_squared : ndarray, shape (n,)
        |F|² of the structure, in e²; NaN where it is not known.
    first : ndarray of int64, shape (n + 1,)
        Reflection i has pixels ``first[i]`` up to ``first[i + 1]``.
    pixels : ndarray of int64
        Flat index into the frame, rising within a reflection.
    shares : ndarray
        Share of the reflection's photons in each of these pixels; the sum is below 1 where pixels
        are masked or the panel ends.
    """

    hkl: NDArray[np.int32]
    fs: Floats
    ss: Floats
    resolution_a: Floats
    weight: Floats
    polarisation: Floats
    partiality: Floats
    attainable: Floats
    mean_f_squared: Floats
    f_squared: Floats
    first: NDArray[np.int64]
    pixels: NDArray[np.int64]
    shares: Floats

    def __len__(self) -> int:
        return len(self.fs)


@dataclasses.dataclass(frozen=True, eq=False)
class ReflectionModel:
    """A crystal's reflections in the beam of one geometry, whatever its orientation.

    Attributes
    ----------
    lattice : Lattice
        The crystal's.
    geometry : Geometry
        Detector and beam.
    unit : StructureFactors
        Every lattice point that reaches the detector, of |F|² 1.
    mean_f_squared : ndarray, shape (m,)
        |F|² of an average protein, for the rows of ``unit.expanded``.
    f_squared : ndarray, shape (m, 2)
        |F|² of the structure for the same rows and their Friedel mates; NaN where not known.
    beam : Beam
        The pulse, its fluence such that a reflection of weight 1 is painted with 100 photons.
    panels : PanelArrays
        Of the geometry.
    active : ndarray of bool, shape of a frame
        Pixels that count.
    """

    lattice: Lattice
    geometry: Geometry
    unit: StructureFactors
    mean_f_squared: Floats
    f_squared: Floats
    beam: Beam
    panels: PanelArrays
    active: NDArray[np.bool_]

    @staticmethod
    def of(
        lattice: Lattice,
        geometry: Geometry,
        *,
        factors: StructureFactors | None = None,
        bandwidth: float = 0.01,
    ) -> ReflectionModel:
        """Prepare for a crystal.

        Parameters
        ----------
        lattice : Lattice
            The crystal's.
        geometry : Geometry
            Detector and beam.
        factors : StructureFactors, optional
            Its |F|², on the lattice's cell.
        bandwidth : float
            Relative bandwidth of the beam, full width.

        Raises
        ------
        ValueError
            If the bandwidth is not above 0, or no reflection reaches the detector.
        """
        if not 0 < bandwidth <= 0.2:
            raise ValueError(f"bandwidth must be above 0 and at most 0.2, got {bandwidth}")
        panels = PanelArrays.of(geometry)
        spectrum = tophat(geometry.photon_energy_ev, bandwidth)
        longest = 2 * spectrum.k_high * panels.largest_t() * 1.005
        hkl = half_space(lattice, longest)
        if not len(hkl):
            raise ValueError("no reflection of the crystal reaches the detector")
        unit = StructureFactors(lattice.cell, "P 1", hkl, np.ones(len(hkl)), source="lattice")
        stol2 = unit.expanded.inv_d_squared / 4
        mean = protein_mean(lattice.cell, stol2) * np.exp(-2 * B_FACTOR_A2 * stol2)
        known = np.full((len(hkl), 2), np.nan)
        if factors is not None:
            known = _looked_up(unit.expanded, factors)
        whole = lattice.cell.volume_a3
        density = 1 / (spectrum.k_high - spectrum.k_low)
        # N = 2 I_k r_e² |F|² V P / (V_cell² g²), by sin θ = g / 2k (docs/physics/bragg.md).
        strength = _UNIT * (0.5 * longest) ** 2 / (2 * density)
        fluence = strength * whole**2 / (CLASSICAL_ELECTRON_RADIUS_M**2 * SIZE_A**3)
        beam = Beam(spectrum, fluence, geometry.polarisation)
        active = ~geometry.detector.full_mask
        return ReflectionModel(lattice, geometry, unit, mean, known, beam, panels, active)

    def predict(
        self, axes: Floats, spread_px: float, mosaicity_rad: float = 0.0
    ) -> PredictedReflections:
        """List the reflections that an orientation brings into the band and onto the detector.

        Parameters
        ----------
        axes : ndarray, shape (3, 3)
            Reciprocal axes of the conventional cell as columns, in Å⁻¹.
        spread_px : float
            Standard deviation of what blurs spots alike: the detector's point spread, and how far
            they lie from where they are predicted.
        mosaicity_rad : float
            Standard deviation of the turns of mosaic blocks, in rad.
        """
        crystal = Crystal(axes, (SIZE_A,) * 3, mosaicity_rad=mosaicity_rad)
        least = np.array(0.5 * self._longest)
        rows, values, first, pixels, photons = paint_reflections(
            self.unit,
            self.geometry,
            self.beam,
            crystal,
            psf_px=spread_px,
            min_photons=_LEAST_WEIGHT * _UNIT * float(self._attainable(least, mosaicity_rad)),
            panels=self.panels,
            active=self.active,
        )
        total = values[:, footprint.TOTAL]
        owner = np.repeat(np.arange(len(rows)), np.diff(first))
        shares = photons / total[owner]
        keep = np.flatnonzero(shares > _LEAST_SHARE)
        keep = keep[np.lexsort((pixels[keep], owner[keep]))]
        first = np.searchsorted(owner[keep], np.arange(len(rows) + 1))
        sign = np.where(rows % 2, -1, 1)[:, None]
        hkl = self.unit.expanded.hkl[rows // 2].astype(np.int32) * sign.astype(np.int32)
        polarisation = self._polarisation(axes, hkl, values[:, footprint.K])
        inv_d2 = values[:, footprint.INV_D2]
        whole = self._whole(inv_d2) * polarisation
        return PredictedReflections(
            hkl,
            values[:, footprint.FS],
            values[:, footprint.SS],
            1 / np.sqrt(inv_d2),
            total / _UNIT,
            polarisation,
            total / whole,
            self._attainable(np.sqrt(inv_d2), mosaicity_rad),
            self.mean_f_squared[rows // 2],
            self.f_squared[rows // 2, rows % 2],
            first,
            pixels[keep],
            shares[keep],
        )

    def _whole(self, inv_d2: Floats) -> Floats:
        """Photons that are painted of wholly excited reflections, polarisation apart."""
        return _UNIT * (0.5 * self._longest) ** 2 / inv_d2

    @property
    def _longest(self) -> float:
        """Length of the longest reciprocal lattice vector that reaches the detector, in Å⁻¹."""
        return 2 * self.beam.spectrum.k_high * self.panels.largest_t() * 1.005

    def _attainable(self, inv_d: Floats, mosaicity_rad: float) -> Floats:
        """Share of a reflection in the middle of the band that lies inside it.

        The band is a shell between two of Ewald's spheres, |q|²/2 (1/k_low - 1/k_high) thick;
        turns of mosaic blocks move a lattice point through it by |q| cos θ.
        """
        if mosaicity_rad == 0:
            return np.ones_like(inv_d)
        spectrum = self.beam.spectrum
        thick = 0.5 * inv_d**2 * (1 / spectrum.k_low - 1 / spectrum.k_high)
        sine = np.minimum(0.5 * inv_d / spectrum.k_high, 1.0)
        width = mosaicity_rad * inv_d * np.sqrt(1 - sine**2)
        return np.asarray(scipy.special.erf(thick / (math.sqrt(8) * width)))

    def _polarisation(self, axes: Floats, hkl: NDArray[np.int32], k: Floats) -> Floats:
        """Polarisation factor of the directions in which reflections go."""
        ray = hkl @ axes.T / k[:, None]
        px, py = polarisation_weights(self.beam.polarisation)
        return np.asarray(1 - px * ray[:, 0] ** 2 - py * ray[:, 1] ** 2)


def half_space(lattice: Lattice, longest: float) -> NDArray[np.int16]:
    """List one lattice point of each Friedel pair, up to a length.

    Parameters
    ----------
    lattice : Lattice
        Centring and cell.
    longest : float
        Longest reciprocal lattice vector, in Å⁻¹.

    Returns
    -------
    ndarray of int16, shape (n, 3)
        Indices in the conventional cell.
    """
    cell = lattice.cell
    half_volume = 2 * math.pi / 3 * longest**3 * cell.volume_a3
    longest *= min(1.0, (MOST_REFLECTIONS / half_volume) ** (1 / 3))
    to_primitive = np.linalg.inv(lattice.primitive) @ cell.reciprocal
    most = np.floor(longest * np.linalg.norm(cell.direct, axis=0)).astype(int)
    h, k = np.meshgrid(*(np.arange(-n, n + 1) for n in most[:2]), indexing="ij")
    layers = []
    for el in range(most[2] + 1):
        layer = np.stack([h.ravel(), k.ravel(), np.full(h.size, el)], 1)
        if el == 0:
            layer = layer[(layer[:, 1] > 0) | ((layer[:, 1] == 0) & (layer[:, 0] > 0))]
        layer = layer[np.linalg.norm(layer @ cell.reciprocal.T, axis=1) <= longest]
        index = layer @ to_primitive.T
        layers.append(layer[(np.abs(index - np.rint(index)) < 1e-6).all(axis=1)].astype(np.int16))
    return np.concatenate(layers)


def _looked_up(points: Reflections, factors: StructureFactors) -> Floats:
    """|F|² of a structure at lattice points: 0 where it is forbidden, NaN beyond the table."""
    table = factors.expanded
    known = np.zeros((len(points.hkl), 2))
    codes, wanted = (_codes(reflections.hkl) for reflections in (table, points))
    order = np.argsort(codes)
    at = order[np.minimum(np.searchsorted(codes, wanted, sorter=order), len(order) - 1)]
    there = codes[at] == wanted
    known[there] = table.f_squared[at[there]]
    known[points.inv_d_squared > table.inv_d_squared[-1]] = np.nan
    return known


def _codes(hkl: NDArray[np.int16]) -> NDArray[np.int64]:
    """One integer for each hkl."""
    h, k, el = hkl.astype(np.int64).T + (1 << 15)
    return (h << 32) | (k << 16) | el

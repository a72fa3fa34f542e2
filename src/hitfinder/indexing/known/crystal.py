"""A known crystal on a detector: what its reflections and the detector look like to the search."""

from __future__ import annotations

import dataclasses
import math

import numba
import numpy as np
from numpy.typing import NDArray

from hitfinder.crystal.lattice import Lattice
from hitfinder.crystal.reflections import StructureFactors
from hitfinder.geometry.geometry import Geometry
from hitfinder.indexing.known.band import Band
from hitfinder.indexing.known.expected import ExpectedReflections
from hitfinder.simulation.panels import PanelArrays, locate

Floats = NDArray[np.float64]

_SEEDS, _VOTING, _FIRST, _JUDGING = 17_500, 10_000, 12_000, 45_000
"""Strongest reflections that make families, that bright pixels vote for, by which hypotheses are
judged first, and by which the better ones are judged and refined."""

MOST_MOSAICITY_DEG = 1.0
"""Largest mosaicity that is searched for: such a crystal has spots that are tens of pixels long."""

_LOOKUP_PX = 2.0
_DIRECTION = np.array([1.0, 0.618034, 0.314159])


def _strongest(expected: ExpectedReflections, most: int, band: Band) -> tuple:
    """Return the strongest reflections as `predict` takes them, for a band of wavenumbers."""
    vectors, lengths = expected.vectors[:most], expected.lengths[:most]
    padded = np.zeros((5, -(-len(lengths) // 8) * 8), np.float32)
    padded[3] = 1.0
    padded[:3, : len(lengths)] = vectors.T
    padded[3:, : len(lengths)] = band.limits(lengths)
    photons = expected.photons[:most]
    return np.ascontiguousarray(vectors), lengths, photons, padded, band.shell


@dataclasses.dataclass(frozen=True, eq=False)
class KnownCrystal:
    """A crystal whose cell, and perhaps structure, is known, in the beam of one geometry.

    Attributes
    ----------
    lattice : Lattice
        The crystal's.
    geometry : Geometry
        Detector and beam.
    expected : ExpectedReflections
        Its reflections.
    first, judging : tuple
        The very strongest reflections, and the strongest, as `predict` takes them.
    seeds : ndarray of int
        Reflections that may be put on pixels, unique up to the lattice's rotations.
    directions : ndarray of float32, shape (*frame, 3)
        Unit vector of the momentum transfer at each pixel.
    lengths : ndarray of float32, shape of a frame
        Its length, in Å⁻¹.
    detector : tuple
        As `predict` takes it.
    band : Band
        Wavenumbers of the beam, and the mosaicity.
    unit_vectors : ndarray, shape (n, 3)
        Directions of the strongest reflections.
    voting : tuple
        The strongest reflections as `hitfinder.indexing.known.families.vote` takes them.
    """

    lattice: Lattice
    geometry: Geometry
    expected: ExpectedReflections
    first: tuple
    judging: tuple
    seeds: NDArray[np.int64]
    directions: NDArray[np.float32]
    lengths: NDArray[np.float32]
    detector: tuple
    band: Band
    unit_vectors: Floats
    voting: tuple

    @staticmethod
    def of(
        lattice: Lattice,
        geometry: Geometry,
        *,
        factors: StructureFactors | None = None,
        bandwidth: float = 0.01,
        mosaicity_deg: float = 0.0,
    ) -> KnownCrystal:
        """Prepare for a crystal.

        Parameters
        ----------
        lattice : Lattice
            The crystal's.
        geometry : Geometry
            Detector and beam.
        factors : StructureFactors, optional
            Its |F|², on the lattice's cell; without, Wilson's statistics are taken.
        bandwidth : float
            Relative bandwidth of the beam, full width.
        mosaicity_deg : float
            Standard deviation of the turns of the crystal's mosaic blocks about any axis, in
            degrees.

        Raises
        ------
        ValueError
            If the bandwidth is not between 0 and 0.2, the mosaicity not between 0 and
            `MOST_MOSAICITY_DEG`, or no reflection reaches the detector.
        """
        if not 0 < bandwidth <= 0.2:
            raise ValueError(f"bandwidth must be above 0 and at most 0.2, got {bandwidth}")
        if not 0 <= mosaicity_deg <= MOST_MOSAICITY_DEG:
            what = f"mosaicity must be in 0 to {MOST_MOSAICITY_DEG:g} degrees, got {mosaicity_deg}"
            raise ValueError(what)
        band = Band(geometry.wavelength_a, bandwidth, math.radians(mosaicity_deg))
        directions, lengths = _momentum(geometry)
        longest = float(np.nanmax(lengths[lengths < np.inf])) * (1 + 0.5 * bandwidth)
        if factors is None:
            expected = ExpectedReflections.of_lattice(lattice, longest, band)
        else:
            expected = ExpectedReflections.of_structure(factors, longest, band)
        top, lengths_of_top = expected.vectors[:_SEEDS], expected.lengths[:_SEEDS]
        highest = np.max([top @ turn.T @ _DIRECTION for turn in lattice.rotations], axis=0)
        units = top / lengths_of_top[:, None]
        panels = PanelArrays.of(geometry)
        return KnownCrystal(
            lattice,
            geometry,
            expected,
            _strongest(expected, _FIRST, band),
            _strongest(expected, _JUDGING, band),
            np.flatnonzero(top @ _DIRECTION >= highest - 1e-9),
            directions,
            lengths,
            (panel_lookup(geometry, panels), panels.inverse, panels.extent),
            band,
            units,
            (units[:_VOTING], lengths_of_top[:_VOTING], np.log(expected.seen[:_VOTING])),
        )

    @property
    def pixels_a_rad(self) -> float:
        """Pixels by which spots move at most as the crystal turns: a mirror turns rays by twice."""
        pixel = min(panel.pixel_size_m for panel in self.geometry.detector)
        return 2.0 * self.geometry.camera_length_m / pixel

    def length_tolerance(self, lengths: Floats) -> Floats:
        """Return how far from a reflection's length its photons may lie, in Å⁻¹."""
        return 0.52 * self.band.bandwidth * lengths + 0.7 * self.geometry.pixel_inv_a

    def direction_tolerance(self, lengths: Floats) -> Floats:
        """Return how far a pixel's direction may be off about the beam, in rad.

        That is half a pixel and a standard deviation of mosaic turns, in quadrature as neither
        depends on the other.
        """
        pixel = self.geometry.pixel_inv_a
        return np.hypot(0.5 * pixel / np.maximum(lengths, pixel), self.band.mosaicity_rad)

    @property
    def radial_tolerance(self) -> float:
        """How far a pixel's direction may be off away from the beam, in rad: as about it."""
        return float(np.hypot(0.5 / self.pixels_a_rad, self.band.mosaicity_rad))


def _momentum(geometry: Geometry) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Direction and length of the momentum transfer at each pixel; length inf on no panel."""
    ss, fs = np.mgrid[: geometry.shape[0], : geometry.shape[1]] + 0.5
    vectors = geometry.scattering_vectors(fs.ravel(), ss.ravel())
    lengths = np.linalg.norm(vectors, axis=1)
    with np.errstate(invalid="ignore", divide="ignore"):
        directions = np.nan_to_num(vectors / lengths[:, None]).astype(np.float32)
    lengths = np.where(np.isfinite(lengths), lengths, np.inf).astype(np.float32)
    return directions.reshape(*geometry.shape, 3), lengths.reshape(geometry.shape)


def panel_lookup(geometry: Geometry, panels: PanelArrays) -> tuple:
    """Say which panel a direction from the sample hits, by cells of x/z and y/z.

    Returns
    -------
    tuple
        (panel of each cell or -1 as int16, x/z and y/z of the first corner, cells per unit).
    """
    sides = np.array([[0, 0], [1, 0], [0, 1], [1, 1]]) * panels.extent[:, None, 2:]
    points = panels.axes[:, None, 0] + np.einsum("nij,njk->nik", sides, panels.axes[:, 1:])
    ahead = points[..., 2] > 0
    slopes = points[..., :2][ahead] / points[..., 2:][ahead]
    (left, top), (right, bottom) = slopes.min(axis=0), slopes.max(axis=0)
    pixel = min(panel.pixel_size_m for panel in geometry.detector)
    per_unit = geometry.camera_length_m / (_LOOKUP_PX * pixel)
    per_unit = min(per_unit, 4000 / max(right - left, bottom - top))
    shape = (math.ceil((bottom - top) * per_unit) + 1, math.ceil((right - left) * per_unit) + 1)
    cells = np.empty(shape, np.int16)
    _fill_lookup(cells, left, top, per_unit, panels.inverse, panels.extent)
    return cells, left, top, per_unit


@numba.njit(cache=True, nogil=True)
def _fill_lookup(cells, left, top, per_unit, inverse, extent):  # type: ignore[no-untyped-def]
    for row in range(cells.shape[0]):
        y = top + (row + 0.5) / per_unit
        for column in range(cells.shape[1]):
            x = left + (column + 0.5) / per_unit
            cells[row, column] = locate(inverse, extent, x, y, 1.0)[0]

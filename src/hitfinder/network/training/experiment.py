"""Imaginary experiments for training: crystal, beam and detector drawn from wide ranges."""

from __future__ import annotations

import dataclasses
import functools
import math

import numpy as np
from numpy.typing import NDArray

from hitfinder.crystal.cell import Cell
from hitfinder.crystal.compute import random_structure_factors
from hitfinder.crystal.reflections import StructureFactors
from hitfinder.crystal.tables import packaged_structure_factors
from hitfinder.geometry.detector import Detector, Panel
from hitfinder.geometry.geometry import Geometry

PHOTON_ENERGY_EV = (5000.0, 14000.0)
CAMERA_LENGTH_M = (0.08, 0.6)
CELL_A = (30.0, 250.0)
EDGE_PX = (700, 1100)
"""Ranges of photon energy, camera length, cell edges, and of the sides of the frames that the
network learns from."""

_PIXELS_M = (75e-6, 75e-6, 75e-6, 172e-6, 100e-6, 50e-6)
_MOST_REFLECTIONS = 150_000
_OWN_CRYSTAL = 0.05


@dataclasses.dataclass(frozen=True, eq=False)
class DrawnExperiment:
    """What a few frames have in common.

    Attributes
    ----------
    geometry : Geometry
        Where the pixels truly are.
    assumed : Geometry
        Where the finder is told they are: the beam centre is a pixel or so off, a tilt unknown.
    factors : StructureFactors
        The crystal.
    bandwidth : float
        Relative bandwidth of the beam.
    divergence_rad, mosaicity_rad : float
        Standard deviations, in rad.
    size_um : float
        Edge of the crystals, in µm.
    psf_px : float
        Standard deviation of the point spread, in pixels.
    """

    geometry: Geometry
    assumed: Geometry
    factors: StructureFactors
    bandwidth: float
    divergence_rad: float
    mosaicity_rad: float
    size_um: float
    psf_px: float


def log_uniform(rng: np.random.Generator, low: float, high: float) -> float:
    """Draw a number whose logarithm is uniform."""
    return math.exp(rng.uniform(math.log(low), math.log(high)))


def draw_experiment(
    rng: np.random.Generator, edge_px: tuple[int, int] = EDGE_PX
) -> DrawnExperiment:
    """Draw an experiment; the sides of its frames are in the range `edge_px`.

    Half of the detectors have a point spread, half of the crystals mosaicity, so that spots of
    less than a pixel, of several, and long streaks are all common.
    """
    energy = log_uniform(rng, *PHOTON_ENERGY_EV)
    length = log_uniform(rng, *CAMERA_LENGTH_M)
    pixel = float(rng.choice(_PIXELS_M))
    shape = (int(rng.integers(*edge_px)), int(rng.integers(*edge_px)))
    mask = _gaps(rng, shape)
    center = rng.uniform(-0.4, 1.4, 2) * shape
    tilt = rng.normal(0, 0.02, 2) if rng.random() < 0.3 else np.zeros(2)
    slip = rng.normal(0, 0.7, 2)
    polarisation = 1.0 if rng.random() < 0.7 else 0.5

    def place(center: NDArray, tilt: NDArray) -> Geometry:
        panel = Panel(
            "p0", 0, 0, shape[1], shape[0], -center[1], -center[0],
            (math.cos(tilt[0]), 0.0, math.sin(tilt[0])),
            (0.0, math.cos(tilt[1]), math.sin(tilt[1])),
            pixel_size_m=pixel,
        )  # fmt: skip
        return Geometry(Detector("drawn", shape, (panel,), mask), length, energy, polarisation)

    geometry = place(center, tilt)
    return DrawnExperiment(
        geometry,
        place(center + slip, np.zeros(2)),
        _draw_crystal(rng, geometry),
        bandwidth=log_uniform(rng, 5e-4, 0.03),
        divergence_rad=log_uniform(rng, 1e-5, 1e-3) if rng.random() < 0.3 else 0.0,
        mosaicity_rad=log_uniform(rng, 3e-5, 8e-3) if rng.random() < 0.5 else 0.0,
        size_um=log_uniform(rng, 1, 50),
        psf_px=float(rng.uniform(0.2, 1.3)) if rng.random() < 0.5 else 0.0,
    )


def _gaps(rng: np.random.Generator, shape: tuple[int, int]) -> NDArray[np.bool_]:
    """Mask gaps between modules, and a few dead pixels."""
    mask = rng.random(shape) < (log_uniform(rng, 1e-6, 1e-3) if rng.random() < 0.5 else 0.0)
    for axis in (0, 1):
        if rng.random() < 0.5:
            start, width = int(rng.integers(0, shape[axis])), int(rng.integers(2, 40))
            where = slice(start, start + width)
            mask[(where, slice(None)) if axis == 0 else (slice(None), where)] = True
    return mask


@functools.lru_cache(maxsize=1)
def _packaged() -> StructureFactors:
    return packaged_structure_factors()


def _draw_crystal(rng: np.random.Generator, geometry: Geometry) -> StructureFactors:
    """Draw a crystal of any system, to the resolution the detector can see."""
    if rng.random() < _OWN_CRYSTAL:
        return _packaged()
    a, b, c = (log_uniform(rng, *CELL_A) for _ in range(3))
    triclinic = tuple(rng.uniform(75, 105, 3))
    cells: dict[str, tuple[float, ...]] = {
        "P 1": (a, b, c, *triclinic),
        "C 1 2 1": (a, b, c, 90, float(rng.uniform(91, 115)), 90),
        "P 21 21 21": (a, b, c, 90, 90, 90),
        "P 43 21 2": (a, a, c, 90, 90, 90),
        "P 61 2 2": (a, a, c, 90, 90, 120),
        "I 2 3": (a, a, a, 90, 90, 90),
    }
    name = str(rng.choice(list(cells)))
    cell = Cell(*cells[name])
    # A hemisphere of radius 1/d holds (2π/3) V / d³ reflections.
    coarsest = (2 * math.pi / 3 * cell.volume_a3 / _MOST_REFLECTIONS) ** (1 / 3)
    q = geometry.pixels.q
    seen = 2 * math.pi / float(np.nanmax(q)) if np.isfinite(q).any() else 1.5
    d_min = max(coarsest, min(seen, 6.0), 1.2)
    return random_structure_factors(cell, name, rng, d_min, float(rng.uniform(8, 60)))

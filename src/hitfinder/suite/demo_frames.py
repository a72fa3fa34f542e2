"""The frames of the demo, and what is in them."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from hitfinder.crystal.orientation import random_rotation
from hitfinder.crystal.tables import packaged_structure_factors
from hitfinder.export.tables import schema_of, write_table
from hitfinder.geometry.geometry import Geometry
from hitfinder.geometry.named import named_detector
from hitfinder.io.write import NexusWriter
from hitfinder.simulation.background import FixedBackground
from hitfinder.simulation.beam import Beam
from hitfinder.simulation.crystals import turned
from hitfinder.simulation.exposure import Exposure, ScaledSpots
from hitfinder.simulation.rng import FrameRandom
from hitfinder.simulation.simulator import Simulator
from hitfinder.simulation.source import SteadySource
from hitfinder.simulation.spectrum import tophat
from hitfinder.simulation.water import expected_water

# The beam and sample of Everett and Kurth (2024).
DETECTOR = "eiger-4m-report"
PHOTON_ENERGY_EV, CAMERA_LENGTH_M = 6000.0, 0.15
FLUX_PHOTONS, BEAM_RADIUS_M, BANDWIDTH = 3e8, 5e-6, 0.01
CRYSTAL_A, WATER_M = 1e5, 10e-6
FRAMES_PER_FILE = 100
SEED = 20240229
PURPOSES = {"background": 0, "bragg": 1, "crystal": 2}

TRUTH = "truth.parquet"

SPOT_COLUMNS = {
    "frame": ("int64", "1", "number of the frame, from 0"),
    "fs": ("float64", "pixel", "position along fast scan; the first pixel's centre is 0.5"),
    "ss": ("float64", "pixel", "position along slow scan; the first pixel's centre is 0.5"),
    "photons": ("int64", "photon", "photons counted of the spot"),
}
"""Columns of ``truth.parquet``, a row per spot: type, unit, meaning."""
SPOT_DTYPE = np.dtype([(name, kind) for name, (kind, _, _) in SPOT_COLUMNS.items()])


@dataclasses.dataclass(frozen=True, eq=False)
class DemoTruth:
    """What is in the frames.

    Attributes
    ----------
    condition : ndarray of int, shape (n_frames,)
        Number of each frame's condition; -1 for a blank frame.
    spots : ndarray of `SPOT_DTYPE`
        The spots with at least one photon.
    """

    condition: NDArray[np.int64]
    spots: NDArray[np.void]


def simulate(
    master: Path, n_frames: int, conditions: Sequence[tuple[int, float]], *, overwrite: bool
) -> DemoTruth:
    """Write frames as an NXmx series, and the truth beside its folder as ``truth.parquet``.

    Every other frame is blank. Crystals take the conditions in turn, and so do blanks.

    Parameters
    ----------
    master : Path
        Master file to write.
    n_frames : int
        Frames.
    conditions : sequence of (int, float)
        Pulses of background, and share of the Bragg photons.
    overwrite : bool
        Replace a series of this name.
    """
    simulator = _simulator(conditions)
    frame = np.empty(simulator.shape, simulator.dtype)
    number = np.full(n_frames, -1)
    listed = []
    with NexusWriter(
        master, simulator.geometry, frame.dtype, frames_per_file=FRAMES_PER_FILE,
        overwrite=overwrite,
    ) as writer:  # fmt: skip
        for index in range(n_frames):
            exposure = simulator.expose(index)
            exposure.count_background(frame)
            counted = exposure.count_bragg(frame)
            for (spots, _), photons in zip(exposure.spots, counted, strict=True):
                number[index] = exposure.notes["condition"]
                listed.append(_listed(index, spots.table, photons))
            writer.write(frame)
    truth = DemoTruth(number, np.concatenate(listed))
    columns = {name: truth.spots[name] for name in SPOT_COLUMNS}
    write_table(master.parent.parent / TRUTH, schema_of(SPOT_COLUMNS), [columns])
    return truth


class DemoSample:
    """The stage that says what a frame is: its condition, and whether it has a crystal.

    Parameters
    ----------
    conditions : sequence of (int, float)
        Pulses of background, and share of the Bragg photons.
    """

    def __init__(self, conditions: Sequence[tuple[int, float]]) -> None:
        self.conditions = conditions

    def __call__(self, exposure: Exposure) -> None:
        """Set pulses and, in every other frame, a crystal in a random orientation."""
        condition = exposure.number // 2 % len(self.conditions)
        exposure.pulses, share = self.conditions[condition]
        exposure.notes["condition"] = condition
        if exposure.number % 2:
            rng = exposure.random.generator("crystal")
            spots = next(turned(exposure, packaged_structure_factors(), rng, CRYSTAL_A))
            exposure.spots.append(ScaledSpots(spots, share))


def _simulator(conditions: Sequence[tuple[int, float]]) -> Simulator:
    geometry = Geometry(named_detector(DETECTOR), CAMERA_LENGTH_M, PHOTON_ENERGY_EV)
    fluence = FLUX_PHOTONS / (np.pi * BEAM_RADIUS_M**2)
    beam = Beam(tophat(PHOTON_ENERGY_EV, BANDWIDTH), fluence, geometry.polarisation)
    water = expected_water(geometry, FLUX_PHOTONS, WATER_M)
    stages = (SteadySource(beam, FLUX_PHOTONS), DemoSample(conditions), FixedBackground(water))
    return Simulator(geometry, stages, seed=SEED, purposes=PURPOSES)


def axes_of(index: int) -> NDArray[np.float64]:
    """Return the reciprocal axes of a frame's crystal as columns, in Å⁻¹."""
    rng = FrameRandom(SEED, index, purposes=PURPOSES).generator("crystal")
    return random_rotation(rng) @ packaged_structure_factors().cell.reciprocal


def _listed(index: int, table: NDArray[np.void], photons: NDArray[np.int64]) -> NDArray[np.void]:
    spots = np.zeros(len(table), SPOT_DTYPE)
    spots["frame"], spots["fs"], spots["ss"] = index, table["fs"], table["ss"]
    spots["photons"] = photons
    return spots[photons > 0]

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
from hitfinder.simulate.bragg import Beam, BraggSpots, Crystal, bragg_spots
from hitfinder.simulate.noise import poisson_frame
from hitfinder.simulate.rng import frame_seed, random_state
from hitfinder.simulate.spectrum import tophat
from hitfinder.simulate.water import expected_water

# The beam and sample of Everett and Kurth (2024).
DETECTOR = "eiger-4m-report"
PHOTON_ENERGY_EV, CAMERA_LENGTH_M = 6000.0, 0.15
FLUX_PHOTONS, BEAM_RADIUS_M, BANDWIDTH = 3e8, 5e-6, 0.01
CRYSTAL_A, WATER_M = 1e5, 10e-6
FRAMES_PER_FILE = 100
SEED = 20240229

SPOT_COLUMNS = {
    "frame": ("int64", "1", "number of the frame, from 0"),
    "fs": ("float64", "pixel", "position along fast scan; the first pixel's centre is 0.5"),
    "ss": ("float64", "pixel", "position along slow scan; the first pixel's centre is 0.5"),
    "photons": ("int64", "photon", "photons counted of the spot"),
}
"""Columns of ``truth.parquet``, a row per spot: type, unit, meaning."""
SPOT_DTYPE = np.dtype([(name, kind) for name, (kind, _, _) in SPOT_COLUMNS.items()])


@dataclasses.dataclass(frozen=True, eq=False)
class Truth:
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
) -> Truth:
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
    geometry = Geometry(named_detector(DETECTOR), CAMERA_LENGTH_M, PHOTON_ENERGY_EV)
    water = expected_water(geometry, FLUX_PHOTONS, WATER_M)
    frame = np.empty(geometry.shape, np.uint16)
    number = np.full(n_frames, -1)
    listed = []
    with NexusWriter(
        master, geometry, frame.dtype, frames_per_file=FRAMES_PER_FILE, overwrite=overwrite
    ) as writer:
        for index in range(n_frames):
            condition = index // 2 % len(conditions)
            shots, share = conditions[condition]
            poisson_frame(water, random_state(SEED, index, 0), frame, scale=shots)
            if index % 2:
                number[index] = condition
                spots = _crystal(geometry, index)
                photons = spots.count(frame, random_state(SEED, index, 1), share)
                listed.append(_listed(index, spots.table, photons))
            writer.write(frame)
    truth = Truth(number, np.concatenate(listed))
    columns = {name: truth.spots[name] for name in SPOT_COLUMNS}
    write_table(master.parent.parent / "truth.parquet", schema_of(SPOT_COLUMNS), [columns])
    return truth


def axes_of(index: int) -> NDArray[np.float64]:
    """Return the reciprocal axes of a frame's crystal as columns, in Å⁻¹."""
    rotation = random_rotation(np.random.default_rng(frame_seed(SEED, index, 2)))
    return rotation @ packaged_structure_factors().cell.reciprocal


def _crystal(geometry: Geometry, index: int) -> BraggSpots:
    """Spots of a crystal in a random orientation, hit in full."""
    factors = packaged_structure_factors()
    fluence = FLUX_PHOTONS / (np.pi * BEAM_RADIUS_M**2)
    beam = Beam(tophat(geometry.photon_energy_ev, BANDWIDTH), fluence, geometry.polarisation)
    crystal = Crystal(axes_of(index), (CRYSTAL_A, CRYSTAL_A, CRYSTAL_A))
    return bragg_spots(factors, geometry, beam, crystal)


def _listed(index: int, table: NDArray[np.void], photons: NDArray[np.int64]) -> NDArray[np.void]:
    spots = np.zeros(len(table), SPOT_DTYPE)
    spots["frame"], spots["fs"], spots["ss"] = index, table["fs"], table["ss"]
    spots["photons"] = photons
    return spots[photons > 0]

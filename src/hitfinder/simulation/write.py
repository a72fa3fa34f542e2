"""A simulation on disk: an NXmx series, its truth, its geometry and its settings."""

from __future__ import annotations

import contextlib
import logging
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

import hitfinder
from hitfinder import config
from hitfinder.atomic import clear_unfinished, replacing
from hitfinder.crystal.orientation import COLUMNS, to_columns
from hitfinder.errors import OutputError
from hitfinder.executors.contract import Executor, results
from hitfinder.export.tables import schema_of, table_writer
from hitfinder.geometry.crystfel import geom_lines, write_geom
from hitfinder.geometry.geometry import Geometry
from hitfinder.io.write import NexusWriter
from hitfinder.locks import locked
from hitfinder.progress import Advance
from hitfinder.simulation.detector import shot_geometry
from hitfinder.simulation.frame import TRUTH_DTYPE, SimulatedFrame
from hitfinder.simulation.settings import SimulationSettings
from hitfinder.simulation.shot import Shot, ShotCrystal
from hitfinder.simulation.simulator import Simulator
from hitfinder.simulation.workers import FrameNumber, FrameWork

if TYPE_CHECKING:
    import pyarrow as pa

LOGGER = logging.getLogger("hitfinder.simulation")

MASTER, GEOMETRY = "frames_master.h5", "frames.geom"

TRUTH_UNITS = {
    "frame": "1", "crystal": "1", "h": "1", "k": "1", "l": "1", "fs": "pixel", "ss": "pixel",
    "photons": "photon", "counts": "photon", "wavelength_a": "angstrom", "d_a": "angstrom",
    "length_px": "pixel", "width_px": "pixel", "angle_rad": "radian", "peak_photons": "photon",
}  # fmt: skip
"""Columns of ``truth.parquet``, a row per spot, and their units; positions are those of the stored
frame with the first pixel's centre at 0.5."""

SHOT_UNITS = {
    "frame": "1", "blank": "bool", "n_crystals": "1", "n_spots": "1", "bragg_photons": "photon",
    "photon_energy_ev": "eV", "bandwidth": "1", "flux": "photon", "radius_um": "micrometre",
    "divergence_mrad": "milliradian", "camera_length_m": "metre", "beam_fs": "pixel",
    "beam_ss": "pixel", "psf_px": "pixel", "water_um": "micrometre", "temperature_c": "degC",
    "air_m": "metre", "protein_mg_ml": "mg/ml", "ice_um": "micrometre", "uniform": "photon/pixel",
    "shots": "1", "bragg_scale": "1", "hit_fraction": "1", "size_um": "micrometre",
}  # fmt: skip
"""Columns of ``shots.parquet``, a row per frame, and their units, before the reciprocal axes of
the first crystal (``astar_x`` ... ``cstar_z``, m⁻¹; no value in a blank)."""

CRYSTAL_UNITS = {
    "frame": "1", "crystal": "1", "size_um": "micrometre", "mosaicity_deg": "degree",
    "offset_x_um": "micrometre", "offset_y_um": "micrometre", "hit_fraction": "1",
}  # fmt: skip
"""Columns of ``crystals.parquet``, a row per crystal, before its reciprocal axes."""

_INTEGERS = {"frame", "crystal", "h", "k", "l", "counts", "n_crystals", "n_spots", "shots"}


def write_simulation(
    simulator: Simulator,
    settings: SimulationSettings,
    folder: Path,
    executor: Executor,
    *,
    frames_per_file: int,
    overwrite: bool,
    advance: Advance,
) -> None:
    """Simulate the frames of a series and write them to a folder.

    The folder gets ``frames_master.h5`` with its data files, ``truth.parquet``,
    ``shots.parquet``, ``crystals.parquet``, ``frames.geom`` and ``settings.toml``. Each file
    appears under its name only when it is complete, the master last.

    Parameters
    ----------
    simulator : Simulator
        Makes the frames.
    settings : SimulationSettings
        What it was made of.
    folder : Path
        The folder; made if it is not there.
    executor : Executor
        Has the frames made.
    frames_per_file : int
        Frames in a data file.
    overwrite : bool
        Replace the simulation that is in the folder.
    advance : Advance
        Told of each frame.

    Raises
    ------
    HitfinderError
        If the folder cannot be written.
    """
    _tell_what_varies(settings)
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OutputError(f"cannot be made ({error.strerror})", str(folder)) from error
    with locked(folder, "simulation"), executor:
        clear_unfinished(folder)
        writer = NexusWriter(
            folder / MASTER,
            simulator.geometry,
            simulator.dtype,
            frames_per_file=frames_per_file,
            mark_masked=settings.noise,
            overwrite=overwrite,
        )
        with writer:
            _write_frames(simulator, writer, folder, executor, advance)
            _write_rest(simulator, settings, folder)


def _write_rest(simulator: Simulator, settings: SimulationSettings, folder: Path) -> None:
    write_geom(
        folder / GEOMETRY,
        geom_lines(
            simulator.geometry,
            data_path="/entry/data/data",
            adu_per_photon=settings.detector.adu_per_photon if settings.noise else 1,
            comments=(f"hitfinder {hitfinder.__version__} simulate",),
        ),
    )
    with replacing(folder / "settings.toml") as part:
        made = f"# hitfinder {hitfinder.__version__}: {len(simulator)} frames\n"
        part.write_text(made + config.to_toml(settings))


def _tell_what_varies(settings: SimulationSettings) -> None:
    names = ("beam.photon_energy_ev", "detector.camera_length_m")
    varying = [name for name in names if not settings.value(name).is_fixed]
    if varying:
        LOGGER.info(
            "%s from frame to frame: the master and .geom state the middle, shots.parquet each one",
            " and ".join(varying) + (" varies" if len(varying) == 1 else " vary"),
        )


def _write_frames(
    simulator: Simulator,
    writer: NexusWriter,
    folder: Path,
    executor: Executor,
    advance: Advance,
) -> None:
    units = (TRUTH_UNITS, _with_axes(SHOT_UNITS), _with_axes(CRYSTAL_UNITS))
    names = ("truth", "shots", "crystals")
    with contextlib.ExitStack() as stack:
        truth, shots, crystals = (
            stack.enter_context(table_writer(folder / f"{name}.parquet", _schema(columns)))
            for name, columns in zip(names, units, strict=True)
        )
        work, numbers = FrameWork(simulator, writer.packer), map(FrameNumber, range(len(simulator)))
        made = results(executor.run(work, numbers, ordered=True))
        for chunk, frame in made:
            writer.write_packed(chunk)
            truth.add(_truth_columns(frame))
            shots.add(_shot_columns(frame, shot_geometry(simulator.geometry, frame.shot)))
            crystals.add(_crystal_columns(frame.shot))
            advance(1)
        # The tables of an earlier simulation are replaced when this block is left.
        writer.withdraw()


def _with_axes(units: dict[str, str]) -> dict[str, str]:
    return units | dict.fromkeys(COLUMNS, "1/metre")


def _truth_columns(frame: SimulatedFrame) -> dict[str, Any]:
    table = frame.truth
    assert table.dtype.names == TRUTH_DTYPE.names
    numbers = np.full(len(table), frame.shot.frame, np.int64)
    return {"frame": numbers} | {name: table[name] for name in TRUTH_UNITS if name != "frame"}


def _shot_columns(frame: SimulatedFrame, geometry: Geometry) -> dict[str, Any]:
    shot = frame.shot
    first = shot.crystals[0] if shot.crystals else None
    fs, ss = geometry.detector.beam_center or (np.nan, np.nan)
    row = {name: getattr(shot, name) for name in SHOT_UNITS if hasattr(shot, name)} | {
        "blank": shot.is_blank,
        "n_crystals": len(shot.crystals),
        "n_spots": len(frame.truth),
        "bragg_photons": float(frame.truth["photons"].sum()),
        "beam_fs": fs,
        "beam_ss": ss,
        "hit_fraction": first.hit_fraction if first else 0.0,
        "size_um": first.size_um if first else np.nan,
    }
    return {name: [value] for name, value in (row | _axes(first)).items()}


def _crystal_columns(shot: Shot) -> dict[str, Any]:
    rows = [
        {"frame": shot.frame, "crystal": number}
        | {name: getattr(one, name) for name in CRYSTAL_UNITS if hasattr(one, name)}
        | _axes(one)
        for number, one in enumerate(shot.crystals)
    ]
    return {name: [row[name] for row in rows] for name in _with_axes(CRYSTAL_UNITS)}


def _axes(crystal: ShotCrystal | None) -> dict[str, float]:
    if crystal is None:
        return dict.fromkeys(COLUMNS, np.nan)
    return to_columns(crystal.axes)


def _schema(units: dict[str, str]) -> pa.Schema:
    kinds = {name: "int64" if name in _INTEGERS else "float64" for name in units}
    kinds |= {name: "bool_" for name, unit in units.items() if unit == "bool"}
    return schema_of({name: (kinds[name], unit, "") for name, unit in units.items()})

"""A simulation on disk: an NXmx series, its truth, its geometry and its settings."""

from __future__ import annotations

import contextlib
import logging
from pathlib import Path
from typing import Any

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

LOGGER = logging.getLogger("hitfinder.simulation")

MASTER, GEOMETRY = "frames_master.h5", "frames.geom"

TRUTH_COLUMNS = {
    "frame": ("int64", "1", "number of the frame, from 0"),
    "crystal": ("int64", "1", "crystal of the frame, from 0"),
    "h": ("int64", "1", "index h of the reflection"),
    "k": ("int64", "1", "index k of the reflection"),
    "l": ("int64", "1", "index l of the reflection"),
    "fs": ("float64", "pixel", "centre along fast scan; the first pixel's centre is 0.5"),
    "ss": ("float64", "pixel", "centre along slow scan; the first pixel's centre is 0.5"),
    "photons": ("float64", "photon", "photons expected on pixels that count"),
    "counts": ("int64", "photon", "photons drawn, before the detector loses any"),
    "wavelength_a": ("float64", "angstrom", "mean wavelength that the reflection diffracts"),
    "d_a": ("float64", "angstrom", "resolution of the reflection"),
    "length_px": ("float64", "pixel", "rms extent of the spot along its long axis"),
    "width_px": ("float64", "pixel", "rms extent across that axis"),
    "angle_rad": ("float64", "radian", "angle of the long axis from fast scan"),
    "peak_photons": ("float64", "photon", "photons expected on the brightest pixel"),
}
"""Columns of ``truth.parquet``, a row per spot: type, unit, meaning."""

_AXES = {name: ("float64", "1/metre", f"component of {name[0]}*") for name in COLUMNS}

SHOT_COLUMNS = {
    "frame": ("int64", "1", "number of the frame, from 0"),
    "blank": ("bool_", "", "whether the pulse meets no crystal"),
    "n_crystals": ("int64", "1", "crystals that the pulse meets"),
    "n_spots": ("int64", "1", "spots in truth.parquet"),
    "bragg_photons": ("float64", "photon", "photons expected in these spots"),
    "photon_energy_ev": ("float64", "eV", "middle of the spectrum"),
    "bandwidth": ("float64", "1", "relative full width of the spectrum"),
    "flux": ("float64", "photon", "photons of a pulse"),
    "radius_um": (
        "float64",
        "micrometre",
        "radius of a disc, or where a Gaussian beam falls to exp(-2)",
    ),
    "divergence_mrad": (
        "float64",
        "milliradian",
        "standard deviation of the beam's direction about each axis",
    ),
    "camera_length_m": ("float64", "metre", "camera length"),
    "beam_fs": ("float64", "pixel", "beam centre along fast scan; first pixel's centre is 0.5"),
    "beam_ss": ("float64", "pixel", "beam centre along slow scan; first pixel's centre is 0.5"),
    "psf_px": ("float64", "pixel", "standard deviation of the detector's point spread"),
    "water_um": ("float64", "micrometre", "path of the beam in water"),
    "temperature_c": ("float64", "degC", "temperature of the water"),
    "air_m": ("float64", "metre", "path of the beam in air behind the sample"),
    "protein_mg_ml": ("float64", "mg/ml", "protein dissolved in the water"),
    "ice_um": ("float64", "micrometre", "thickness of ice powder"),
    "uniform": ("float64", "photon/pixel", "photons that every pixel gets besides"),
    "shots": ("int64", "1", "pulses whose background the frame sums"),
    "bragg_scale": ("float64", "1", "factor on the Bragg photons"),
    "hit_fraction": ("float64", "1", "mean fluence on the first crystal over that on the axis"),
    "size_um": ("float64", "micrometre", "edge of the first crystal; no value in a blank"),
    **_AXES,
}
"""Columns of ``shots.parquet``, a row per frame: type, unit, meaning. The reciprocal axes are those
of the first crystal and have no value in a blank."""

CRYSTAL_COLUMNS = {
    "frame": ("int64", "1", "number of the frame, from 0"),
    "crystal": ("int64", "1", "crystal of the frame, from 0"),
    "size_um": ("float64", "micrometre", "edge of the crystal"),
    "mosaicity_deg": ("float64", "degree", "standard deviation of the turns of its mosaic blocks"),
    "offset_x_um": ("float64", "micrometre", "how far the crystal lies from the beam along x"),
    "offset_y_um": ("float64", "micrometre", "how far the crystal lies from the beam along y"),
    "hit_fraction": ("float64", "1", "mean fluence on the crystal over that on the beam's axis"),
    **_AXES,
}
"""Columns of ``crystals.parquet``, a row per crystal: type, unit, meaning."""


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
    tables = (TRUTH_COLUMNS, SHOT_COLUMNS, CRYSTAL_COLUMNS)
    names = ("truth", "shots", "crystals")
    with contextlib.ExitStack() as stack:
        truth, shots, crystals = (
            stack.enter_context(table_writer(folder / f"{name}.parquet", schema_of(columns)))
            for name, columns in zip(names, tables, strict=True)
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


def _truth_columns(frame: SimulatedFrame) -> dict[str, Any]:
    table = frame.truth
    assert table.dtype.names == TRUTH_DTYPE.names
    numbers = np.full(len(table), frame.shot.frame, np.int64)
    return {"frame": numbers} | {name: table[name] for name in TRUTH_COLUMNS if name != "frame"}


def _shot_columns(frame: SimulatedFrame, geometry: Geometry) -> dict[str, Any]:
    shot = frame.shot
    first = shot.crystals[0] if shot.crystals else None
    fs, ss = geometry.detector.beam_center or (np.nan, np.nan)
    row = {name: getattr(shot, name) for name in SHOT_COLUMNS if hasattr(shot, name)} | {
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
        | {name: getattr(one, name) for name in CRYSTAL_COLUMNS if hasattr(one, name)}
        | _axes(one)
        for number, one in enumerate(shot.crystals)
    ]
    return {name: [row[name] for row in rows] for name in CRYSTAL_COLUMNS}


def _axes(crystal: ShotCrystal | None) -> dict[str, float]:
    if crystal is None:
        return dict.fromkeys(COLUMNS, np.nan)
    return to_columns(crystal.axes)

"""The tables of a simulation: its spots, shots and crystals."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet

from hitfinder.crystal.orientation import COLUMNS, to_columns
from hitfinder.errors import HitfinderError
from hitfinder.export.tables import schema_of, table_writer
from hitfinder.geometry.geometry import Geometry
from hitfinder.simulation.frame import TRUTH_DTYPE, SimulatedFrame
from hitfinder.simulation.shot import Shot, ShotCrystal

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

TABLES = {"truth": TRUTH_COLUMNS, "shots": SHOT_COLUMNS, "crystals": CRYSTAL_COLUMNS}
"""Columns of each table."""


def table_path(folder: Path, name: str, suffix: str = "") -> Path:
    """Return the path of a table."""
    return folder / f"{name}{suffix}.parquet"


@contextlib.contextmanager
def tables_written(
    folder: Path, suffix: str = ""
) -> Iterator[Callable[[SimulatedFrame, Geometry], None]]:
    """Write the three tables of some frames, each of which appears when it is complete.

    Parameters
    ----------
    folder : Path
        Folder for them.
    suffix : str
        What their names end in.

    Yields
    ------
    callable
        Takes in a frame, and the geometry of its shot.
    """
    with contextlib.ExitStack() as stack:
        truth, shots, crystals = (
            stack.enter_context(table_writer(table_path(folder, name, suffix), schema_of(columns)))
            for name, columns in TABLES.items()
        )

        def add(frame: SimulatedFrame, geometry: Geometry) -> None:
            truth.add(_truth(frame))
            shots.add(_shots(frame, geometry))
            crystals.add(_crystals(frame.shot))

        yield add


def join_tables(folder: Path, parts: Path, suffixes: list[str]) -> None:
    """Join the tables of parts to those of a folder.

    Parameters
    ----------
    folder : Path
        Folder for them.
    parts : Path
        Folder with those of each part.
    suffixes : list of str
        What the names of the parts' end in, in their order.

    Raises
    ------
    HitfinderError
        If one cannot be read.
    """
    with contextlib.ExitStack() as stack:
        for name, columns in TABLES.items():
            writer = table_writer(table_path(folder, name), schema_of(columns))
            table = stack.enter_context(writer)
            for suffix in suffixes:
                for batch in _batches(table_path(parts, name, suffix)):
                    table.add_batch(batch)
            table.flush()


def _batches(path: Path) -> Iterator[pa.RecordBatch]:
    try:
        with pyarrow.parquet.ParquetFile(path) as file:
            yield from file.iter_batches()
    except (OSError, pa.ArrowException) as error:
        hint = f"Remove {path.parent} and give the command again."
        said = str(error).splitlines()[0]
        raise HitfinderError(f"the table cannot be read: {said}", str(path), hint) from error


def _truth(frame: SimulatedFrame) -> dict[str, Any]:
    table = frame.truth
    assert table.dtype.names == TRUTH_DTYPE.names
    numbers = np.full(len(table), frame.shot.frame, np.int64)
    return {"frame": numbers} | {name: table[name] for name in TRUTH_COLUMNS if name != "frame"}


def _shots(frame: SimulatedFrame, geometry: Geometry) -> dict[str, Any]:
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


def _crystals(shot: Shot) -> dict[str, Any]:
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

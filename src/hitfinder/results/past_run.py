"""Results of an earlier `hitfinder run`: its frames as it had them, and its hits."""

from __future__ import annotations

import dataclasses
import json
import os
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pyarrow.parquet
from numpy.typing import NDArray

from hitfinder import config
from hitfinder.errors import ConfigError
from hitfinder.experiment.settings import GeometrySettings
from hitfinder.export.hits import DISTANCE, ENERGY_EV, RESULT
from hitfinder.geometry.crystfel import read_geom
from hitfinder.geometry.geometry import Geometry
from hitfinder.io.source import FrameRef

_AGAIN = "Run hitfinder on the frames again."


class PastRun:
    """The folder of a run. Relative paths in it are taken from where the run was started.

    Parameters
    ----------
    folder : Path
        Folder that `hitfinder run` wrote.

    Raises
    ------
    ConfigError
        If it holds no such results.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        try:
            run = json.loads((folder / "run.json").read_bytes())
            self._settings: dict[str, Any] = dict(run["settings"])
            self._started_in: str = run.get("directory", "")
            table = pyarrow.parquet.read_table(folder / "frames.parquet", columns=["file", "event"])
        except (OSError, ValueError, KeyError, TypeError) as error:
            hint = "Name the folder that `hitfinder run` wrote."
            raise ConfigError("holds no results of a run", str(folder), hint) from error
        self._files: list[str] = table["file"].to_pylist()
        self._events: list[str] = table["event"].to_pylist()

    def _from_here(self, path: str) -> str:
        """Return a path of the run as it is reached from the working directory."""
        there = os.path.join(self._started_in, path)
        if os.path.realpath(there) == os.path.realpath(path):
            return path
        # What was moved together with the working directory is found where it is now.
        return there if os.path.exists(there.partition("//")[0] or there) else path

    def geometry_settings(self) -> GeometrySettings:
        """Return where the run had the pixels."""
        place = {
            name.removeprefix("geometry."): value
            for name, value in self._settings.items()
            if name.startswith("geometry.") and value is not None
        }
        for name in ("file", "mask"):
            if name in place:
                place[name] = self._from_here(place[name])
        return config.build(GeometrySettings, place, str(self._folder / "run.json"))

    def ref(self, row: int) -> FrameRef:
        """Return where a frame of the run is kept.

        Raises
        ------
        ConfigError
            If the run has no such frame.
        """
        if row >= len(self._files):
            what = f"the run has no frame {row}, the last is {len(self._files) - 1}"
            raise ConfigError(what, str(self._folder))
        return FrameRef(self._from_here(self._files[row]), self._events[row])

    def row(self, ref: FrameRef) -> int:
        """Return which frame of the run is kept at a place.

        Raises
        ------
        ConfigError
            If none is.
        """
        real = os.path.realpath(ref.file)
        known: dict[str, bool] = {}
        for row, (file, event) in enumerate(zip(self._files, self._events, strict=True)):
            if event != ref.event:
                continue
            if file not in known:
                known[file] = os.path.realpath(self._from_here(file)) == real
            if known[file]:
                return row
        raise ConfigError(f"frame {ref.file} {ref.event} is not in the run", str(self._folder))

    def hits(self) -> PastHits:
        """Return the hits, which have to be there.

        Raises
        ------
        ConfigError
            If the run has no hit.
        """
        return PastHits(self._folder)

    def peaks(self, row: int) -> NDArray[np.void]:
        """Return a frame's peaks, with the fields ``fs``, ``ss`` and ``probability``."""
        names = ["fs", "ss", "probability"]
        table = pyarrow.parquet.read_table(
            self._folder / "peaks.parquet", columns=names, filters=[("frame", "==", row)]
        )
        peaks = np.zeros(table.num_rows, [(name, "f8") for name in names])
        for name in names:
            peaks[name] = table[name].to_numpy()
        return peaks


class PastHits:
    """The hits of a run, with the geometry that is handed on with them.

    Parameters
    ----------
    folder : Path
        Folder of the run.

    Raises
    ------
    ConfigError
        If the run has no hit, or what belongs to the hits is not in the folder.
    """

    def __init__(self, folder: Path) -> None:
        self.cxi = folder / "hits.cxi"
        hit = pyarrow.parquet.read_table(folder / "frames.parquet", columns=["hit"])["hit"]
        self.rows = np.flatnonzero(hit.to_numpy())
        if not len(self.rows):
            raise ConfigError("the run has no hit", str(folder))
        names = ["frame", "fs", "ss", "probability"]
        peaks = pyarrow.parquet.read_table(folder / "peaks.parquet", columns=names)
        self._peaks = np.stack([peaks[name].to_numpy().astype(float) for name in names], 1)
        self._first = np.searchsorted(self._peaks[:, 0], self.rows)
        self._last = np.searchsorted(self._peaks[:, 0], self.rows, side="right")
        self._geom = read_geom(folder / "hits.geom")

    def __len__(self) -> int:
        """Return the number of hits."""
        return len(self.rows)

    def peaks(self, number: int) -> NDArray[np.float64]:
        """Return fs, ss and probability of the peaks of a hit, shape (n, 3)."""
        return self._peaks[self._first[number] : self._last[number], 1:]

    def geometries(self) -> list[Geometry]:
        """Return the geometry of each hit, with the photon energy and camera length of its own.

        Raises
        ------
        ConfigError
            If the file of the hits cannot be read, or is not that of the run's tables.
        """
        try:
            with h5py.File(self.cxi, "r") as file:
                frames, energies, lengths = (
                    file[name][()] for name in (f"{RESULT}/frame", ENERGY_EV, DISTANCE)
                )
                common = self._geom.resolve(file).geometry()
        except (OSError, KeyError) as error:
            raise ConfigError(f"cannot be read ({error})", str(self.cxi), _AGAIN) from error
        if not np.array_equal(frames, self.rows):
            what = "does not hold the hits of the tables beside it"
            raise ConfigError(what, str(self.cxi), _AGAIN)
        return [
            dataclasses.replace(common, photon_energy_ev=float(e), camera_length_m=float(d))
            for e, d in zip(energies, lengths, strict=True)
        ]

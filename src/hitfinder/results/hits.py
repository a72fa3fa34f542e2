"""The hits of a run, read from its folder."""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Iterator
from pathlib import Path

import h5py
import numpy as np
import pyarrow.parquet
from numpy.typing import NDArray

from hitfinder.errors import ConfigError
from hitfinder.export.hits import DISTANCE, ENERGY_EV, RESULT
from hitfinder.geometry.crystfel import read_geom
from hitfinder.geometry.geometry import Geometry

FRAMES, PEAKS = "frames.parquet", "peaks.parquet"
HITS_CXI, HITS_GEOM = "hits.cxi", "hits.geom"
AGAIN = "Run hitfinder on the frames again."


def hit_rows(folder: Path) -> NDArray[np.intp]:
    """Return which frames of a run are hits, in the order of ``hits.cxi``."""
    hit = pyarrow.parquet.read_table(folder / FRAMES, columns=["hit"])["hit"]
    return np.flatnonzero(hit.to_numpy())


class RunHits:
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
        self.cxi = folder / HITS_CXI
        self.rows = hit_rows(folder)
        if not len(self.rows):
            raise ConfigError("the run has no hit", str(folder))
        names = ["frame", "fs", "ss", "probability"]
        peaks = pyarrow.parquet.read_table(folder / PEAKS, columns=names)
        self._peaks = np.stack([peaks[name].to_numpy().astype(float) for name in names], 1)
        self._first = np.searchsorted(self._peaks[:, 0], self.rows)
        self._last = np.searchsorted(self._peaks[:, 0], self.rows, side="right")
        self._geom = read_geom(folder / HITS_GEOM)

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
        with opened(self.cxi) as file:
            frames, energies, lengths = (
                file[name][()] for name in (f"{RESULT}/frame", ENERGY_EV, DISTANCE)
            )
            common = self._geom.resolve(file).geometry()
        if not np.array_equal(frames, self.rows):
            what = "does not hold the hits of the tables beside it"
            raise ConfigError(what, str(self.cxi), AGAIN)
        # What `read_geom` calls the camera length reaches to the first panel.
        lengths = lengths + self._geom.panels[0].coffset_m
        return [
            dataclasses.replace(common, photon_energy_ev=float(e), camera_length_m=float(d))
            for e, d in zip(energies, lengths, strict=True)
        ]


@contextlib.contextmanager
def opened(cxi: Path) -> Iterator[h5py.File]:
    """Open the file of the hits; what is missing in it is an error of the folder."""
    try:
        with h5py.File(cxi, "r") as file:
            yield file
    except (OSError, KeyError) as error:
        raise ConfigError(f"cannot be read ({error})", str(cxi), AGAIN) from error

"""The hits of a live run that is at work, which alone are kept until it ends."""

from __future__ import annotations

import contextlib
import dataclasses
from pathlib import Path

import h5py
import hdf5plugin  # noqa: F401 - lets HDF5 unpack counts
import numpy as np
from numpy.typing import NDArray

from hitfinder.errors import HitfinderError, SourceError
from hitfinder.export.cxi import DATA, MASK
from hitfinder.export.hits import RESULT
from hitfinder.geometry.crystfel import read_geom
from hitfinder.geometry.geometry import Geometry
from hitfinder.results.hits import HITS_GEOM

SHARDS = "shards"


class HitShards:
    """Reads hits by their number from the files that a live run adds one after another.

    Parameters
    ----------
    folder : Path
        Folder of the run.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._seen: dict[Path, tuple[int, int]] = {}
        self._places: dict[int, tuple[Path, int]] = {}

    def geometry(self) -> Geometry | None:
        """Return where the pixels are, with the mask; None before the first hit."""
        for path in sorted((self._folder / SHARDS).glob("hits-*.cxi")):
            with contextlib.suppress(HitfinderError, OSError, KeyError), h5py.File(path) as file:
                geometry = read_geom(self._folder / HITS_GEOM).resolve(file).geometry()
                mask = file[MASK][()] != 0
                mask = mask if mask.ndim == 2 else mask.all(axis=0)
                detector = geometry.detector.with_mask(mask)
                return dataclasses.replace(geometry, detector=detector)
        return None

    def read(self, number: int) -> NDArray:
        """Return the counts of a hit.

        Raises
        ------
        SourceError
            If the frame is none, or its file cannot be read.
        """
        # Small files are joined while the run goes on.
        if number not in self._places or not self._places[number][0].exists():
            self._look()
        if number not in self._places:
            what = f"frame {number} is not kept: until a live run ends, only its hits are"
            raise SourceError("missing-file", what)
        path, row = self._places[number]
        try:
            with h5py.File(path) as file:
                return np.asarray(file[DATA][row])
        except (OSError, KeyError) as error:
            raise SourceError("unreadable", f"cannot be read ({error})", str(path)) from error

    def _look(self) -> None:
        for path in sorted((self._folder / SHARDS).glob("hits-*.cxi")):
            with contextlib.suppress(OSError, KeyError):
                there = path.stat()
                state = there.st_ino, there.st_mtime_ns
                if self._seen.get(path) == state:
                    continue
                with h5py.File(path) as file:
                    frames = file[f"{RESULT}/frame"][()].tolist()
                self._places |= {frame: (path, row) for row, frame in enumerate(frames)}
                self._seen[path] = state

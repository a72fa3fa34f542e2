"""HDF5 files of frames with the attributes of each: many frames to a file, or one."""

from __future__ import annotations

import dataclasses
import math
import os
from collections.abc import Iterable
from pathlib import Path

import h5py
import numpy as np
from numpy.typing import NDArray

from hitfinder.errors import SourceError
from hitfinder.geometry.layout import MOST_PIXELS
from hitfinder.hdf5loops import is_endless
from hitfinder.io.chunks import Axis, check_filters, chunk_algorithm, open_item
from hitfinder.io.handles import FilePool, open_error, open_file
from hitfinder.io.tables import MOST_FRAMES
from hitfinder.study.dataset.layout import DATA_PATH

PER_FRAME, SPOTS = "entry/data", "entry/spots"

ATTRIBUTE_COLUMNS = {
    "clen": ("float64", "m", "camera length"),
    "photon_energy": ("float64", "eV", "photon energy of the setting"),
    "peak": ("int8", "", "whether the frame holds Bragg peaks"),
}
"""Numbers in ``entry/data`` of each frame that every tree has: type, unit, meaning."""

TRUE_SPOT_COLUMNS = {
    "frame": ("int64", "1", "frame within the file, from 0"),
    "fs": ("float64", "pixel", "centre along fast scan; the first pixel's centre is 0.5"),
    "ss": ("float64", "pixel", "centre along slow scan; the first pixel's centre is 0.5"),
    "photons": ("float64", "photon", "expected photons, of one and more"),
}
"""Lists in ``entry/spots`` of the files in ``peaks``, an entry per true spot."""

ATTRIBUTE_NAMES = tuple(ATTRIBUTE_COLUMNS)
SPOT_FIELDS = tuple(TRUE_SPOT_COLUMNS)

POOL = FilePool(limit=128)
"""Frames are drawn at random from all files of a tree, so more of them stay open than usual."""

_MOST_COMPRESSION = 1032
"""Bytes that a byte of a compressed list can stand for, at most (deflate)."""

os.register_at_fork(after_in_child=POOL.forget)


@dataclasses.dataclass(frozen=True, eq=False)
class Attributes:
    """Camera length, photon energy and presence of peaks, frame by frame.

    Attributes
    ----------
    clen : ndarray of float64, shape (n,)
        Camera length, in m; NaN where the file does not say.
    photon_energy : ndarray of float64, shape (n,)
        Photon energy, in eV; NaN where the file does not say.
    peak : ndarray of int8, shape (n,)
        1 with Bragg peaks, 0 without, -1 where the file does not say.
    """

    clen: NDArray[np.float64]
    photon_energy: NDArray[np.float64]
    peak: NDArray[np.int8]

    def __len__(self) -> int:
        return len(self.clen)


@dataclasses.dataclass(frozen=True, eq=False)
class Spots:
    """True Bragg spots of the frames of one file.

    Attributes
    ----------
    frame : ndarray of int64, shape (n,)
        Frame within the file, from 0.
    fs, ss : ndarray of float64, shape (n,)
        Centre, in pixels, corner convention.
    photons : ndarray of float64, shape (n,)
        Expected photons.
    """

    frame: NDArray[np.int64]
    fs: NDArray[np.float64]
    ss: NDArray[np.float64]
    photons: NDArray[np.float64]

    @staticmethod
    def joined(parts: Iterable[Spots]) -> Spots:
        """Return the spots of one frame after another, numbering the frames from 0."""
        listed = list(parts)
        frame = [np.full(len(part.fs), n, np.int64) for n, part in enumerate(listed)]
        fields = {
            name: np.concatenate([np.empty(0), *(getattr(part, name) for part in listed)])
            for name in ("fs", "ss", "photons")
        }
        return Spots(np.concatenate([np.empty(0, np.int64), *frame]), **fields)


@dataclasses.dataclass(frozen=True)
class FrameFile:
    """A file of frames, opened when it is read and not before.

    Parameters
    ----------
    path : str
        The file.
    n_frames : int
        Frames in it.
    shape : tuple of int
        Rows and columns of a frame.
    dtype : numpy.dtype
        Type of the counts.
    is_single : bool
        Whether the data are one 2-D frame.
    """

    path: str
    n_frames: int
    shape: tuple[int, int]
    dtype: np.dtype
    is_single: bool

    def read(self, index: int, out: NDArray | None = None) -> NDArray:
        """Read one frame.

        Parameters
        ----------
        index : int
            Frame in the file, from 0.
        out : ndarray, optional
            Contiguous array of the file's shape and type to fill and return.

        Raises
        ------
        SourceError
            If the frame cannot be read.
        IndexError
            If there is no such frame.
        """
        if not 0 <= index < self.n_frames:
            raise IndexError(f"{self.path} has {self.n_frames} frames, there is no frame {index}")
        if out is None:
            out = np.empty(self.shape, self.dtype)
        with POOL.lock:
            dataset = POOL.dataset(self.path, DATA_PATH)
            axes: tuple[Axis, ...] = (":", ":") if self.is_single else ("%", ":", ":")
            algorithm, where = chunk_algorithm(dataset, axes), f"{self.path}/{DATA_PATH}"
            return np.asarray(open_item(dataset, axes, index, out, algorithm, where))


def scan(path: str | Path) -> tuple[FrameFile, Attributes]:
    """Read what a file holds, without the frames.

    Raises
    ------
    SourceError
        If it cannot be opened, or has no frames where they are kept, or the lists of attributes
        are of another length.
    """
    path = os.fspath(path)
    with open_file(path) as file:
        try:
            dataset = _dataset(file, DATA_PATH)
            check_filters(dataset)
            if dataset.ndim not in (2, 3) or dataset.size == 0:
                what = f"{DATA_PATH} has shape {dataset.shape}, not (frames, rows, columns)"
                raise SourceError("wrong-shape", what, path)
            single = dataset.ndim == 2
            n = 1 if single else dataset.shape[0]
            shape = dataset.shape[-2:]
            if n > MOST_FRAMES or math.prod(shape) > MOST_PIXELS or dataset.dtype.kind not in "iuf":
                what = f"{DATA_PATH} claims {n} frames of {shape} {dataset.dtype}: none are like it"
                raise SourceError("wrong-shape", what, path)
            found = FrameFile(path, n, shape, dataset.dtype.newbyteorder("="), single)
            values = [_attribute(file, name, n) for name in ATTRIBUTE_NAMES]
        except (OSError, RuntimeError) as error:
            raise open_error(error, path) from error
    peak = np.where(np.isnan(values[2]), -1, values[2] != 0).astype(np.int8)
    return found, Attributes(values[0], values[1], peak)


def _dataset(file: h5py.File, path: str) -> h5py.Dataset:
    """Return a dataset that can be read.

    Raises
    ------
    SourceError
        If there is none, or HDF5 would never come to an end of reading it.
    """
    try:
        found = file[path]
    except KeyError as error:
        raise SourceError("no-frames", f"there is no dataset {path}", file.filename) from error
    if not isinstance(found, h5py.Dataset):
        raise SourceError("no-frames", f"{path} is no dataset", file.filename)
    if is_endless(found):
        raise SourceError("unreadable", f"{path} refers to itself", file.filename)
    return found


def _attribute(file: h5py.File, name: str, n: int) -> NDArray[np.float64]:
    """Read an attribute of `n` frames: a list beside the data, or an attribute of the file."""
    value: object = None
    if f"{PER_FRAME}/{name}" in file:
        listed = _dataset(file, f"{PER_FRAME}/{name}")
        _check_list(file, name, listed.shape, n)
        value = listed[()]
    else:
        places = (file, file.get("entry"), file.get(DATA_PATH))
        value = next((p.attrs[name] for p in places if p is not None and name in p.attrs), np.nan)
    try:
        values = np.asarray(value, np.float64)
    except (TypeError, ValueError):
        what = f"attribute {name!r} is {value!r}, not a number"
        raise SourceError("unreadable", what, file.filename) from None
    _check_list(file, name, values.shape, n)
    return np.broadcast_to(values, (n,)).copy()


def _check_list(file: h5py.File, name: str, shape: tuple[int, ...] | None, n: int) -> None:
    """Raise SourceError unless there is one value, or one for each of `n` frames."""
    if shape is None or len(shape) > 1 or (shape and shape[0] not in (1, n)):
        told = shape[0] if shape is not None and len(shape) == 1 else f"{shape}"
        what = f"{name!r} is given for {told} frames, the file has {n}"
        raise SourceError("wrong-shape", what, file.filename)


def read_spots(path: str | Path) -> Spots | None:
    """Read the true spots of a file; None if it has none.

    Raises
    ------
    SourceError
        If the file cannot be opened, or the spots are not whole.
    """
    path = os.fspath(path)
    with open_file(path) as file:
        try:
            if SPOTS not in file:
                return None
            listed = {name: _dataset(file, f"{SPOTS}/{name}") for name in SPOT_FIELDS}
            for name, dataset in listed.items():
                _check_spots(dataset, f"{SPOTS}/{name}", path)
            fields = {name: dataset[()] for name, dataset in listed.items()}
        except (OSError, RuntimeError) as error:
            raise open_error(error, path) from error
    if len({len(values) for values in fields.values()}) != 1 or not all(
        np.isfinite(values).all() for values in fields.values()
    ):
        raise SourceError("unreadable", f"{SPOTS} lists spots that are not whole", path)
    return Spots(**fields)


def _check_spots(dataset: h5py.Dataset, name: str, path: str) -> None:
    """Raise SourceError for a list that is none, or claims more than the file can hold."""
    kept = dataset.id.get_storage_size() * _MOST_COMPRESSION
    if dataset.dtype.kind not in "iuf" or dataset.ndim != 1 or dataset.nbytes > kept:
        what = f"{name} claims {dataset.shape} {dataset.dtype}, which it does not hold"
        raise SourceError("wrong-shape", what, path)

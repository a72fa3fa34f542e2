"""HDF5 files of frames with the attributes of each: many frames to a file, or one."""

from __future__ import annotations

import contextlib
import dataclasses
import os
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, Self

import h5py
import hdf5plugin
import numpy as np
from numpy.typing import NDArray

from hitfinder.atomic import replacing
from hitfinder.dataset.layout import DATA_PATH
from hitfinder.errors import OutputError, SourceError
from hitfinder.io.chunks import Axis, check_filters, chunk_algorithm, read_item
from hitfinder.io.handles import FilePool, open_error, open_file

PER_FRAME, SPOTS = "entry/data", "entry/spots"
ATTRIBUTE_NAMES = ("clen", "photon_energy", "peak")
SPOT_FIELDS = ("frame", "fs", "ss", "photons")

POOL = FilePool(limit=128)
"""Frames are drawn at random from all files of a tree, so more of them stay open than usual."""

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


class FrameFileWriter:
    """Write a file of frames one by one; it appears when it is finished, and only then.

    Used as a context manager: leaving it by an exception leaves no file.

    Parameters
    ----------
    path : path-like
        File to write, in an existing folder.
    single : bool
        Store the one frame as the report does: 2-D, its attributes as HDF5 attributes.

    Raises
    ------
    OutputError
        If the file cannot be written.
    """

    def __init__(self, path: str | Path, *, single: bool = False) -> None:
        self.path = Path(path)
        self.single = single
        self.n_frames = 0
        self._dataset: h5py.Dataset | None = None
        self._stack = contextlib.ExitStack()

    def __enter__(self) -> Self:
        with contextlib.ExitStack() as stack:
            part = stack.enter_context(replacing(self.path))
            with self._errors():
                self._file = stack.enter_context(h5py.File(part, "w"))
            self._stack = stack.pop_all()
        return self

    def __exit__(self, *exc_info: Any) -> None:
        self._stack.__exit__(*exc_info)

    def append(self, frame: NDArray) -> None:
        """Add one frame of counts, shape (rows, columns); all must be of one shape and type."""
        if self.single and self.n_frames:
            raise ValueError("a single-frame file holds one frame")
        with self._errors():
            if self._dataset is None:
                self._dataset = self._create(frame)
            if not self.single:
                self._dataset.resize(self.n_frames + 1, axis=0)
                self._dataset[self.n_frames] = frame
        self.n_frames += 1

    def _create(self, frame: NDArray) -> h5py.Dataset:
        options = hdf5plugin.Bitshuffle(cname="lz4")
        if self.single:
            return self._file.create_dataset(DATA_PATH, data=frame, chunks=frame.shape, **options)
        return self._file.create_dataset(
            DATA_PATH,
            (0, *frame.shape),
            frame.dtype,
            chunks=(1, *frame.shape),
            maxshape=(None, *frame.shape),
            **options,
        )

    def describe(
        self,
        attributes: Attributes,
        spots: Spots | None = None,
        extra: Mapping[str, NDArray] | None = None,
    ) -> None:
        """Add what is known of the frames, once all are there.

        Parameters
        ----------
        attributes : Attributes
            Of each frame.
        spots : Spots, optional
            True spots.
        extra : mapping of ndarray, shape (n,)
            Further numbers for each frame, by name.

        Raises
        ------
        ValueError
            If there are more or fewer frames than attributes.
        """
        if self.n_frames != len(attributes):
            raise ValueError(f"{self.n_frames} frames with attributes for {len(attributes)}")
        per_frame = {name: getattr(attributes, name) for name in ATTRIBUTE_NAMES}
        with self._errors():
            for name, values in {**per_frame, **(extra or {})}.items():
                if self.single:
                    value = values[0]
                    self._file.attrs[name] = bool(value) if name == "peak" else value
                else:
                    self._file.create_dataset(f"{PER_FRAME}/{name}", data=values)
            for name in SPOT_FIELDS if spots is not None else ():
                self._file.create_dataset(f"{SPOTS}/{name}", data=getattr(spots, name))

    @contextlib.contextmanager
    def _errors(self) -> Iterator[None]:
        try:
            yield
        except (OSError, RuntimeError) as error:
            reason = " ".join(str(error).split())
            raise OutputError(f"cannot be written ({reason})", str(self.path)) from error


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
            read_item(dataset, axes, index, out, chunk_algorithm(dataset, axes))
        return out


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
            dataset = file[DATA_PATH]
            check_filters(dataset)
            if dataset.ndim not in (2, 3) or dataset.size == 0:
                what = f"{DATA_PATH} has shape {dataset.shape}, not (frames, rows, columns)"
                raise SourceError("wrong-shape", what, path)
            single = dataset.ndim == 2
            n = 1 if single else dataset.shape[0]
            shape = dataset.shape[-2:]
            found = FrameFile(path, n, shape, dataset.dtype.newbyteorder("="), single)
            values = [_attribute(file, name, n) for name in ATTRIBUTE_NAMES]
        except (KeyError, AttributeError) as error:
            raise SourceError("no-frames", f"there is no dataset {DATA_PATH}", path) from error
        except (OSError, RuntimeError) as error:
            raise open_error(error, path) from error
    peak = np.where(np.isnan(values[2]), -1, values[2] != 0).astype(np.int8)
    return found, Attributes(values[0], values[1], peak)


def _attribute(file: h5py.File, name: str, n: int) -> NDArray[np.float64]:
    """Read an attribute of `n` frames: a list beside the data, or an attribute of the file."""
    value: object = None
    if f"{PER_FRAME}/{name}" in file:
        value = file[f"{PER_FRAME}/{name}"][()]
    else:
        places = (file, file.get("entry"), file.get(DATA_PATH))
        value = next((p.attrs[name] for p in places if p is not None and name in p.attrs), np.nan)
    try:
        values = np.asarray(value, np.float64)
    except (TypeError, ValueError):
        what = f"attribute {name!r} is {value!r}, not a number"
        raise SourceError("unreadable", what, file.filename) from None
    if values.ndim > 1 or (values.ndim == 1 and len(values) not in (1, n)):
        what = f"{name!r} is given for {len(values)} frames, the file has {n}"
        raise SourceError("wrong-shape", what, file.filename)
    return np.broadcast_to(values, (n,)).copy()


def read_spots(path: str | Path) -> Spots | None:
    """Read the true spots of a file; None if it has none.

    Raises
    ------
    SourceError
        If the file cannot be opened.
    """
    with open_file(path) as file:
        if SPOTS not in file:
            return None
        fields = {name: file[f"{SPOTS}/{name}"][()] for name in SPOT_FIELDS}
    return Spots(**fields)


def read_extra(path: str | Path, name: str) -> NDArray | None:
    """Read a further number of each frame; None if the file has none of that name.

    Raises
    ------
    SourceError
        If the file cannot be opened.
    """
    with open_file(path) as file:
        place = f"{PER_FRAME}/{name}"
        if place in file:
            return file[place][()]
        return np.array([file.attrs[name]]) if name in file.attrs else None

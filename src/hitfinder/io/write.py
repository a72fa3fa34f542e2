"""Write frames as a detector's file writer does: an NXmx master and its data files."""

from __future__ import annotations

import contextlib
import glob
import itertools
import os
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import h5py
import hdf5plugin
import numpy as np
from numpy.typing import ArrayLike, DTypeLike, NDArray

from hitfinder.errors import OutputError
from hitfinder.geometry.geometry import Geometry
from hitfinder.io.nxmx import DATA_PATH, DataFiles, write_master

PARTIAL_SUFFIX = ".partial"

_PACKERS = itertools.count()


class FramePacker:
    """Packs frames as they stand in a file: one bitshuffle-LZ4 chunk each.

    Parameters
    ----------
    shape : tuple of int
        Rows and columns of a frame.
    dtype : dtype-like
        Type of the counts.
    marked : ndarray of bool, shape `shape`, optional
        Pixels that get 2^bits − 1, as a detector stores it in those without a reading.
    """

    def __init__(
        self, shape: tuple[int, int], dtype: DTypeLike, marked: NDArray[np.bool_] | None = None
    ) -> None:
        self.shape, self.dtype = shape, np.dtype(dtype)
        self._marked = None if marked is None else np.flatnonzero(marked)
        self._dataset: h5py.Dataset | None = None

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_dataset": None}

    def pack(self, frame: NDArray) -> bytes:
        """Return the chunk of a frame, whose marked pixels are overwritten.

        Raises
        ------
        ValueError
            If the frame has not the shape and type of the others.
        """
        if frame.shape != self.shape or frame.dtype != self.dtype:
            what = f"frame is {frame.dtype} {frame.shape}"
            raise ValueError(f"{what}, others are {self.dtype} {self.shape}")
        if self._marked is not None:
            frame.reshape(-1)[self._marked] = np.iinfo(self.dtype).max
        if self._dataset is None:
            # HDF5 packs what is written to a file, which may be in memory. It tells such files
            # apart by their names.
            name = f"packed {next(_PACKERS)}"
            file = h5py.File(name, "w", driver="core", backing_store=False, rdcc_nbytes=0)
            self._dataset = _frame_dataset(file, self.shape, self.dtype)
            self._dataset.resize(1, axis=0)
        self._dataset[0] = frame
        return self._dataset.id.read_direct_chunk((0, 0, 0))[1]


def _frame_dataset(file: h5py.File, shape: tuple[int, int], dtype: np.dtype) -> h5py.Dataset:
    """Make the dataset of a data file, without frames."""
    return file.create_dataset(
        DATA_PATH,
        shape=(0, *shape),
        maxshape=(None, *shape),
        chunks=(1, *shape),
        dtype=dtype,
        **hdf5plugin.Bitshuffle(cname="lz4"),
    )


class NexusWriter:
    """Write a series of frames as an Eiger-like NXmx master file with linked data files.

    Frames go to ``<prefix>_data_000001.h5`` and on, one bitshuffle-LZ4 chunk each; the master
    links them (``/entry/data/data_000001`` ...), joins them in one virtual dataset
    ``/entry/data/data`` and holds the metadata. Everything is written under hidden temporary
    names and renamed on `close`, the master last, so a series that was cut short leaves no file
    that looks finished. Leaving the ``with`` block by an exception removes what was written.

    Parameters
    ----------
    path : str or Path
        Master file to write, named ``<prefix>_master.h5``.
    geometry : Geometry
        Panels, mask, saturation, camera length and photon energy to record.
    dtype : dtype-like
        Type of the counts, e.g. ``numpy.uint16``.
    frames_per_file : int
        Frames in a data file.
    frame_time_s : float
        Time from one frame to the next, in s.
    mark_masked : bool
        Store 2^bits − 1 in masked pixels, as the detector does, instead of what the frame holds.
        Integer types only.
    extra : mapping, optional
        Further datasets of the master: absolute path to a value, or to ``(value, unit)``. It may
        be added to until `close` through the attribute `extra`.
    overwrite : bool
        Replace a series of this name.

    Raises
    ------
    OutputError
        If the name is not a master's, a file is in the way, or the folder cannot be written.
    """

    def __init__(
        self,
        path: str | Path,
        geometry: Geometry,
        dtype: DTypeLike,
        *,
        frames_per_file: int = 1000,
        frame_time_s: float = 1e-3,
        mark_masked: bool = False,
        extra: Mapping[str, object] | None = None,
        overwrite: bool = False,
    ) -> None:
        self.path = Path(path)
        if not self.path.name.endswith("_master.h5"):
            raise OutputError(
                f"{self.path.name!r} is no name for a master file",
                where=str(self.path.parent),
                hint="Name it <prefix>_master.h5.",
            )
        if frames_per_file < 1:
            raise ValueError(f"frames_per_file must be at least 1, got {frames_per_file}")
        self._prefix = self.path.name.removesuffix("_master.h5")
        self._geometry = geometry
        self._dtype = np.dtype(dtype)
        self._per_file = frames_per_file
        self._frame_time_s = frame_time_s
        self.extra: dict[str, object] = dict(extra or {})
        marks = mark_masked and np.issubdtype(self._dtype, np.integer)
        marked = geometry.detector.full_mask if marks else None
        self.packer = FramePacker(geometry.shape, self._dtype, marked)
        self._buffer = np.empty(geometry.shape, self._dtype)
        self._lengths: list[int] = []
        self._file: h5py.File | None = None
        self._closed = False
        self._prepare(overwrite)

    def _prepare(self, overwrite: bool) -> None:
        """Make the folder and refuse, unless allowed, to replace a series of the same name."""
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            old = self._series_on_disk()
        except OSError as error:
            raise OutputError(
                f"cannot write: {reason(error)}", where=str(self.path.parent)
            ) from error
        if old and not overwrite:
            raise OutputError(
                "a series of this name exists already",
                where=str(old[0]),
                hint="Choose another name, or allow it to be replaced (--overwrite).",
            )
        for left in self.path.parent.glob(f".{glob.escape(self._prefix)}_*.h5{PARTIAL_SUFFIX}"):
            left.unlink()  # of a process that was killed

    def _series_on_disk(self) -> list[Path]:
        """Return the finished files of this name, the master first."""
        master = [self.path] if self.path.exists() else []
        return master + sorted(self.path.parent.glob(f"{glob.escape(self._prefix)}_data_[0-9]*.h5"))

    def __len__(self) -> int:
        """Return the number of frames written so far."""
        return sum(self._lengths)

    def data_file(self, number: int) -> Path:
        """Return the final path of data file `number`, counted from 1."""
        return self.path.with_name(f"{self._prefix}_data_{number:06d}.h5")

    def write(self, frame: ArrayLike) -> int:
        """Append one frame.

        Parameters
        ----------
        frame : array-like, shape of the detector
            Counts that the series' type can hold.

        Returns
        -------
        int
            Its index in the series, from 0.

        Raises
        ------
        ValueError
            If the shape is not the detector's or the counts do not fit the type.
        OutputError
            If the file cannot be written.
        """
        counts = np.asarray(frame)
        if counts.shape != self._geometry.shape:
            raise ValueError(f"frame shape {counts.shape} is not {self._geometry.shape}")
        if not np.can_cast(counts.dtype, self._dtype, "safe"):
            self._check_range(counts)
        np.copyto(self._buffer, counts, casting="unsafe")
        return self.write_packed(self.packer.pack(self._buffer))

    def write_packed(self, chunk: bytes) -> int:
        """Append one frame that the `packer` of this writer has packed, in whatever process.

        Parameters
        ----------
        chunk : bytes
            The frame.

        Returns
        -------
        int
            Its index in the series, from 0.

        Raises
        ------
        OutputError
            If the file cannot be written.
        """
        if self._closed:
            raise ValueError("the series is closed")
        try:
            if self._file is None or self._lengths[-1] == self._per_file:
                self._next_file()
            assert self._file is not None
            dataset = self._file[DATA_PATH]
            row = self._lengths[-1]
            dataset.resize(row + 1, axis=0)
            dataset.id.write_direct_chunk((row, 0, 0), chunk)
        except (OSError, RuntimeError) as error:
            raise OutputError(
                f"cannot write a frame: {reason(error)}", where=str(self.path)
            ) from error
        self._lengths[-1] = row + 1
        return len(self) - 1

    def _check_range(self, counts: NDArray) -> None:
        """Refuse counts of a wider type that the series' type would change."""
        if counts.dtype.kind in "iu" and self._dtype.kind in "iu":
            limits = np.iinfo(self._dtype)
            if counts.min() >= limits.min and counts.max() <= limits.max:
                return
        raise ValueError(f"a {counts.dtype} frame does not fit a series of {self._dtype}")

    def _next_file(self) -> None:
        """Finish the current data file and start the next."""
        self._finish_file()
        self._lengths.append(0)
        # Without a chunk cache a frame that cannot be written fails here and now, not silently
        # when the cache is emptied.
        self._file = h5py.File(_partial(self.data_file(len(self._lengths))), "w", rdcc_nbytes=0)
        dataset = _frame_dataset(self._file, self._geometry.shape, self._dtype)
        self._file["entry"].attrs["NX_class"] = "NXentry"
        self._file["entry/data"].attrs["NX_class"] = "NXdata"
        self._file["entry/data"].attrs["signal"] = "data"
        dataset.attrs["image_nr_low"] = len(self) + 1

    def _finish_file(self) -> None:
        if self._file is not None:
            self._file[DATA_PATH].attrs["image_nr_high"] = len(self)
            # Closing would crash where this fails.
            self._file.flush()
            self._file.close()
            self._file = None

    def close(self) -> None:
        """Write the master and give every file its final name."""
        if self._closed:
            return
        self._closed = True
        numbers = range(1, len(self._lengths) + 1)
        series = DataFiles(
            files=tuple((self.data_file(n).name, self._lengths[n - 1]) for n in numbers),
            dtype=self._dtype,
            frame_time_s=self._frame_time_s,
            extra=self.extra,
        )
        try:
            self._finish_file()
            with new_hdf5(_partial(self.path), str(self.path)) as master:
                write_master(master, self._geometry, series)
            self.withdraw()
            new = [self.data_file(number) for number in numbers]
            for file in (*new, self.path):
                os.replace(_partial(file), file)
            for stale in set(self._series_on_disk()) - {*new, self.path}:
                stale.unlink()
        except OutputError:
            self._remove()
            raise
        except (OSError, RuntimeError) as error:
            self._remove()
            raise OutputError(
                f"cannot finish the series: {reason(error)}", str(self.path)
            ) from error

    def withdraw(self) -> None:
        """Remove the master of an earlier series of this name, before what it describes changes."""
        self.path.unlink(missing_ok=True)

    def _remove(self) -> None:
        """Drop everything written so far."""
        self._closed = True
        if self._file is not None:
            close_unwritten(self._file)
            self._file = None
        for number in range(1, len(self._lengths) + 1):
            _partial(self.data_file(number)).unlink(missing_ok=True)
        _partial(self.path).unlink(missing_ok=True)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if kind is None:
            self.close()
        else:
            self._remove()


@contextlib.contextmanager
def new_hdf5(path: Path, where: str = "") -> Iterator[h5py.File]:
    """Write an HDF5 file; one that cannot be finished is dropped, on a full disk too.

    Parameters
    ----------
    path : Path
        Where to write it.
    where : str
        What to call it in messages, if its name is not the final one.

    Raises
    ------
    OutputError
        If it cannot be written.
    """
    try:
        file = h5py.File(path, "w", rdcc_nbytes=0)
    except OSError as error:
        raise OutputError(f"cannot be written ({reason(error)})", where or str(path)) from error
    try:
        yield file
        file.flush()
        file.close()
    except BaseException as error:
        if file:
            close_unwritten(file)
        if isinstance(error, OSError) or _is_of_hdf5(error):
            what = f"cannot be written ({reason(error)})"
            raise OutputError(what, where or str(path)) from error
        raise


def _is_of_hdf5(error: BaseException) -> bool:
    """Tell an error of HDF5 that h5py has no other class for."""
    told = isinstance(error, RuntimeError) and re.match("(Can't|Unable to|Couldn't) ", str(error))
    return bool(told)


def close_unwritten(file: h5py.File) -> None:
    """Close a file that is to be dropped, whether or not its disk takes any more.

    HDF5 writes what it still holds when it closes a file, and a process may crash if that fails:
    let it go to the null device instead.
    """
    with open(os.devnull, "r+b") as null, contextlib.suppress(OSError, RuntimeError, ValueError):
        os.dup2(null.fileno(), file.id.get_vfd_handle())
        file.close()


def reason(error: BaseException) -> str:
    """Return why writing HDF5 failed in a few words; HDF5's own take several lines."""
    if isinstance(error, OSError) and error.errno:
        return os.strerror(error.errno)
    said = re.search(r"error message = '([^']*)'", str(error))
    return said[1] if said else next(iter(str(error).splitlines()), type(error).__name__)


def _partial(path: Path) -> Path:
    """Return the hidden temporary name of a file, in the same folder."""
    return path.with_name(f".{path.name}{PARTIAL_SUFFIX}")

"""Write frames as a detector's file writer does: an NXmx master and its data files."""

from __future__ import annotations

import dataclasses
import glob
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Self

import numpy as np
from numpy.typing import ArrayLike, DTypeLike, NDArray

from hitfinder.errors import OutputError
from hitfinder.geometry.geometry import Geometry
from hitfinder.io.datafile import DataFile
from hitfinder.io.newfile import new_hdf5, reason
from hitfinder.io.nxmx import DataFiles, write_master

PARTIAL_SUFFIX = ".partial"
_MASTER = "_master.h5"


@dataclasses.dataclass(frozen=True)
class SeriesFiles:
    """The files of a series by their names: ``<prefix>_master.h5``, ``<prefix>_data_000001.h5``.

    Parameters
    ----------
    master : Path
        The master.

    Raises
    ------
    OutputError
        If its name is not a master's.
    """

    master: Path

    def __post_init__(self) -> None:
        if not self.master.name.endswith(_MASTER):
            raise OutputError(
                f"{self.master.name!r} is no name for a master file",
                where=str(self.master.parent),
                hint="Name it <prefix>_master.h5.",
            )

    @property
    def prefix(self) -> str:
        """What the names begin with."""
        return self.master.name.removesuffix(_MASTER)

    def data_file(self, number: int) -> Path:
        """Return the path of data file `number`, counted from 1."""
        return self.master.with_name(f"{self.prefix}_data_{number:06d}.h5")

    def on_disk(self) -> list[Path]:
        """Return those that are there, the master first."""
        master = [self.master] if self.master.exists() else []
        data = self.master.parent.glob(f"{glob.escape(self.prefix)}_data_[0-9]*.h5")
        return master + sorted(data)

    def claim(self, overwrite: bool) -> None:
        """Make the folder and refuse, unless allowed, to replace a series of the same name.

        Raises
        ------
        OutputError
            If a file is in the way, or the folder cannot be made.
        """
        try:
            self.master.parent.mkdir(parents=True, exist_ok=True)
            old = self.on_disk()
        except OSError as error:
            where = str(self.master.parent)
            raise OutputError.unwritable(reason(error), where) from error
        if old and not overwrite:
            raise OutputError(
                "a series of this name exists already",
                where=str(old[0]),
                hint="Choose another name, or allow it to be replaced (--overwrite).",
            )

    def withdraw(self) -> None:
        """Remove the master of an earlier series, before what it describes changes."""
        self.master.unlink(missing_ok=True)

    def finish(
        self,
        geometry: Geometry,
        written: Sequence[tuple[Path, int]],
        dtype: DTypeLike,
        *,
        frame_time_s: float = 1e-3,
        extra: Mapping[str, object] | None = None,
    ) -> None:
        """Give data files their names and write the master, which appears last.

        Files of an earlier series are replaced, and removed where there were more.

        Parameters
        ----------
        geometry : Geometry
            Panels, mask, saturation, camera length and photon energy to record.
        written : sequence of (Path, int)
            Each data file in its order, on the same file system, and its number of frames.
        dtype : dtype-like
            Type of the counts.
        frame_time_s : float
            Time from one frame to the next, in s.
        extra : mapping, optional
            Further datasets of the master, see `NexusWriter`.

        Raises
        ------
        OutputError
            If something cannot be written.
        """
        new = [self.data_file(number) for number in range(1, len(written) + 1)]
        lengths = zip(new, written, strict=True)
        files = tuple((path.name, length) for path, (_, length) in lengths)
        part = _partial(self.master)
        try:
            with new_hdf5(part, str(self.master)) as master:
                series = DataFiles(files, np.dtype(dtype), frame_time_s, extra or {})
                write_master(master, geometry, series)
            self.withdraw()
            for (path, _), name in zip(written, new, strict=True):
                os.replace(path, name)
            os.replace(part, self.master)
            for stale in set(self.on_disk()) - {*new, self.master}:
                stale.unlink()
        except OSError as error:
            what = f"cannot finish the series: {reason(error)}"
            raise OutputError(what, str(self.master)) from error
        finally:
            part.unlink(missing_ok=True)


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
        self._files = SeriesFiles(Path(path))
        if frames_per_file < 1:
            raise ValueError(f"frames_per_file must be at least 1, got {frames_per_file}")
        self._geometry = geometry
        self._dtype = np.dtype(dtype)
        self._per_file = frames_per_file
        self._frame_time_s = frame_time_s
        self.extra: dict[str, object] = dict(extra or {})
        self._marked = marked_pixels(geometry, self._dtype) if mark_masked else None
        self._buffer = np.empty(geometry.shape, self._dtype)
        self._written: list[tuple[Path, int]] = []
        self._file: DataFile | None = None
        self._closed = False
        self._files.claim(overwrite)
        prefix = glob.escape(self._files.prefix)
        for left in self._files.master.parent.glob(f".{prefix}_*.h5{PARTIAL_SUFFIX}"):
            left.unlink()  # of a process that was killed

    def __len__(self) -> int:
        """Return the number of frames written so far."""
        return sum(length for _, length in self._written) + len(self._file or ())

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
        if self._closed:
            raise ValueError("the series is closed")
        counts = np.asarray(frame)
        if counts.shape != self._geometry.shape:
            raise ValueError(f"frame shape {counts.shape} is not {self._geometry.shape}")
        if not np.can_cast(counts.dtype, self._dtype, "safe"):
            self._check_range(counts)
        np.copyto(self._buffer, counts, casting="unsafe")
        if self._marked is not None:
            mark(self._buffer, self._marked)
        if self._file is None or len(self._file) == self._per_file:
            self._next_file()
        assert self._file is not None
        self._file.write(self._buffer)
        return len(self) - 1

    def _check_range(self, counts: NDArray) -> None:
        """Refuse counts of a wider type that the series' type would change."""
        if counts.dtype.kind in "iu" and self._dtype.kind in "iu":
            limits = np.iinfo(self._dtype)
            if counts.min() >= limits.min and counts.max() <= limits.max:
                return
        raise ValueError(f"a {counts.dtype} frame does not fit a series of {self._dtype}")

    def _path(self, number: int) -> Path:
        return _partial(self._files.data_file(number))

    def _next_file(self) -> None:
        """Finish the current data file and start the next."""
        self._finish_file()
        number, shape = len(self._written) + 1, self._geometry.shape
        where = str(self._files.data_file(number))
        file = DataFile(self._path(number), shape, self._dtype, first=len(self), where=where)
        self._file = file.__enter__()

    def _finish_file(self) -> None:
        if self._file is not None:
            file, self._file = self._file, None
            self._written.append((self._path(len(self._written) + 1), len(file)))
            file.__exit__(None, None, None)

    def close(self) -> None:
        """Write the master and give every file its final name."""
        if self._closed:
            return
        self._closed = True
        try:
            self._finish_file()
            self._files.finish(
                self._geometry,
                self._written,
                self._dtype,
                frame_time_s=self._frame_time_s,
                extra=self.extra,
            )
        except BaseException:
            self._remove()
            raise

    def _remove(self) -> None:
        """Remove everything written so far, the file that was begun last too."""
        for number in range(1, len(self._written) + 2):
            self._path(number).unlink(missing_ok=True)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc_info: Any) -> None:
        if exc_info[0] is None:
            self.close()
            return
        self._closed = True
        file, self._file = self._file, None
        try:
            if file is not None:
                file.__exit__(*exc_info)
        finally:
            self._remove()


def marked_pixels(geometry: Geometry, dtype: DTypeLike) -> NDArray[np.intp] | None:
    """Return the pixels of a flat frame in which a detector stores that there is no reading.

    Parameters
    ----------
    geometry : Geometry
        The detector's.
    dtype : dtype-like
        Type of the counts: of others than integers there are none.
    """
    masked = geometry.detector.full_mask
    return np.flatnonzero(masked) if np.issubdtype(dtype, np.integer) else None


def mark(frame: NDArray, pixels: NDArray[np.intp]) -> None:
    """Store 2^bits − 1 in pixels of a frame, shape (rows, columns), as a detector does."""
    frame.reshape(-1)[pixels] = np.iinfo(frame.dtype).max


def _partial(path: Path) -> Path:
    """Return the hidden temporary name of a file, in the same folder."""
    return path.with_name(f".{path.name}{PARTIAL_SUFFIX}")

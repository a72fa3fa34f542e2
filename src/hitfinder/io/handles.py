"""Open HDF5 files: few at a time, each once, in the process that reads them."""

from __future__ import annotations

import collections
import contextlib
import gc
import os
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, TypeVar

import h5py
import hdf5plugin  # noqa: F401 - makes the detector's compression filters known to HDF5

from hitfinder.errors import SourceError

T = TypeVar("T")

OPEN_FILES = 8


class QuietLock:
    """A lock for HDF5, which one thread may take several times; no garbage is collected meanwhile.

    Garbage may hold handles, kept by the traceback of an error, say. Closing them takes others with
    them now and then, of which HDF5 is in the middle of using one.
    """

    def __init__(self) -> None:
        self._lock = threading.RLock()
        self._depth, self._collects = 0, False

    def __enter__(self) -> None:
        self._lock.acquire()
        if self._depth == 0:
            self._collects = gc.isenabled()
            gc.disable()
        self._depth += 1

    def __exit__(self, *error: object) -> None:
        self._depth -= 1
        if self._depth == 0 and self._collects:
            gc.enable()
        self._lock.release()


class FilePool:
    """The HDF5 files a process has open for reading, the least used closed first.

    Parameters
    ----------
    limit : int
        Files open at the same time.
    """

    def __init__(self, limit: int = OPEN_FILES) -> None:
        self.limit = limit
        self.lock = QuietLock()
        self._files: collections.OrderedDict[str, h5py.File] = collections.OrderedDict()
        self._stamps: dict[str, tuple[int, ...]] = {}
        self._datasets: dict[str, dict[str, h5py.Dataset]] = {}
        self._made: dict[str, dict[Any, Any]] = {}

    def file(self, path: str) -> h5py.File:
        """Return an open file; one that changed on disk since it was opened is opened anew.

        Raises
        ------
        SourceError
            If it cannot be opened.
        """
        with self.lock:
            now = _stamp(path)
            # A handle may have been closed elsewhere, with another one of the same file.
            if path in self._files and (self._stamps[path] != now or not self._files[path]):
                self.discard(path)
            if path in self._files:
                self._files.move_to_end(path)
                return self._files[path]
            handle = open_file(path)
            self._files[path], self._stamps[path] = handle, now
            while len(self._files) > self.limit:
                self.discard(next(iter(self._files)))
            return handle

    def dataset(self, file: str, path: str) -> h5py.Dataset:
        """Return an open dataset, which lives no longer than its file stays in the pool.

        Raises
        ------
        SourceError
            If the file cannot be opened or has no such dataset.
        """
        with self.lock:
            handle = self.file(file)
            known = self._datasets.setdefault(file, {})
            if path not in known or not known[path]:
                try:
                    known[path] = handle[path]
                except (KeyError, OSError) as error:
                    raise open_error(error, file) from error
            return known[path]

    def made_of(self, path: str, make: Callable[[h5py.File], T]) -> T:
        """Return what is made of an open file, once as long as it stays in the pool.

        Raises
        ------
        SourceError
            If it cannot be opened.
        """
        with self.lock:
            handle = self.file(path)
            known = self._made.setdefault(path, {})
            if make not in known:
                known[make] = make(handle)
            return known[make]

    def discard(self, path: str) -> None:
        """Close a file if it is open."""
        with self.lock:
            self._datasets.pop(path, None)
            self._made.pop(path, None)
            handle = self._files.pop(path, None)
            if handle is not None:
                handle.close()

    @contextlib.contextmanager
    def visit(self) -> Iterator[None]:
        """Close at the end the files that were opened within, so that a look leaves none open."""
        with self.lock:
            before = set(self._files)
            try:
                yield
            finally:
                for path in set(self._files) - before:
                    self.discard(path)

    def forget(self) -> None:
        """Start anew in a forked child, which must not use its parent's handles."""
        self.__init__(self.limit)  # type: ignore[misc]


def _stamp(path: str) -> tuple[int, ...]:
    """Return what changes when a file is written to or replaced; empty if it is not there."""
    try:
        found = os.stat(path)
    except OSError:
        return ()
    return found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns


def open_file(path: str | Path) -> h5py.File:
    """Open an HDF5 file for reading, even while another program appends to it (SWMR mode).

    Raises
    ------
    SourceError
        ``missing-file``, ``truncated`` or ``unreadable``, saying why.
    """
    if Path(path).exists() and not (Path(path).is_file() or Path(path).is_dir()):
        # HDF5 would wait for whoever is to write to a pipe.
        raise SourceError("unreadable", "is a pipe or a device, not a file", str(path))
    try:
        return h5py.File(path, "r", locking="best-effort")
    except (OSError, ValueError) as error:
        if "already open for write" not in str(error):
            raise open_error(error, str(path)) from error
        try:
            return h5py.File(path, "r", locking="best-effort", libver="latest", swmr=True)
        except OSError:
            raise open_error(error, str(path)) from error


def open_error(error: Exception, path: str) -> SourceError:
    """Name the reason for which HDF5 could not open a file, or an object in it.

    HDF5 tells its reasons apart only by the text of the error.
    """
    text = " ".join(str(error).strip("'\"").split())
    if isinstance(error, FileNotFoundError):
        return SourceError("missing-file", "there is no such file", path)
    if isinstance(error, IsADirectoryError):
        return SourceError("unreadable", "is a folder", path)
    if isinstance(error, PermissionError) or "Permission denied" in text:
        return SourceError("unreadable", "may not be read (permission denied)", path)
    if "truncated file" in text:
        return SourceError("truncated", f"the file was cut short ({_inner(text)})", path)
    if "signature not found" in text:
        if Path(path).is_file() and not Path(path).stat().st_size:
            return SourceError("truncated", "the file is empty", path)
        return SourceError("unreadable", "this is not an HDF5 file", path)
    if "lock file" in text or "already open" in text:
        # HDF5 advises h5clear, which damages a file that is being written.
        hint = (
            "Wait until it is closed; if that program was killed, repair a copy (h5clear -s COPY)."
        )
        return SourceError("unreadable", "another program is writing this file", path, hint)
    return SourceError("unreadable", f"HDF5 cannot read it ({_inner(text)})", path)


def _inner(text: str) -> str:
    """Return what HDF5 says in the brackets at the end of its message."""
    start = text.find("(")
    return text[start + 1 : -1] if start >= 0 and text.endswith(")") else text


POOL = FilePool()
"""The pool of this process."""

os.register_at_fork(after_in_child=POOL.forget)

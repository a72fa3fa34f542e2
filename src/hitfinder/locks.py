"""Folders that one process at a time may write to."""

from __future__ import annotations

import contextlib
import fcntl
import os
from collections.abc import Iterator
from pathlib import Path

from hitfinder.errors import OutputError

LOCK = ".lock"


class Lock:
    """A lock on a folder, held until it is released or its process ends, however it ends.

    Parameters
    ----------
    path : Path
        File that stands for the lock, in an existing folder; made if it is not there.
    what : str
        What writes to the folder, for people.

    Raises
    ------
    OutputError
        If another process holds it, or the file cannot be made.
    """

    def __init__(self, path: Path, what: str) -> None:
        self._path = path
        self._descriptor = -1
        while self._descriptor < 0:
            self._descriptor = self._locked(what)

    def _locked(self, what: str) -> int:
        """Return the open file once it is locked; -1 if its name stands for another one by then."""
        # Not through a link, and without emptying what is there.
        flags = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC
        try:
            descriptor = os.open(self._path, flags, 0o666)
        except OSError as error:
            raise OutputError.unwritable(error.strerror, self._path) from error
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            os.close(descriptor)
            hint = "Wait for it, or write to another folder."
            raise OutputError(
                f"another {what} is writing here", str(self._path.parent), hint
            ) from error
        with contextlib.suppress(FileNotFoundError):
            if os.path.samestat(os.fstat(descriptor), os.stat(self._path)):
                return descriptor
        os.close(descriptor)
        return -1

    def release(self) -> None:
        """Let other processes have it."""
        if self._descriptor >= 0:
            os.close(self._descriptor)
        self._descriptor = -1


def is_locked(path: Path) -> bool:
    """Say whether a process holds the `Lock` of a file, without taking it.

    A shared lock is tried, and given back at once.
    """
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
    except OSError:
        return False
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except OSError:
        return True
    finally:
        os.close(descriptor)
    return False


@contextlib.contextmanager
def locked(folder: Path, what: str) -> Iterator[None]:
    """Keep a folder for this process in the block; no file is left in it.

    Parameters
    ----------
    folder : Path
        An existing folder.
    what : str
        What writes to it, for people.

    Raises
    ------
    OutputError
        If another process holds it, or nothing can be written there.
    """
    lock = Lock(folder / LOCK, what)
    try:
        yield
    finally:
        # While it is held: whoever opens the file now sees that it has gone.
        (folder / LOCK).unlink(missing_ok=True)
        lock.release()

"""Output files that appear whole or not at all."""

from __future__ import annotations

import contextlib
import errno
import hashlib
import os
import re
import socket
import time
from collections.abc import Iterator
from pathlib import Path

from hitfinder.errors import OutputError

_DISK_ERRORS = {
    errno.EACCES,
    errno.EDQUOT,
    errno.EFBIG,
    errno.EISDIR,
    errno.ENOSPC,
    errno.EPERM,
    errno.EROFS,
}


_HOST = re.sub(r"\W", "", socket.gethostname()) or "host"
_UNFINISHED = re.compile(r"\.(?P<host>\w+)-(?P<process>\d+)\.part$")
_DAY_S = 86400.0


@contextlib.contextmanager
def replacing(path: str | os.PathLike[str]) -> Iterator[Path]:
    """Give a temporary name beside `path` to write to, and rename it to `path` at the end.

    If the body raises, the temporary file is removed and `path` stays as it was.

    Parameters
    ----------
    path : path-like
        File to write.

    Yields
    ------
    pathlib.Path
        Name to write under, in the same folder.

    Raises
    ------
    OutputError
        If the folder does not exist or cannot be written to, or the disk is full.
    """
    target = Path(path)
    if not target.parent.is_dir():
        raise OutputError(f"folder {str(target.parent)!r} does not exist", str(target))
    part = target.with_name(f".{target.name}.{_HOST}-{os.getpid()}.part")
    try:
        yield part
        os.replace(part, target)
    except OSError as error:
        if error.errno in _DISK_ERRORS:
            raise OutputError.unwritable(error.strerror, target) from error
        raise
    finally:
        part.unlink(missing_ok=True)


def make_folder(path: Path) -> None:
    """Make a folder and those above it, where they are not there.

    Raises
    ------
    OutputError
        If it cannot be made.
    """
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OutputError.unwritable(error.strerror, path, "cannot be made") from error


def clear_unfinished(folder: Path) -> None:
    """Remove what processes that were killed have left half written in a folder.

    Files of processes of other machines are left for a day, since they may be at work.
    """
    for path in folder.glob(".*.part"):
        found = _UNFINISHED.search(path.name)
        if found and _is_abandoned(path, found["host"], int(found["process"])):
            path.unlink(missing_ok=True)


def _is_abandoned(path: Path, host: str, process: int) -> bool:
    try:
        if host != _HOST:
            return time.time() - path.stat().st_mtime > _DAY_S
        os.kill(process, 0)
    except (ProcessLookupError, OverflowError):
        return True
    except OSError:
        return False
    return False


def sha256(path: Path) -> str:
    """Return the SHA-256 of a file, in hexadecimal."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()

"""A place where compiled code can be kept, for installations where Numba finds none itself.

Numba keeps what it compiles beside the source, or else in the user's cache folder, and refuses to
work if neither can be written to: in a container, say, or for a service account without a home.
"""

from __future__ import annotations

import os
import stat

VARIABLE = "NUMBA_CACHE_DIR"
"""Where Numba is told to keep compiled code; processes that are started get it too."""


def ensure() -> None:
    """Choose a temporary folder of this user's if nothing else can be written to.

    It is to be called before Numba is imported. The folder stays: what is compiled once, which
    takes a minute, is there for the next command.
    """
    package = os.path.dirname(__file__)
    rooms = (package, os.path.join(package, "finding"))
    beside = all(_is_writable(os.path.join(room, "__pycache__")) for room in rooms)
    home = os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache")
    if VARIABLE in os.environ or beside or _is_writable(os.path.join(home, "numba")):
        return
    if (folder := _temporary()) is not None:
        os.environ[VARIABLE] = folder


def _is_writable(folder: str) -> bool:
    """Whether files can be made in a folder; it is made if it is not there, as Numba would.

    Rights alone do not tell: of some file systems, /proc among them, they promise too much.
    """
    try:
        os.makedirs(folder, exist_ok=True)
    except OSError:
        return False
    return os.access(folder, os.W_OK | os.X_OK)


def _temporary() -> str | None:
    """Return a temporary folder that nobody else can write to, since what is in it is run."""
    import tempfile

    try:
        folder = os.path.join(tempfile.gettempdir(), f"hitfinder-{os.getuid()}")
        try:
            os.mkdir(folder, 0o700)
        except FileExistsError:
            found = os.lstat(folder)
            ours = stat.S_ISDIR(found.st_mode) and found.st_uid == os.getuid()
            if not ours or found.st_mode & (stat.S_IWGRP | stat.S_IWOTH):
                return tempfile.mkdtemp(prefix="hitfinder-")
        return folder
    except OSError:
        return None

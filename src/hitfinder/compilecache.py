"""Compiled code: a place where it can be kept, and none of it older than its source.

Numba keeps what it compiles beside the source, or else in the user's cache folder, and refuses to
work if neither can be written to: in a container, say, or for a service account without a home.

It compiles a function anew if the function's own file has changed. But compiled code holds what
its file imports, too: constants, and functions of other files. After an update some functions would
go on with those of before, and nothing would tell.
"""

from __future__ import annotations

import contextlib
import os
import stat
import sys
from collections.abc import Callable, Iterable, Iterator

VARIABLE = "NUMBA_CACHE_DIR"
"""Where Numba is told to keep compiled code; processes that are started get it too."""

STATE = "compiled-from.txt"
"""What the package's files were like when code was compiled last."""


def ensure() -> None:
    """Choose a temporary folder of this user's if nothing else can be written to.

    It is to be called before Numba is imported. The folder stays: what is compiled once, which
    takes a minute, is there for the next command. What was compiled from other source goes.
    """
    package = os.path.dirname(os.path.abspath(__file__))
    rooms = (package, os.path.join(package, "finding"))
    beside = all(_is_writable(os.path.join(room, "__pycache__")) for room in rooms)
    home = os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache")
    folder: str | None = os.environ.get(VARIABLE)
    if folder is None and not beside:
        folder = os.path.join(home, "numba")
        if not _is_writable(folder) and (folder := _temporary()) is not None:
            os.environ[VARIABLE] = folder
    forget_stale(package, lambda room: _kept_in(room, folder))


def _kept_in(room: str, folder: str | None) -> str:
    """Return where Numba keeps the compiled code of a room: in a folder of all, or beside it."""
    if folder is None:
        return os.path.join(room, "__pycache__")
    # Slow to import.
    import hashlib

    return os.path.join(
        folder, f"{os.path.basename(room)}_{hashlib.sha1(room.encode()).hexdigest()}"
    )


def forget_stale(package: str, kept_in: Callable[[str], str]) -> None:
    """Delete the compiled code of files that have changed, or that import one that has.

    Parameters
    ----------
    package : str
        Folder of the package, which is called like it.
    kept_in : callable
        Returns the folder that the compiled code of a folder of the package is kept in.
    """
    state = os.path.join(kept_in(package), STATE)
    files = dict(_files(package))
    lines = "".join(f"{found} {name}\n" for name, found in sorted(files.items()))
    try:
        with open(state, encoding="utf-8") as file:
            kept = file.read()
    except (OSError, ValueError):
        kept = ""
    if kept == lines:
        return
    before = {name: found for found, _, name in (line.partition(" ") for line in kept.splitlines())}
    changed = {name for name in files.keys() | before if files.get(name) != before.get(name)}
    for name in _with_importers(package, files, changed):
        room, stem = os.path.split(os.path.join(package, name.removesuffix(".py")))
        _forget(kept_in(room), f"{stem}.")
    # Slow to import.
    from hitfinder.atomic import replacing
    from hitfinder.errors import OutputError

    with contextlib.suppress(OSError, OutputError):
        os.makedirs(os.path.dirname(state), exist_ok=True)
        with replacing(state) as part:
            part.write_text(lines, encoding="utf-8")


def keep_bytecode() -> None:
    """Have the bytecode of modules kept that this process and those it starts import.

    Many containers forbid it by ``PYTHONDONTWRITEBYTECODE``. Every process then compiles all that
    it imports anew, which takes seconds, unless the bytecode is there.
    """
    # Slow to import.
    import compileall

    os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
    sys.dont_write_bytecode = False
    for module in list(sys.modules.values()):
        path = getattr(module, "__file__", None) or ""
        if path.endswith(".py"):
            compileall.compile_file(path, quiet=2)


class NotCompiledError(Exception):
    """Code that is called was not compiled before."""


@contextlib.contextmanager
def nothing_compiled() -> Iterator[None]:
    """Let compiled code be loaded in the block, but none be compiled.

    Raises
    ------
    NotCompiledError
        Where something would be compiled.
    """
    # Slow to import.
    from numba.core import event

    class Refusing(event.Listener):
        def on_start(self, event: event.Event) -> None:
            raise NotCompiledError

        def on_end(self, event: event.Event) -> None:
            pass

    with event.install_listener("numba:compile", Refusing()):
        yield


def _forget(folder: str, beginning: str) -> None:
    """Delete compiled code of a file, by how its names begin."""
    with contextlib.suppress(OSError):
        for name in os.listdir(folder):
            if name.startswith(beginning) and name.endswith((".nbi", ".nbc")):
                # Another process may have deleted it meanwhile.
                with contextlib.suppress(OSError):
                    os.unlink(os.path.join(folder, name))


def _files(folder: str, within: str = "") -> Iterator[tuple[str, str]]:
    """Yield the source files of a folder, when they were written and how long they are."""
    for entry in os.scandir(folder):
        if entry.is_dir():
            if entry.name != "__pycache__":
                yield from _files(entry.path, f"{within}{entry.name}/")
        elif entry.name.endswith(".py"):
            # An editor's lock is a link to nothing.
            with contextlib.suppress(OSError):
                found = entry.stat()
                yield f"{within}{entry.name}", f"{found.st_mtime_ns}:{found.st_size}"


def _with_importers(package: str, files: Iterable[str], changed: set[str]) -> set[str]:
    """Return files that have changed, and all that import them, or what imports them."""
    importers: dict[str, set[str]] = {}
    for name in files:
        with contextlib.suppress(OSError, UnicodeDecodeError):
            with open(os.path.join(package, name), encoding="utf-8") as file:
                text = file.read()
            for imported in _imported(os.path.basename(package), text):
                importers.setdefault(imported, set()).add(name)
    found, fresh = set(changed), set(changed)
    while fresh:
        fresh = set().union(*(importers.get(name, set()) for name in fresh)) - found
        found |= fresh
    return found


def _imported(package: str, text: str) -> Iterator[str]:
    """Yield the files of a package that a source file may import, whether they are there or not."""
    import re  # slow to import

    lines = re.findall(rf"^\s*from {package}((?:\.\w+)*) import (\([^)]*\)|.*)", text, re.M)
    for module, names in lines:
        place = module[1:].replace(".", "/")
        if place:
            yield f"{place}.py"
            yield f"{place}/__init__.py"
        yield from (f"{place}/{name}.py".lstrip("/") for name in re.findall(r"\w+", names))


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

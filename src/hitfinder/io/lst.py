"""CrystFEL lists: one frame a line, ``path //event``."""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path

from hitfinder import atomic
from hitfinder.errors import SourceError
from hitfinder.io.source import FrameRef

SUFFIXES = (".lst", ".list")
TEXT = ".txt"
"""How the names of lists end, in capitals or not; of texts, some are lists."""

MOST_BYTES = 1 << 32
"""Size beyond which a file is no list: 30 million lines of 128 characters."""

_MOST_LINE = 1 << 13


def is_list(path: str) -> bool:
    """Tell a list by its name; a text by its first line, which names a file with an ending."""
    name = path.lower()
    if not name.endswith((*SUFFIXES, TEXT)):
        return False
    try:
        with open(path, "rb") as file:
            begin = file.read(_MOST_LINE)
    except OSError:
        return True
    if begin.startswith(b"\x89HDF\r\n\x1a\n"):
        return False
    first = parse_line(begin.lstrip().partition(b"\n")[0].decode(errors="replace"))
    return name.endswith(SUFFIXES) or bool(first.event or os.path.splitext(first.file)[1])


def parse_line(line: str) -> FrameRef:
    """Read a line: what follows the last blank is the event if it holds ``//``.

    A line without an event stands for every frame of the file. Blanks at the ends do not count.
    """
    text = line.strip()
    pieces = text.rsplit(maxsplit=1)
    if len(pieces) == 2 and "//" in pieces[1]:
        return FrameRef(*pieces)
    return FrameRef(text)


def is_comment(line: str) -> bool:
    """Whether a line is a remark, which begins with ``#`` or ``;`` and names no file."""
    return line.lstrip().startswith(("#", ";")) and not os.path.exists(parse_line(line).file)


def format_line(ref: FrameRef) -> str:
    """Write a line, without a line end.

    Raises
    ------
    ValueError
        If the path has a line break in it.
    """
    if "\n" in ref.file or "\n" in ref.event:
        raise ValueError(f"path {ref.file!r} has a line break in it")
    return f"{ref.file} {ref.event}".rstrip()


def read_lst(path: str | Path) -> list[FrameRef]:
    """Read a list.

    A relative path is taken from the working directory, as CrystFEL does; if there is no such
    file there, from the folder of the list.

    Parameters
    ----------
    path : str or Path
        The list.

    Returns
    -------
    list of FrameRef
        In the order of the list; the event is empty where a line has none.

    Raises
    ------
    SourceError
        If the list cannot be read or is empty.
    """
    try:
        if Path(path).stat().st_size > MOST_BYTES:
            raise SourceError("unreadable", "is too large for a list", str(path))
        text = Path(path).read_text(encoding="utf-8-sig", errors="surrogateescape")
    except FileNotFoundError as error:
        raise SourceError("missing-file", "there is no such list", str(path)) from error
    except OSError as error:
        raise SourceError("unreadable", f"cannot be read ({error})", str(path)) from error
    if "\0" in text:
        line = text[: text.index("\0")].count("\n") + 1
        raise SourceError("unreadable", "this is no list of files", f"{path}, line {line}")
    lines = (line for line in text.split("\n") if line.strip() and not is_comment(line))
    refs = [parse_line(line) for line in lines]
    if not refs:
        raise SourceError("no-frames", "the list is empty", str(path))
    folder = Path(path).parent
    places = {file: _place(file, folder) for file in {ref.file for ref in refs}}
    there = {file for file, place in places.items() if file == place}
    return [ref if ref.file in there else FrameRef(places[ref.file], ref.event) for ref in refs]


def _place(file: str, folder: Path) -> str:
    if os.path.isabs(file) or os.path.exists(file) or not (folder / file).exists():
        return file
    return str(folder / file)


def write_lst(path: str | Path, refs: Iterable[FrameRef]) -> None:
    """Write a list, whole or not at all.

    Parameters
    ----------
    path : str or Path
        File to write.
    refs : iterable of FrameRef
        The frames, in order.

    Raises
    ------
    OutputError
        If it cannot be written.
    """
    with (
        atomic.replacing(path) as part,
        open(part, "w", encoding="utf-8", errors="surrogateescape") as file,
    ):
        file.writelines(f"{format_line(ref)}\n" for ref in refs)

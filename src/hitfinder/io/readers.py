"""Readers of file formats by name, and the question which of them can open a file."""

from __future__ import annotations

import dataclasses
import functools
import logging
import os
from collections.abc import Callable, Collection
from typing import Any, Protocol, TypeVar, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from hitfinder.errors import ConfigError, SourceError
from hitfinder.geometry.layout import FrameLayout
from hitfinder.io.derived import DerivedSource
from hitfinder.io.source import FrameSource, Metadata
from hitfinder.plugins import Registered, Registry

log = logging.getLogger(__name__)

T = TypeVar("T")


@dataclasses.dataclass(frozen=True)
class Opening:
    """What a reader is told besides the file.

    Attributes
    ----------
    layout : FrameLayout or None
        How HDF5 files keep a frame, as a geometry file says.
    dataset : str or None
        Path of the frames in HDF5 files, if not at a usual place.
    other : callable
        Opens another file that this one names, whatever its format; what cannot be opened is a
        source of one frame whose `read` tells why.
    ahead : callable
        Told of files before they are asked of `other`, so that many can be opened at a time.
    """

    layout: FrameLayout | None
    dataset: str | None
    other: Callable[[str], FrameSource]
    ahead: Callable[[Collection[str]], None] = lambda files: None


@runtime_checkable
class Reader(Protocol):
    """Opens the files of one format.

    A class that is registered as a reader is called without arguments, once for a process, and
    gives such an object. Readers of other packages are asked before ours, so that one may take,
    say, one kind of HDF5 file; it must leave files of other kinds alone.

    Attributes
    ----------
    suffixes : tuple of str
        Endings, in lower case, of the files that a folder is searched for.
    """

    suffixes: tuple[str, ...]

    def guess_can_open(self, file: str) -> bool:
        """Say whether this is a file of the format, by its name or a quick look into it.

        Whatever is the matter with the file, there is an answer and no exception: a damaged file
        that looks like one of the format had better be opened, to tell what is wrong with it.
        """
        ...

    def open(self, file: str, opening: Opening) -> FrameSource:
        """Open a file.

        Raises
        ------
        SourceError
            If it cannot be read.
        """
        ...


READERS = Registry(
    "reader",
    "hitfinder.readers",
    {
        "lst": "hitfinder.io.formats:ListReader",
        "cbf": "hitfinder.io.formats:CbfReader",
        "npy": "hitfinder.io.formats:NpyReader",
        "hdf5": "hitfinder.io.formats:Hdf5Reader",
        "image": "hitfinder.io.formats:ImageReader",
    },
)
"""What `--reader` takes. Ours are asked in this order, those of other packages before."""


def open_file(file: str, opening: Opening, wanted: str | None = None) -> FrameSource:
    """Open a file with the reader that can.

    Parameters
    ----------
    file : str
        An existing file.
    opening : Opening
        What the reader is told besides.
    wanted : str, optional
        Name or ``module:Class`` of the reader to use, whatever it says of the file.

    Raises
    ------
    SourceError
        If no reader knows the file, or the one that does cannot open it.
    ConfigError
        If there is no reader of the name wanted.
    """
    found = READERS.find(wanted) if wanted else _reader_of(file)
    reader = reader_named(found.name)
    source = _guarded(found, file, lambda: reader.open(file, opening))
    if not found.is_ours:
        if not isinstance(source, FrameSource):
            what = f"reader {found.name!r} of {found.origin} gave {type(source).__name__}"
            raise SourceError("unreadable", f"{what}, which is no FrameSource", file)
        opened = source
        source = _guarded(found, file, lambda: GuardedSource(opened, found, file))
    source.reader = found.name
    return source


def reader_named(name: str) -> Reader:
    """Return the reader of a name, or of a ``module:Class``.

    Raises
    ------
    ConfigError
        If there is none, or it is none.
    """
    return _made(READERS.find(name))


def searched_suffixes() -> tuple[str, ...]:
    """Return the endings of the files that a folder is searched for."""
    return tuple(suffix for _, reader in _usable() for suffix in reader.suffixes)


def readers() -> dict[str, str]:
    """Return the readers that are registered, plug-ins included: name and ``module:Class``.

    Examples
    --------
    >>> import hitfinder as hf
    >>> hf.readers()["cbf"]
    'hitfinder.io.formats:CbfReader'
    """
    return READERS.paths()


@functools.lru_cache(maxsize=64)
def _made(found: Registered) -> Reader:
    cls = READERS.load(found.name)
    try:
        reader: Any = cls()
    except Exception as error:
        what = f"reader {found.name!r} cannot be built ({type(error).__name__}: {error})"
        raise ConfigError(what, hint=f"It is from {found.origin}.") from error
    if not isinstance(reader, Reader):
        what = f"{found.name!r} is no reader: it lacks suffixes, guess_can_open or open"
        raise ConfigError(what, hint=f"It is from {found.origin}.")
    return reader


@functools.lru_cache(maxsize=64)
def _made_if_possible(found: Registered) -> Reader | None:
    """Return a reader, or None with a warning, once, if that of another package is broken."""
    try:
        return _made(found)
    except ConfigError as error:
        log.warning("%s", error)
        return None


def _usable() -> list[tuple[Registered, Reader]]:
    """Return the readers in the order in which they are asked."""
    known = sorted(READERS.known().values(), key=lambda found: found.is_ours)
    made = ((found, _made_if_possible(found)) for found in known)
    return [(found, reader) for found, reader in made if reader is not None]


def _reader_of(file: str) -> Registered:
    """Return the first reader that says it can open a file."""
    for found, reader in _usable():
        try:
            can = reader.guess_can_open(file)
        except Exception as error:
            if found.is_ours:
                raise
            log.warning(
                "reader %r of %s cannot tell whether it can open %s (%s: %s)",
                *(found.name, found.origin, file, type(error).__name__, error),
            )
            continue
        if can:
            return found
    if not os.access(file, os.R_OK):
        raise SourceError("unreadable", "may not be read (permission denied)", file)
    if not os.path.getsize(file):
        raise SourceError("truncated", "the file is empty", file)
    hint = "'hitfinder plugins' lists the readers; --reader NAME uses one of them all the same."
    if file.lower().endswith((".geom", ".poni", ".expt")):
        hint = "It is a geometry: name the frames, and give it as --geometry."
    raise SourceError("unreadable", "no reader knows this kind of file", file, hint)


def _guarded(found: Registered, where: str, ask: Callable[[], T]) -> T:
    """Ask a reader; what goes wrong in one of another package is an error of the file."""
    fails = f"reader {found.name!r} of {found.origin} fails"
    with found.answering(
        lambda why: SourceError("unreadable", f"{fails} ({why})", where), IndexError
    ):
        return ask()


class GuardedSource(DerivedSource):
    """A source of another package, whose faults are those of its file.

    Parameters
    ----------
    source : FrameSource
        The source.
    found : Registered
        The reader that opened it.
    file : str
        The file.
    """

    def __init__(self, source: FrameSource, found: Registered, file: str) -> None:
        super().__init__(source)
        self._found, self._file = found, file

    def read(self, index: int, out: NDArray | None = None) -> NDArray:
        """Read one frame; see `FrameSource.read`."""
        frame = self.buffer(out)
        read = _guarded(self._found, self._file, lambda: self._source.read(index, frame))
        if read is not frame:
            what = f"reader {self._found.name!r} does not read into the buffer it is given"
            raise SourceError("unreadable", what, self._file)
        return frame

    @property
    def metadata(self) -> Metadata:
        """What the file says about its frames."""
        return _guarded(self._found, self._file, lambda: self._source.metadata)

    def frame_metadata(self, index: int) -> Metadata:
        """Return what the file says about one frame."""
        return _guarded(self._found, self._file, lambda: self._source.frame_metadata(index))

    def mask_of(self, index: int) -> NDArray[np.bool_] | None:
        """Return a frame's mask."""
        return _guarded(self._found, self._file, lambda: self._source.mask_of(index))

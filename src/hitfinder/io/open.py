"""Open whatever the user names as one source of frames."""

from __future__ import annotations

import glob
import logging
import os
import re
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hitfinder import logs
from hitfinder.errors import SourceError
from hitfinder.geometry.layout import FrameLayout
from hitfinder.io import cbf, lst
from hitfinder.io.cbf import CbfSource
from hitfinder.io.composite import CompositeSource, FailedSource
from hitfinder.io.handles import POOL
from hitfinder.io.hdf5 import open_hdf5
from hitfinder.io.memory import ArraySource, NpySource
from hitfinder.io.source import FrameRef, FrameSource

log = logging.getLogger(__name__)

HDF5_SUFFIXES = (".h5", ".hdf5", ".hdf", ".he5", ".cxi", ".nxs", ".nx5")
FILE_SUFFIXES = (*HDF5_SUFFIXES, *cbf.SUFFIXES, ".npy")
"""Files that a folder is searched for."""

Input = str | os.PathLike[str] | NDArray
"""A file, a folder, a pattern, a list (``.lst``) or an array."""


def open_source(
    inputs: Input | Sequence[Input],
    *,
    layout: FrameLayout | None = None,
    dataset: str | None = None,
) -> FrameSource:
    """Open frames, wherever they are, as one source.

    An input that cannot be opened stands for one frame, which fails to read with the reason. A
    file named twice, or named beside a master that links it, is taken once.

    Parameters
    ----------
    inputs : str, Path, ndarray, or sequence of them
        Files, folders (searched with their subfolders), patterns with ``*``, ``?`` or ``[]``,
        CrystFEL lists (``.lst``), arrays of shape (n, ss, fs) or (ss, fs). Files of folders and
        patterns come in natural order of their names.
    layout : FrameLayout, optional
        How HDF5 files keep a frame, as a geometry file says.
    dataset : str, optional
        Path of the frames in HDF5 files, if not at a usual place.

    Returns
    -------
    FrameSource
        All frames, in order of the inputs.

    Raises
    ------
    ValueError
        If there is no input, or one is neither a path nor an array.
    """
    given = listed(inputs)
    opened = _Opened(layout, dataset)
    sources: list[FrameSource] = []
    with POOL.visit():
        for number, item in enumerate(given):
            if isinstance(item, np.ndarray):
                sources.append(_array(item, f"array{number}" if len(given) > 1 else "array"))
            elif os.fspath(item).endswith(".lst") and not os.path.isdir(item):
                sources.append(_from_list(os.fspath(item), opened))
            else:
                sources += _files(os.fspath(item), opened)
    sources = _without_linked(sources, opened)
    return sources[0] if len(sources) == 1 else CompositeSource(sources)


def listed(inputs: Input | Sequence[Input]) -> list[Input]:
    """Return the inputs as a list, also if there is only one.

    Raises
    ------
    ValueError
        If there is none, or one is neither a path nor an array.
    """
    kinds = str, os.PathLike, np.ndarray
    if isinstance(inputs, kinds) or not isinstance(inputs, Iterable):
        inputs = [inputs]
    given: list[Any] = list(inputs)
    for item in given:
        if not isinstance(item, kinds):
            raise ValueError(f"an input is a path or an array, not {type(item).__name__}: {item!r}")
    if not given:
        raise ValueError("no input")
    return given


def check_readable(source: FrameSource) -> None:
    """Report what is known to be wrong with the inputs, or odd about what they say of the beam.

    Raises
    ------
    SourceError
        If no frame is readable.
    """
    problems = source.problems
    if not source.n_readable:
        if problems:
            raise problems[0]
        raise SourceError("no-frames", "there is no frame", source.ref(0).file)
    logs.warn_of_first(log, problems, "problems with the inputs")
    for note in source.metadata.notes:
        log.warning("%s: %s", source.ref(0).file, note)


def open(
    inputs: Input | Sequence[Input],
    *,
    layout: FrameLayout | None = None,
    dataset: str | None = None,
) -> FrameSource:
    """Open frames, wherever they are, as one sequence.

    Frames are read one at a time, when they are asked for, as they are stored. An input that
    cannot be opened beside others stands for one frame, which fails to read with the reason.

    Parameters
    ----------
    inputs : str, Path, ndarray, or sequence of them
        Files, folders (searched with their subfolders), patterns with ``*``, ``?`` or ``[]``,
        CrystFEL lists (``.lst``), arrays of shape (n, ss, fs) or (ss, fs).
    layout : FrameLayout, optional
        How HDF5 files keep a frame, as `hitfinder.read_geom` tells.
    dataset : str, optional
        Path of the frames in HDF5 files, if not at a usual place.

    Returns
    -------
    FrameSource
        All frames, in order of the inputs: ``len``, indices and iteration give them. It is a
        context manager, which closes the files.

    Raises
    ------
    SourceError
        If no frame is readable.
    ValueError
        If there is no input, or one is neither a path nor an array.

    Examples
    --------
    >>> import hitfinder as hf
    >>> with hf.open("run7_master.h5") as frames:
    ...     frame = frames[12]
    ...     print(len(frames), frame.shape, frame.dtype)
    16 (512, 512) uint16
    """
    source = open_source(inputs, layout=layout, dataset=dataset)
    check_readable(source)
    return source


class _Opened:
    """Opens files, and remembers which were given, by the place where they really are."""

    def __init__(self, layout: FrameLayout | None, dataset: str | None) -> None:
        self.layout, self.dataset = layout, dataset
        self.given: dict[str, FrameSource] = {}

    def open(self, file: str) -> FrameSource:
        """Open a file; a `FailedSource` if that is not possible."""
        try:
            return self._open(file)
        except SourceError as error:
            return FailedSource(FrameRef(file), error)

    def _open(self, file: str) -> FrameSource:
        if not os.path.exists(file):
            raise SourceError("missing-file", "there is no such file or folder", file)
        name = file.lower()
        if name.endswith(cbf.SUFFIXES):
            return CbfSource(file)
        if name.endswith(".npy"):
            return NpySource(file)
        return open_hdf5(file, self.layout, self.dataset)


def _array(frames: NDArray, name: str) -> FrameSource:
    try:
        return ArraySource(frames, name)
    except SourceError as error:
        return FailedSource(FrameRef(name), error)


def _files(item: str, opened: _Opened) -> list[FrameSource]:
    """Open a file, or those of a folder or pattern, but for those given before."""
    try:
        files = _expand(item)
    except SourceError as error:
        return [FailedSource(FrameRef(item), error)]
    # Masters first: what they link need not be opened by itself.
    fresh = {os.path.realpath(file): file for file in reversed(files)}
    fresh = {place: file for place, file in fresh.items() if place not in opened.given}
    linked: set[str] = set()
    found: dict[str, FrameSource] = {}
    for place, file in sorted(fresh.items(), key=lambda pair: "master" not in pair[1].lower()):
        if place in linked:
            continue
        found[place] = opened.given[place] = opened.open(file)
        linked.update(_linked(found[place]))
    order = dict.fromkeys(os.path.realpath(file) for file in files)
    return [found[place] for place in order if place in found]


def _expand(item: str) -> list[str]:
    """Return the files that an input stands for.

    Raises
    ------
    SourceError
        If a folder or pattern has none.
    """
    if os.path.isdir(item):
        paths = [os.path.join(f, name) for f, _, names in os.walk(item) for name in names]
        shown = (path for path in paths if not os.path.basename(path).startswith("."))
        files = [path for path in shown if path.lower().endswith(FILE_SUFFIXES)]
        if not files:
            raise SourceError("no-frames", "the folder has no files of frames", item)
        return natural_order(files)
    if glob.has_magic(item) and not os.path.exists(item):
        files = [path for path in glob.glob(item, recursive=True) if not os.path.isdir(path)]
        if not files:
            raise SourceError("missing-file", "no file matches the pattern", item)
        return natural_order(files)
    return [item]


def natural_order(paths: Iterable[str]) -> list[str]:
    """Sort paths so that numbers in them count as numbers: ``run2`` before ``run10``."""

    def key(path: str) -> list[tuple[int, int, str]]:
        pieces = re.split(r"(\d+)", path)
        return [(0, int(p), p) if p.isdigit() and p.isascii() else (1, 0, p) for p in pieces]

    return sorted(paths, key=key)


def _linked(source: FrameSource) -> set[str]:
    return {os.path.realpath(file.path) for file in source.contents.linked_files}


def _without_linked(sources: list[FrameSource], opened: _Opened) -> list[FrameSource]:
    """Drop files that were given by themselves and are linked from another that was given."""
    places = {id(source): place for place, source in opened.given.items()}
    linked: set[str] = set()
    for source in sources:
        linked |= _linked(source) - {places.get(id(source), "")}
    kept = [source for source in sources if places.get(id(source)) not in linked]
    return kept or sources


def _from_list(path: str, opened: _Opened) -> FrameSource:
    """Open the frames of a list, in its order."""
    try:
        refs = lst.read_lst(path)
    except SourceError as error:
        return FailedSource(FrameRef(path), error)
    sources: list[FrameSource] = []
    numbers: dict[str, int] = {}
    order: list[tuple[int, int]] = []
    for ref in refs:
        if ref.file not in numbers:
            numbers[ref.file] = len(sources)
            sources.append(opened.open(ref.file))
        number = numbers[ref.file]
        source = sources[number]
        try:
            if isinstance(source, FailedSource):
                raise source.error
            wanted = [source.index_of(ref.event)] if ref.event else range(len(source))
            order += [(number, index) for index in wanted]
        except SourceError as error:
            order.append((len(sources), 0))
            sources.append(FailedSource(ref, error))
    return CompositeSource(sources, np.array(order))

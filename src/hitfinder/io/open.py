"""Open whatever the user names as one source of frames."""

from __future__ import annotations

import glob
import logging
import os
from collections.abc import Collection, Iterable, Iterator, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hitfinder import logs
from hitfinder.errors import SourceError
from hitfinder.executors.contract import Done, Executor
from hitfinder.geometry.layout import FrameLayout
from hitfinder.io.ahead import FEWEST_FILES, OpenWork, batches
from hitfinder.io.composite import CompositeSource, FailedSource
from hitfinder.io.handles import POOL
from hitfinder.io.links import NOT_THERE
from hitfinder.io.lst import is_list
from hitfinder.io.memory import ArraySource
from hitfinder.io.naming import natural_order
from hitfinder.io.readers import Opening, open_file, reader_named, searched_suffixes
from hitfinder.io.source import FrameRef, FrameSource
from hitfinder.plugins import path_of

log = logging.getLogger(__name__)

RESULTS = {"run.json", "frames.parquet"}
"""Files by which a folder of results is known."""

Input = str | os.PathLike[str] | NDArray
"""A file, a folder, a pattern, a list (``.lst``, ``.list``, ``.txt``) or an array."""


def open_source(
    inputs: Input | Sequence[Input],
    *,
    layout: FrameLayout | None = None,
    dataset: str | None = None,
    reader: str | None = None,
    executor: Executor | None = None,
) -> FrameSource:
    """Open frames, wherever they are, as one source.

    An input that cannot be opened stands for one frame, which fails to read with the reason. A
    file named twice, or named beside a master that links it, is taken once.

    Parameters
    ----------
    inputs : str, Path, ndarray, or sequence of them
        Files, folders (searched with their subfolders), patterns with ``*``, ``?`` or ``[]``,
        CrystFEL lists (``.lst``, ``.list``, ``.txt``), arrays of shape (n, ss, fs) or (ss, fs).
        Files of folders and patterns come in natural order of their names.
    layout : FrameLayout, optional
        How HDF5 files keep a frame, as a geometry file says.
    dataset : str, optional
        Path of the frames in HDF5 files, if not at a usual place.
    reader : str, optional
        Name or ``module:Class`` of the reader that opens every file; by default each file is
        opened by the first reader that says it can.
    executor : Executor, optional
        Has files opened, where there are many.

    Returns
    -------
    FrameSource
        All frames, in order of the inputs.

    Raises
    ------
    ValueError
        If there is no input, or one is neither a path nor an array.
    ConfigError
        If there is no such reader.
    """
    if reader is not None:
        reader_named(reader)
    given = listed(inputs)
    opened = _Opened(layout, dataset, reader, executor)
    sources: list[FrameSource] = []
    paths = [os.fspath(item) for item in given if not isinstance(item, np.ndarray)]
    opened.ahead({path: None for path in paths if os.path.isfile(path)})
    with POOL.visit():
        for number, item in enumerate(given):
            if isinstance(item, np.ndarray):
                sources.append(_array(item, f"array{number}" if len(given) > 1 else "array"))
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
    notes = [
        f"{member.ref(0).file}: {note}"
        for member in source.members
        for note in member.frame_metadata(0).notes
    ]
    logs.warn_of_first(log, notes, "remarks on what the files say")


def open(
    inputs: Input | Sequence[Input],
    *,
    layout: FrameLayout | None = None,
    dataset: str | None = None,
    reader: str | type | None = None,
    executor: Executor | None = None,
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
    reader : str or type, optional
        What opens the files: one of `hitfinder.readers`, or your own, a class or its
        ``module:Class``. By default each file is opened by the first reader that can.
    executor : Executor, optional
        Has files opened, where there are many; by default this process opens them.

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
    source = open_source(
        inputs, layout=layout, dataset=dataset, reader=path_of(reader), executor=executor
    )
    check_readable(source)
    return source


MOST_NESTED = 4
"""Files that may name one another, such as lists of lists."""


class _Opened:
    """Opens files, and remembers which were given, by the place where they really are."""

    def __init__(
        self,
        layout: FrameLayout | None,
        dataset: str | None,
        reader: str | None,
        executor: Executor | None = None,
    ) -> None:
        self._layout, self._dataset, self._reader = layout, dataset, reader
        self._executor = executor
        self.given: dict[str, FrameSource] = {}
        self._ready: dict[str, FrameSource] = {}
        self._depth = 0

    def ahead(self, files: Collection[str]) -> None:
        """Have files opened by the executor, if they are many, before they are asked for."""
        if self._executor is None or len(files) < FEWEST_FILES:
            return
        work = OpenWork(_Opened(self._layout, self._dataset, self._reader).open)
        some = [file for file in files if not is_list(file)]
        for outcome in self._executor.run(work, batches(some)):
            # What ends a worker is opened here: it may be one of the others in its lot.
            if isinstance(outcome, Done):
                self._ready.update(zip(outcome.task, outcome.result, strict=True))

    def open(self, file: str) -> FrameSource:
        """Open a file; a `FailedSource` if that is not possible."""
        if file in self._ready:
            return self._ready.pop(file)
        self._depth += 1
        try:
            return self._open(file)
        except SourceError as error:
            return FailedSource(FrameRef(file), error)
        except (*NOT_THERE, MemoryError, OverflowError, RecursionError) as error:
            # h5py raises any of these where a file is damaged.
            log.debug("%s", file, exc_info=True)
            reason = " ".join(str(error).split()) or type(error).__name__
            what = f"the file is damaged ({reason})"
            return FailedSource(FrameRef(file), SourceError("unreadable", what, file))
        finally:
            self._depth -= 1

    def _open(self, file: str) -> FrameSource:
        if not os.path.exists(file):
            raise SourceError("missing-file", "there is no such file or folder", file)
        if self._depth > MOST_NESTED:
            what = f"files name one another, {MOST_NESTED} deep; does a list name itself?"
            raise SourceError("unreadable", what, file)
        if not os.path.isfile(file):
            what = (
                "is a folder" if os.path.isdir(file) else "is a pipe or device, no file of frames"
            )
            raise SourceError("unreadable", what, file)
        # A reader that was chosen is for files of frames, also for those that a list names.
        wanted = None if is_list(file) else self._reader
        return open_file(file, Opening(self._layout, self._dataset, self.open, self.ahead), wanted)


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
    masters = [file for file in fresh.values() if "master" in file.lower()]
    opened.ahead(masters or fresh.values())
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
        paths = [os.path.join(f, name) for f, names in _walked(item) for name in names]
        shown = (path for path in paths if not os.path.basename(path).startswith("."))
        endings = searched_suffixes()
        files = [path for path in shown if path.lower().endswith(endings)]
        if not files:
            raise SourceError("no-frames", "the folder has no files of frames", item)
        return natural_order(files)
    if glob.has_magic(item) and not os.path.exists(item):
        files = [path for path in glob.glob(item, recursive=True) if not os.path.isdir(path)]
        if not files:
            raise SourceError("missing-file", "no file matches the pattern", item)
        return natural_order(files)
    return [item]


def _walked(top: str) -> Iterator[tuple[str, list[str]]]:
    """Yield a folder and those below it, each with the names of its files.

    Folders of results are left out: the hits in them are frames that lie elsewhere.
    """
    for folder, inner, names in os.walk(top):
        if folder != top and RESULTS.issubset(names):
            log.warning("%s: left out, as it holds results of hitfinder", folder)
            inner.clear()
        else:
            yield folder, names


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

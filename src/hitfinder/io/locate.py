"""Find where the frames of a dataset are kept: links and virtual datasets followed to the end.

HDF5 fills in what a missing or too short source of a virtual dataset should have held, without an
error, so every source is looked at here. A source of whole frames is read directly from its own
file; where a frame is joined from several sources it is read through the virtual dataset, after
they have been checked.
"""

from __future__ import annotations

import dataclasses
import os

import h5py
import numpy as np
from numpy.typing import NDArray

from hitfinder.errors import SourceError
from hitfinder.hdf5loops import is_endless
from hitfinder.io.chunks import Axis
from hitfinder.io.coverage import Coverage
from hitfinder.io.handles import POOL
from hitfinder.io.links import NOT_THERE
from hitfinder.io.tables import (
    NO_INDEX,
    FrameTable,
    Part,
    default_axes,
    find_dataset,
    frame_count,
    part_of_dataset,
)
from hitfinder.io.virtual import Indices, Mapping, mappings

MAX_DEPTH = 8
"""Virtual datasets of virtual datasets followed before HDF5 is left to do it."""

Place = tuple[str, str]
"""A file and a dataset in it."""


class _Known:
    """Sources looked at before, for a virtual dataset may have a mapping for each frame."""

    def __init__(self) -> None:
        self.tables: dict[tuple[str, str, tuple[Axis, ...]], FrameTable] = {}
        self._shapes: dict[tuple[str, str], tuple[int, ...] | SourceError] = {}

    def shape(self, file: str, path: str) -> tuple[int, ...]:
        """Return the shape of a source's dataset, or raise what keeps it from being opened."""
        if (file, path) not in self._shapes:
            try:
                self._shapes[file, path] = find_dataset(file, path).shape
            except SourceError as error:
                self._shapes[file, path] = error
        found = self._shapes[file, path]
        if isinstance(found, SourceError):
            raise found
        return found


def locate(
    file: str,
    path: str,
    axes: tuple[Axis, ...] | None = None,
    *,
    way: tuple[Place, ...] = (),
) -> FrameTable:
    """Find the frames of a dataset.

    Parameters
    ----------
    file, path : str
        An HDF5 file and a dataset in it, or a link to one.
    axes : tuple, optional
        What each frame takes of each axis; by default the last two, the frame being the first.
        Of a fourth axis, the second one, the first entry is taken.
    way : tuple of (str, str)
        Virtual datasets followed so far.

    Returns
    -------
    FrameTable
        A dataset that cannot be read gives one frame with an error.
    """
    try:
        dataset = find_dataset(file, path)
        if axes is None:
            axes = default_axes(dataset)
        elif len(axes) != dataset.ndim:
            what = f"has {dataset.ndim} axes {dataset.shape} where {len(axes)} are expected"
            raise SourceError("wrong-shape", what, f"{file}{dataset.name}")
        n_frames = frame_count(dataset, axes)
        if dataset.is_virtual:
            place = os.path.realpath(dataset.file.filename), dataset.name
            if place in way or (len(way) >= MAX_DEPTH and is_endless(dataset)):
                raise SourceError("unreadable", "is made of itself", f"{file}{dataset.name}")
            if len(way) < MAX_DEPTH:
                return _locate_virtual(dataset, axes, n_frames, (*way, place))
    except SourceError as error:
        return FrameTable.failed(1, error, file, path)
    try:
        part = part_of_dataset(dataset, axes)
    except SourceError as error:
        return FrameTable.failed(n_frames, error, dataset.file.filename, dataset.name)
    return FrameTable.of(part, np.arange(n_frames) if "%" in axes else [NO_INDEX])


def _locate_virtual(
    dataset: h5py.Dataset, axes: tuple[Axis, ...], n_frames: int, way: tuple[Place, ...]
) -> FrameTable:
    # The dataset's own file may be closed while its sources are opened: ask it all now.
    whole = part_of_dataset(dataset, axes)
    where = f"{whole.file}{whole.path}"
    sources = [mapping for mapping in mappings(dataset) if mapping.concerns(axes)]
    known = _Known()
    tables = []
    for mapping in sources:
        table = _follow(mapping, whole, way, known)
        if table is None:
            if is_endless(POOL.dataset(whole.file, whole.path)):
                raise SourceError("unreadable", "is made of itself", where)
            return _through_hdf5(whole, sources, n_frames)
        tables.append(table)
    return _assemble(whole, sources, tables, n_frames)


def _follow(
    mapping: Mapping, whole: Part, way: tuple[Place, ...], known: _Known
) -> FrameTable | None:
    """Return the frames that a source fills, in their order; None if they are not whole frames."""
    axes = whole.axes
    pixels = [indices for axis, indices in zip(axes, mapping.filled, strict=True) if axis == ":"]
    if not all(_is_all(indices, n) for indices, n in zip(pixels, whole.shape, strict=True)):
        return None
    n_filled = len(mapping.frames(axes))
    if mapping.file is None:
        error = SourceError("missing-source", f"virtual source {mapping.name} is missing")
        return FrameTable.failed(n_filled, error, mapping.name, mapping.path)
    try:
        shape = known.shape(mapping.file, mapping.path)
    except SourceError as error:
        status = "missing-source" if error.status == "no-frames" else error.status
        broken = SourceError(status, error.what, error.where, error.hint)
        return FrameTable.failed(n_filled, broken, mapping.file, mapping.path)
    taken = mapping.taken(shape)
    matched = None if taken is None else mapping.source_axes(taken, axes)
    if taken is None or matched is None or not _whole(matched, taken, shape):
        return None
    key = (mapping.file, mapping.path, matched)
    if key not in known.tables:
        known.tables[key] = locate(mapping.file, mapping.path, matched, way=way)
    wanted = taken[matched.index("%")] if "%" in matched else np.zeros(1, np.int64)
    return _pick(known.tables[key], wanted, mapping)


def _whole(axes: tuple[Axis, ...], taken: Indices, shape: tuple[int, ...]) -> bool:
    """Whether a source's pixel axes are taken in full."""
    triples = zip(axes, taken, shape, strict=True)
    return all(axis != ":" or _is_all(indices, n) for axis, indices, n in triples)


def _is_all(indices: NDArray[np.int64], length: int) -> bool:
    return np.array_equal(indices, np.arange(length))


def _pick(table: FrameTable, wanted: NDArray[np.int64], mapping: Mapping) -> FrameTable:
    """Take the wanted frames of a source's table; those beyond its end are missing."""
    if not table.readable and len(table) == 1:
        return FrameTable(table.parts, np.zeros(len(wanted), np.int32), wanted)
    there = wanted < len(table)
    safe = np.where(there, wanted, 0)
    parts = table.parts
    if not there.all():
        what = f"virtual source {mapping.path} holds only {len(table)} of the frames asked of it"
        error = SourceError("missing-source", what, str(mapping.file))
        parts = (*parts, Part(str(mapping.file), mapping.path, error=error))
    return FrameTable(
        parts,
        np.where(there, table.part_of[safe], len(table.parts)).astype(np.int32),
        np.where(there, table.index_of[safe], wanted),
    )


def _assemble(
    whole: Part, sources: list[Mapping], tables: list[FrameTable], n_frames: int
) -> FrameTable:
    """Put the sources' frames where the virtual dataset has them."""
    parts = [_uncovered(whole)]
    numbers = {id(parts[0]): 0}
    part_of, index_of = np.zeros(n_frames, np.int32), np.arange(n_frames)
    for mapping, table in zip(sources, tables, strict=True):
        for part in table.parts:
            if id(part) not in numbers:
                numbers[id(part)] = len(parts)
                parts.append(part)
        frames = mapping.frames(whole.axes)[: len(table)]
        translated = np.array([numbers[id(part)] for part in table.parts], np.int32)
        part_of[frames] = translated[table.part_of[: len(frames)]]
        index_of[frames] = table.index_of[: len(frames)]
    used, renumbered = np.unique(part_of, return_inverse=True)
    return FrameTable(tuple(parts[i] for i in used), renumbered.astype(np.int32), index_of)


def _uncovered(whole: Part) -> Part:
    """Return the part of the frames that no source fills."""
    where = f"{whole.file}{whole.path}"
    error = SourceError("missing-source", "no virtual source holds the frame", where)
    return Part(whole.file, whole.path, error=error)


def _through_hdf5(whole: Part, sources: list[Mapping], n_frames: int) -> FrameTable:
    """Read frames through the virtual dataset, but for those with a missing source."""
    whole = _with_coverage(whole, sources, n_frames)
    parts = [_uncovered(whole), whole]
    part_of = np.zeros(n_frames, np.int32)
    broken = []
    for mapping in sources:
        frames = mapping.frames(whole.axes)
        error = _source_error(mapping)
        if error is None:
            part_of[frames] = 1
        else:
            broken.append((frames, len(parts)))
            parts.append(Part(mapping.file or mapping.name, mapping.path, error=error))
    for frames, number in broken:
        part_of[frames] = number
    used, renumbered = np.unique(part_of, return_inverse=True)
    indices = np.arange(n_frames) if "%" in whole.axes else np.array([NO_INDEX])
    return FrameTable(tuple(parts[i] for i in used), renumbered.astype(np.int32), indices)


def _with_coverage(whole: Part, sources: list[Mapping], n_frames: int) -> Part:
    """Note pixels that no source holds, if what HDF5 gives for them passes for counts."""
    fill = POOL.dataset(whole.file, whole.path).fillvalue
    top = np.iinfo(whole.dtype).max if whole.dtype.kind in "iu" else np.inf
    if not 0 <= fill < top:
        return whole
    coverage = Coverage.of(sources, whole.axes, whole.shape, n_frames)
    told = coverage.told()
    return dataclasses.replace(whole, remark=told, uncovered=coverage.of_frame) if told else whole


def _source_error(mapping: Mapping) -> SourceError | None:
    """Return what is wrong with a source that is read through the virtual dataset."""
    if mapping.file is None:
        return SourceError("missing-source", f"virtual source {mapping.name} is missing")
    try:
        file = POOL.file(mapping.file)
        if file.swmr_mode:
            # HDF5 would not open it, and fill in zeros.
            what = "another program is writing this virtual source"
            return SourceError("missing-source", what, mapping.file)
        source = file[mapping.path]
    except SourceError as error:
        return error
    except NOT_THERE:
        what = f"virtual source {mapping.path} cannot be opened"
        return SourceError("missing-source", what, mapping.file)
    taken = mapping.taken(source.shape)
    if taken and any(i.max(initial=0) >= n for i, n in zip(taken, source.shape, strict=False)):
        what = f"virtual source {mapping.path} is too short"
        return SourceError("missing-source", what, mapping.file)
    return None

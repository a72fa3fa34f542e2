"""Eiger masters that link their data files: ``/entry/data/data_000001`` and on."""

from __future__ import annotations

import math
import re

import h5py

from hitfinder.errors import SourceError
from hitfinder.io import metadata
from hitfinder.io.handles import POOL
from hitfinder.io.links import NOT_THERE, resolve_file
from hitfinder.io.locate import locate
from hitfinder.io.nexus import Fields
from hitfinder.io.stack import Hdf5Source, Plane
from hitfinder.io.tables import FrameTable

DATA_GROUPS = ("entry/data", "entry")
LINK = re.compile(r"data_\d+$")


def data_links(file: h5py.File) -> tuple[str, ...]:
    """Return the paths of a master's links to its data files, in order; none if it has none."""
    for path in DATA_GROUPS:
        try:
            group = file[path]
        except NOT_THERE:
            continue
        names = [name for name in group if LINK.match(name)] if hasattr(group, "keys") else []
        if names:
            return tuple(f"/{path}/{n}" for n in sorted(names, key=lambda n: int(n[5:])))
    return ()


def open_eiger(file: str) -> Hdf5Source:
    """Open a master with links to data files.

    A data file that is missing or cannot be read stands for the frames it should hold, as far as
    the master tells; each of them fails to read with the reason.

    Raises
    ------
    SourceError
        If the master itself cannot be read.
    """
    handle = POOL.file(file)
    links = data_links(handle)
    said = POOL.made_of(file, Fields).renewed()
    announced, shape = metadata.frames_announced(said), metadata.shape_announced(said)
    names = {path: handle.get(path, getlink=True) for path in links}
    tables = [_named(locate(file, path), names[path], file) for path in links]
    tables = _filled_up(tables, announced)
    n_frames = sum(len(table) for table in tables)
    notes = []
    if announced is not None and n_frames != announced:
        what = f"the detector was set to {announced} frames, the data files hold {n_frames}"
        notes.append(SourceError("missing-source", what, file))
    readable = any(table.readable for table in tables)
    return Hdf5Source(
        file,
        "NXmx master with data files",
        (Plane(FrameTable.joined(tables)),),
        shape=None if readable else shape,
        dataset=links[0].rpartition("/")[0],
        notes=tuple(notes),
    )


def _named(table: FrameTable, link: object, master: str) -> FrameTable:
    """Let a broken link's frames name the data file, not the master."""
    if table.readable or not isinstance(link, h5py.ExternalLink):
        return table
    error = table.parts[0].error
    assert error is not None
    if error.status == "missing-file":
        error = SourceError("missing-source", error.what, error.where)
    linked = resolve_file(link.filename, master) or link.filename
    return FrameTable.failed(len(table), error, linked, link.path)


def _filled_up(tables: list[FrameTable], announced: int | None) -> list[FrameTable]:
    """Give broken data files the number of frames that they should hold.

    The longest readable file tells how many a full one holds; failing that, the announced frames
    are spread evenly. All but the last file are full.
    """
    broken = [i for i, table in enumerate(tables) if not table.readable]
    if announced is None or not broken:
        return tables
    missing = announced - sum(len(table) for table in tables if table.readable)
    full = max((len(table) for table in tables if table.readable), default=0)
    full = max(full, math.ceil(announced / len(tables)))
    filled = list(tables)
    for position, i in enumerate(broken):
        later = len(broken) - position - 1
        length = max(1, min(full, missing - later))
        missing -= length
        part = tables[i].parts[0]
        assert part.error is not None
        filled[i] = FrameTable.failed(length, part.error, part.file, part.path)
    return filled

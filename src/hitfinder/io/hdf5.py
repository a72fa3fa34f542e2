"""CXI files, plain HDF5 stacks, and NXmx files with one dataset of frames."""

from __future__ import annotations

import collections
import fnmatch
import re
from collections.abc import Iterator

import h5py
import numpy as np

from hitfinder.errors import SourceError
from hitfinder.geometry.layout import Dim, FrameLayout, Slab, filled
from hitfinder.io import metadata
from hitfinder.io.chunks import Axis
from hitfinder.io.eiger import data_links, open_eiger
from hitfinder.io.handles import POOL
from hitfinder.io.links import NOT_THERE
from hitfinder.io.locate import locate
from hitfinder.io.naming import natural_order
from hitfinder.io.nexus import Fields, identity
from hitfinder.io.placement import modules_apart
from hitfinder.io.stack import Hdf5Source, Plane
from hitfinder.io.tables import NO_INDEX, FrameTable

USUAL_PATHS = (
    "/entry/data/data",
    "/entry_1/data_1/data",
    "/entry_1/instrument_1/detector_1/data",
    "/entry_1/instrument_1/detector_1/detector_corrected/data",
    "/entry_1/image_1/data",
    "/entry/instrument/detector/data",
    "/data/data",
)
NOT_FRAMES = ("*mask*", "*flatfield*", "*gain*", "*pixel_map*", "*error*", "*background*", "*dark*")
"""Names of datasets that have a frame's shape and are none."""

PLAIN_DIMS: tuple[tuple[Dim, ...], ...] = (("%", "ss", "fs"), ("ss", "fs"))
"""Layouts that say no more than the number of axes does."""

MOST_OBJECTS, MOST_LEVELS = 100_000, 32
"""Objects of a file, and levels of groups, among which frames are looked for."""

_ENTRY = re.compile(r"entry_\d+")

MOST_CHANNELS = 4
"""Thresholds, and differences of them, that a detector has; more of them are modules."""

LEAST_SIDE = 16
"""Rows and columns from which a dataset at an unusual place passes for frames."""


def open_hdf5(
    file: str, layout: FrameLayout | None = None, dataset: str | None = None
) -> Hdf5Source:
    """Open an HDF5 file of any of the formats.

    Parameters
    ----------
    file : str
        The file.
    layout : FrameLayout, optional
        How a frame is put together from datasets, as a geometry file says.
    dataset : str, optional
        Path of the frames' dataset; it overrules those of the layout.

    Raises
    ------
    SourceError
        If the file cannot be read, has no frames, or does not say which dataset holds them.
    """
    handle = POOL.file(file)
    paths = (dataset,) if dataset is not None else layout.data_paths if layout is not None else ()
    links = data_links(handle)
    # A geometry file names the path of a virtual dataset, which older masters do without.
    if links and dataset is None and not any("%" in p or p in handle for p in paths):
        return open_eiger(file)
    choice = ""
    if not paths:
        found = find_frames(handle)
        choice = _others(handle, found)
        paths = (_over_entries(handle, found),)
    layout = layout or _told_layout(handle, paths[0])
    if layout is None or (layout.is_plain and layout.slabs[0].dims in PLAIN_DIMS):
        return _open_plain(file, paths[0], choice)
    return _open_layout(file, layout, paths)


def _others(handle: h5py.File, path: str) -> str:
    """Say which other frames a file has at usual places, as of a second detector."""
    chosen = _get(handle, path)
    if not isinstance(chosen, h5py.Dataset) or chosen.is_virtual:
        return ""
    seconds = (re.sub(r"(data|image|detector)_1/", r"\1_2/", usual) for usual in USUAL_PATHS)
    places = dict.fromkeys((*USUAL_PATHS, *seconds))
    seen, others = {identity(chosen)}, []
    for place in places:
        found = _get(handle, place)
        if not isinstance(found, h5py.Dataset) or not _is_stack(found, LEAST_SIDE):
            continue
        if identity(found) not in seen:
            seen.add(identity(found))
            others.append(f"{place} {found.shape}")
    if not others:
        return ""
    return (
        f"{handle.filename}: the frames are taken from {path}; there are others at "
        f"{', '.join(others)}: a geometry file names those that are meant, see 'hitfinder "
        "geometry-template FILE --dataset PATH'"
    )


def _open_plain(file: str, path: str, choice: str = "") -> Hdf5Source:
    """Open a dataset whose last two axes are the frame."""
    handle = POOL.file(file)
    kind, shape = format_name(handle), metadata.shape_announced(Fields(handle))
    groups = _frame_groups(handle, (path,))
    label = path + _channel_note(handle, path)
    tables = [locate(file, filled(path, group)) for group in groups]
    table = FrameTable.joined(tables)
    return Hdf5Source(
        file,
        kind,
        (Plane(table),),
        events=_events(groups, tables) if groups != [""] else (),
        shape=None if table.readable else shape,
        dataset=label,
        choice=choice,
    )


def _over_entries(handle: h5py.File, path: str) -> str:
    """Put ``%`` in place of the entry, if a CXI file keeps frames in several, as one for each."""
    first, _, rest = path.lstrip("/").partition("/")
    if not _ENTRY.fullmatch(first):
        return path
    objects = {
        identity(found)
        for name in handle
        if _ENTRY.fullmatch(name)
        and isinstance(found := _get(handle, f"/{name}/{rest}"), h5py.Dataset)
    }
    return f"/%/{rest}" if len(objects) > 1 else path


def _told_layout(handle: h5py.File, path: str) -> FrameLayout | None:
    """Return how modules that the file itself says are kept apart make up a frame."""
    dataset = _get(handle, path)
    if not isinstance(dataset, h5py.Dataset) or dataset.ndim != 4 or dataset.shape[1] == 1:
        return None
    _, n_modules, n_ss, n_fs = dataset.shape
    if not modules_apart(Fields(handle), n_modules):
        return None
    return FrameLayout(
        tuple(
            Slab(path, ("%", module, "ss", "fs"), module * n_ss, n_ss, n_fs)
            for module in range(n_modules)
        )
    )


def _channel_note(handle: h5py.File, path: str) -> str:
    """Say that only the first of several channels is read; refuse a stack of modules.

    Raises
    ------
    SourceError
        If the file does not tell which of both it is.
    """
    dataset = _get(handle, path)
    if not isinstance(dataset, h5py.Dataset) or dataset.ndim != 4 or dataset.shape[1] == 1:
        return ""
    if format_name(handle) == "NXmx" and dataset.shape[1] <= MOST_CHANNELS:
        return f" (the first of {dataset.shape[1]} channels)"
    what = f"the axes of {dataset.shape} could be modules or channels"
    hint = "Give the geometry file that names them."
    raise SourceError("unreadable", what, f"{handle.filename}{path}", hint)


def _open_layout(file: str, layout: FrameLayout, paths: tuple[str, ...]) -> Hdf5Source:
    """Open the datasets that a layout names; a ``%`` in a path stands for the frame's group."""
    handle = POOL.file(file)
    kind, groups = format_name(handle), _frame_groups(handle, paths)
    planes: list[Plane] = []
    events: tuple[str, ...] = ()
    for path in paths:
        slabs = tuple(s for s in layout.slabs if s.data_path == path) or layout.slabs
        axes = _axes(slabs)
        tables = [locate(file, filled(path, group), axes) for group in groups]
        if "%" in path and groups != [""]:
            events = _events(groups, tables)
        planes.append(Plane(FrameTable.joined(tables), slabs))
    lengths = sorted({len(plane.table) for plane in planes})
    if len(lengths) > 1:
        what = f"the datasets of the modules hold different numbers of frames {lengths}"
        raise SourceError("wrong-shape", what, file)
    return Hdf5Source(
        file, kind, tuple(planes), events=events, shape=layout.shape, dataset=", ".join(paths)
    )


def _events(groups: list[str], tables: list[FrameTable]) -> tuple[str, ...]:
    """Name the frames of several groups as CrystFEL does: ``group//index``."""
    events: list[str] = []
    for group, table in zip(groups, tables, strict=True):
        alone = len(table) == 1 and table.index_of[0] == NO_INDEX
        events += [f"{group}//"] if alone else [f"{group}//{i}" for i in range(len(table))]
    return tuple(events)


def _axes(slabs: tuple[Slab, ...]) -> tuple[Axis, ...]:
    """Return what the slabs together take of their dataset's axes.

    A module axis of which all slabs take the same index is fixed, else it is read whole, so that a
    chunk of several modules is unpacked once a frame.
    """
    axes: list[Axis] = []
    for dims in zip(*(slab.dims for slab in slabs), strict=True):
        alike = isinstance(dims[0], int) and len(set(dims)) == 1
        axes.append(dims[0] if dims[0] == "%" or alike else ":")
    return tuple(axes)


def _frame_groups(handle: h5py.File, paths: tuple[str, ...]) -> list[str]:
    """Return the names that each ``%`` stands for, sorted; one empty name without a ``%``.

    Several ``%`` of a path give names separated by slashes, as in a CrystFEL event.
    """
    pattern = max(paths, key=lambda path: path.count("%"))
    if "%" not in pattern or _get(handle, pattern) is not None:
        return [""]
    found = list(_names_for(handle, "", pattern.split("%")))
    if not found:
        raise SourceError("no-frames", f"there is no dataset {pattern}", handle.filename)
    return found


def _names_for(handle: h5py.File, start: str, pieces: list[str]) -> Iterator[str]:
    """Find what stands between the pieces of a path, the first of which follows `start`."""
    parent, (after, *more) = start + pieces[0], pieces[1:]
    group = _get(handle, parent.rstrip("/") or "/")
    if not isinstance(group, h5py.Group) or not parent.endswith("/"):
        return
    for name in natural_order(group):
        path = f"{parent}{name}"
        if not isinstance(_get(handle, path), h5py.Group):
            continue
        if more:
            yield from (f"{name}/{inner}" for inner in _names_for(handle, path, [after, *more]))
        elif not after.strip("/") or _get(handle, path + after) is not None:
            yield name


def _get(group: h5py.Group, path: str) -> h5py.Group | h5py.Dataset | None:
    """Return what is at a path; None if there is nothing, or a link leads nowhere."""
    try:
        return group.get(path)
    except NOT_THERE:
        return None


def format_name(handle: h5py.File) -> str:
    """Name the format of a file that does not link data files."""
    definition = metadata.read_text(Fields(handle), "entry/definition")
    if definition == "NXmx" or "entry/instrument/detector/detectorSpecific" in handle:
        return "NXmx"
    if "cxi_version" in handle or "entry_1" in handle:
        return "CXI"
    return "HDF5"


def find_frames(handle: h5py.File) -> str:
    """Find the dataset of frames: at a usual place, else the largest that looks like frames.

    A usual place that is a broken link, or holds no numbers, is returned too: opening it tells why.

    Raises
    ------
    SourceError
        ``no-frames`` if there is none; ``unreadable`` if several are as large, naming them.
    """
    no_stack = None
    for path in USUAL_PATHS:
        try:
            item = _follow(handle, path)
        except NOT_THERE:
            return path
        if _is_stack(item, least_side=0):
            return path
        if isinstance(item, h5py.Dataset):
            no_stack = no_stack or path
    found = dict(_datasets(handle))
    sizes = {path: dataset.size for path, dataset in found.items()}
    largest = sorted(path for path, size in sizes.items() if size == max(sizes.values()))
    if not largest and no_stack is not None:
        return no_stack
    if not largest:
        raise SourceError("no-frames", "no dataset looks like detector frames", handle.filename)
    if len(largest) > 1:
        named = ", ".join(f"{path} {found[path].shape}" for path in largest[:5])
        hint = (
            "Look at one with 'hitfinder info --dataset PATH'. 'hitfinder geometry-template FILE "
            "--dataset PATH' writes the geometry file that names it to a run."
        )
        what = f"frames could be in any of {len(largest)} datasets: {named}"
        raise SourceError("unreadable", what, handle.filename, hint)
    return largest[0]


def _follow(handle: h5py.File, path: str) -> object:
    """Return what is at a path, None if there is nothing; raise if a link leads nowhere."""
    item: object = handle
    for name in path.strip("/").split("/"):
        if not isinstance(item, h5py.Group) or item.get(name, getlink=True) is None:
            return None
        item = item[name]
    return item


def _datasets(file: h5py.File) -> Iterator[tuple[str, h5py.Dataset]]:
    """Walk through a file, links included, visiting each object once; yield stacks of frames."""
    seen: set[tuple[object, object]] = set()
    waiting: collections.deque[tuple[str, h5py.Group]] = collections.deque([("", file)])
    while waiting and len(seen) < MOST_OBJECTS:
        prefix, group = waiting.popleft()
        for name in group:
            if any(fnmatch.fnmatch(name.lower(), pattern) for pattern in NOT_FRAMES):
                continue
            item = _get(group, name)
            if item is None:
                continue
            key = identity(item)
            if key in seen:
                continue
            seen.add(key)
            path = f"{prefix}/{name}"
            if isinstance(item, h5py.Group) and path.count("/") < MOST_LEVELS:
                waiting.append((path, item))
            elif isinstance(item, h5py.Dataset) and _is_stack(item, LEAST_SIDE):
                yield path, item


def _is_stack(item: object, least_side: int) -> bool:
    """Whether an object is a dataset of 2 to 4 axes of numbers, the last two like a detector's."""
    if not isinstance(item, h5py.Dataset) or item.dtype.kind not in "iuf":
        return False
    return 2 <= item.ndim <= 4 and bool(np.min(item.shape[-2:]) >= least_side)

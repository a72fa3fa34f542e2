"""Which dataset of which file holds each frame, and the links that lead to it."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Sequence

import h5py
import numpy as np
from numpy.typing import NDArray

from hitfinder.errors import SourceError
from hitfinder.io import chunks
from hitfinder.io.chunks import Axis
from hitfinder.io.handles import POOL, open_error

NO_INDEX = -1
"""Index of a frame that is a whole dataset."""


@dataclasses.dataclass(frozen=True)
class Part:
    """A dataset that holds frames, or the reason why it cannot be read.

    Parameters
    ----------
    file, path : str
        The file and the dataset in it.
    axes : tuple
        What each frame takes of the dataset's axes.
    shape : tuple of int
        Shape of what it takes.
    dtype : numpy.dtype
        Type of the counts, native byte order.
    algorithm : str
        See `hitfinder.io.chunks.chunk_algorithm`.
    compression : str
        The dataset's filters, for people to read.
    error : SourceError, optional
        Why none of these frames can be read.
    """

    file: str
    path: str
    axes: tuple[Axis, ...] = ()
    shape: tuple[int, ...] = ()
    dtype: np.dtype = dataclasses.field(default_factory=lambda: np.dtype(np.uint16))
    algorithm: str = ""
    compression: str = ""
    error: SourceError | None = None


@dataclasses.dataclass(frozen=True, eq=False)
class FrameTable:
    """For each frame, its part and its index in it.

    Parameters
    ----------
    parts : tuple of Part
        The datasets.
    part_of : ndarray of int32, shape (n_frames,)
        Number of the part.
    index_of : ndarray of int64, shape (n_frames,)
        Position in the part's dataset; `NO_INDEX` if that is one frame.
    """

    parts: tuple[Part, ...]
    part_of: NDArray[np.int32]
    index_of: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.part_of)

    @property
    def readable(self) -> tuple[Part, ...]:
        """The parts without an error."""
        return tuple(part for part in self.parts if part.error is None)

    @staticmethod
    def of(part: Part, indices: Sequence[int] | NDArray[np.int64]) -> FrameTable:
        """Return the table of some frames of one dataset."""
        index_of = np.asarray(indices, np.int64)
        return FrameTable((part,), np.zeros(len(index_of), np.int32), index_of)

    @staticmethod
    def failed(n_frames: int, error: SourceError, file: str = "", path: str = "") -> FrameTable:
        """Return the table of frames that cannot be read."""
        return FrameTable.of(Part(file, path, error=error), np.arange(n_frames))

    @staticmethod
    def joined(tables: Sequence[FrameTable]) -> FrameTable:
        """Put tables one after another."""
        starts = np.cumsum([0, *(len(table.parts) for table in tables)])
        return FrameTable(
            tuple(part for table in tables for part in table.parts),
            np.concatenate([t.part_of + int(s) for t, s in zip(tables, starts, strict=False)])
            if tables
            else np.zeros(0, np.int32),
            np.concatenate([t.index_of for t in tables]) if tables else np.zeros(0, np.int64),
        )

    def with_parts(self, parts: Sequence[Part]) -> FrameTable:
        """Return this table with its parts exchanged one for one."""
        return dataclasses.replace(self, parts=tuple(parts))


def find_dataset(file: str, path: str) -> h5py.Dataset:
    """Open a dataset of counts through links.

    Raises
    ------
    SourceError
        If the file, a linked file or the dataset is missing or not made of numbers.
    """
    handle = POOL.file(file)
    try:
        dataset = handle[path]
    except (KeyError, OSError) as error:
        raise _link_error(handle, path, error) from error
    where = f"{file}{path if path.startswith('/') else '/' + path}"
    if not isinstance(dataset, h5py.Dataset):
        raise SourceError("unreadable", "is a group, not a dataset", where)
    if dataset.dtype.kind not in "iuf":
        raise SourceError("unreadable", f"holds {dataset.dtype}, not counts", where)
    return dataset


def default_axes(dataset: h5py.Dataset) -> tuple[Axis, ...]:
    """Return the axes of a frame in a dataset of 2 to 4 dimensions.

    Raises
    ------
    SourceError
        If the dataset has no such shape.
    """
    known: dict[int, tuple[Axis, ...]] = {2: (":", ":"), 3: ("%", ":", ":"), 4: ("%", 0, ":", ":")}
    if dataset.ndim not in known:
        where = f"{dataset.file.filename}{dataset.name}"
        raise SourceError("wrong-shape", f"{dataset.shape} is no stack of frames", where)
    return known[dataset.ndim]


def frame_count(dataset: h5py.Dataset, axes: tuple[Axis, ...]) -> int:
    """Count the frames of a dataset.

    Raises
    ------
    SourceError
        ``no-frames`` if it is empty.
    """
    shape = dataset.shape
    fixed = [(a, n) for a, n in zip(axes, shape, strict=True) if isinstance(a, int)]
    where = f"{dataset.file.filename}{dataset.name}"
    if 0 in shape:
        raise SourceError("no-frames", f"the dataset is empty {shape}", where)
    for axis, length in fixed:
        if axis >= length:
            raise SourceError("wrong-shape", f"{shape} has no module or channel {axis}", where)
    return shape[axes.index("%")] if "%" in axes else 1


def part_of_dataset(dataset: h5py.Dataset, axes: tuple[Axis, ...]) -> Part:
    """Describe a dataset that can be read.

    Raises
    ------
    SourceError
        ``missing-filter``.
    """
    chunks.check_filters(dataset)
    return Part(
        os.path.abspath(dataset.file.filename),
        dataset.name,
        axes,
        chunks.item_shape(dataset.shape, axes),
        dataset.dtype.newbyteorder("="),
        chunks.chunk_algorithm(dataset, axes),
        chunks.compression(dataset),
    )


def _link_error(handle: h5py.File, path: str, error: Exception) -> SourceError:
    """Say which link on the way to `path` leads nowhere."""
    group, walked = handle, ""
    for name in path.strip("/").split("/"):
        walked += f"/{name}"
        where = f"{handle.filename}{walked}"
        link = group.get(name, getlink=True) if isinstance(group, h5py.Group) else None
        if link is None:
            asked = "/" + path.strip("/")
            within = "" if walked == asked else f", nor anything at {walked}"
            what = f"there is no such dataset{within}"
            return SourceError("no-frames", what, f"{handle.filename}{asked}")
        try:
            group = group[name]
        except (KeyError, OSError) as broken:
            return _broken_link(link, handle, where, broken)
    return open_error(error, handle.filename)


def _broken_link(
    link: h5py.ExternalLink | h5py.SoftLink, handle: h5py.File, where: str, error: Exception
) -> SourceError:
    if not isinstance(link, h5py.ExternalLink):
        target = getattr(link, "path", "")
        return SourceError("missing-source", f"links to {target}, which does not exist", where)
    linked = resolve_file(link.filename, handle.filename)
    if linked is None:
        return SourceError("missing-source", f"linked file {link.filename} is missing", where)
    if "doesn't exist" in str(error) or "not found" in str(error).replace("signature not", ""):
        what = f"linked file {link.filename} has no {link.path}"
        return SourceError("missing-source", what, where)
    reason = open_error(error, linked)
    return SourceError(reason.status, f"linked file {link.filename}: {reason.what}", where)


def resolve_file(name: str, beside: str) -> str | None:
    """Find a linked file as HDF5 does: beside the linking file, then from the working directory.

    An absolute path that leads nowhere is tried by its last component beside the linking file.
    Returns None if there is no such file.
    """
    folders = {os.path.dirname(os.path.abspath(beside)), os.path.dirname(os.path.realpath(beside))}
    candidates = [name] if os.path.isabs(name) else []
    tail = os.path.basename(name) if os.path.isabs(name) else name
    candidates += [os.path.join(folder, tail) for folder in sorted(folders)]
    candidates += [] if os.path.isabs(name) else [os.path.abspath(name)]
    return next((c for c in candidates if os.path.isfile(c)), None)

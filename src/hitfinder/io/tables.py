"""Which dataset of which file holds each frame, and the links that lead to it."""

from __future__ import annotations

import dataclasses
import math
import os
from collections.abc import Callable, Sequence

import h5py
import numpy as np
from numpy.typing import NDArray

from hitfinder.errors import SourceError
from hitfinder.geometry.layout import MOST_PIXELS
from hitfinder.io import chunks
from hitfinder.io.chunks import Axis
from hitfinder.io.handles import POOL
from hitfinder.io.links import at_path, file_of

NO_INDEX = -1
"""Index of a frame that is a whole dataset."""

MOST_FRAMES = 1 << 25
"""Frames of a dataset, and numbers that go with them, beyond which a stated size is an error: at
1 kHz they take nine hours."""

MOST_CHUNK_BYTES = 1 << 28
"""Size of a chunk, unpacked, that is not that of a frame: it is unpacked for each frame."""


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
    remark : str
        What is odd about them, though they can be read.
    uncovered : callable, optional
        Gives, of the frame at an index, True where a virtual dataset has no source for a pixel;
        None if it has for all.
    """

    file: str
    path: str
    axes: tuple[Axis, ...] = ()
    shape: tuple[int, ...] = ()
    dtype: np.dtype = dataclasses.field(default_factory=lambda: np.dtype(np.uint16))
    algorithm: str = ""
    compression: str = ""
    error: SourceError | None = None
    remark: str = ""
    uncovered: Callable[[int], NDArray[np.bool_] | None] | None = None


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
    dataset = at_path(POOL.file(file), path)
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
    where = f"{file_of(dataset)}{dataset.name}"
    if 0 in shape:
        raise SourceError("no-frames", f"the dataset is empty {shape}", where)
    for axis, length in fixed:
        if axis >= length:
            raise SourceError("wrong-shape", f"{shape} has no module or channel {axis}", where)
    if math.prod(chunks.item_shape(shape, axes)) > MOST_PIXELS:
        raise SourceError("wrong-shape", f"{shape} is no stack of frames: too many pixels", where)
    n_frames = shape[axes.index("%")] if "%" in axes else 1
    if n_frames > MOST_FRAMES:
        what = f"{n_frames} frames are stated, more than {MOST_FRAMES}"
        raise SourceError("unreadable", what, where, "Is the file damaged?")
    return n_frames


def part_of_dataset(dataset: h5py.Dataset, axes: tuple[Axis, ...]) -> Part:
    """Describe a dataset that can be read.

    Raises
    ------
    SourceError
        ``missing-filter``.
    """
    chunks.check_filters(dataset)
    _check_chunk(dataset, axes)
    return Part(
        os.path.abspath(file_of(dataset)),
        dataset.name,
        axes,
        chunks.item_shape(dataset.shape, axes),
        dataset.dtype.newbyteorder("="),
        chunks.chunk_algorithm(dataset, axes),
        chunks.compression(dataset),
    )


def _check_chunk(dataset: h5py.Dataset, axes: tuple[Axis, ...]) -> None:
    """Refuse chunks so large that reading a single frame takes much memory and time.

    Raises
    ------
    SourceError
    """
    frame = math.prod(chunks.item_shape(dataset.shape, axes)) * dataset.dtype.itemsize
    chunk = math.prod(dataset.chunks or (0,)) * dataset.dtype.itemsize
    if chunk > max(MOST_CHUNK_BYTES, frame):
        what = f"chunks of {dataset.chunks} take {chunk / 1e6:.0f} MB, a frame {frame / 1e6:.3g} MB"
        hint = "Repack the file with a chunk for each frame (h5repack -l)."
        where = f"{dataset.file.filename}{dataset.name}"
        raise SourceError("unreadable", what, where, hint)

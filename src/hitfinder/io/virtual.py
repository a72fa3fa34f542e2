"""Read which sources an HDF5 virtual dataset is made of."""

from __future__ import annotations

import dataclasses
import os
from typing import Any

import h5py
import numpy as np
from numpy.typing import NDArray

from hitfinder.errors import SourceError
from hitfinder.geometry.layout import MOST_PIXELS
from hitfinder.hdf5loops import MOST_NUMBERED, expanded, is_numbered
from hitfinder.io.chunks import Axis
from hitfinder.io.links import resolve_file
from hitfinder.io.tables import MOST_FRAMES

MOST_INDICES = max(MOST_FRAMES, MOST_PIXELS)
"""Indices along an axis that a source may be said to fill or to have taken."""

UNLIMITED = 2**63
"""Counts at and above this mean "as many as there are" (HDF5 stores 2^64 - 1)."""

Indices = tuple[NDArray[np.int64], ...]
"""Along each axis, the indices that a selection takes."""


@dataclasses.dataclass(frozen=True)
class Mapping:
    """One source of a virtual dataset.

    Parameters
    ----------
    file : str or None
        The source file, found; None if it is missing.
    name, path : str
        Its name as stored, and the dataset in it.
    filled : tuple of ndarray
        Along each axis of the virtual dataset, the indices that the source fills.
    space : h5py.h5s.SpaceID
        What is taken of the source.
    """

    file: str | None
    name: str
    path: str
    filled: Indices
    space: Any

    def taken(self, shape: tuple[int, ...]) -> Indices | None:
        """Return the indices taken along each axis of a source of shape `shape`.

        They may lie beyond its end. None if the selection is not a product of indices.
        """
        return _selected(self.space, shape)

    def frames(self, axes: tuple[Axis, ...]) -> NDArray[np.int64]:
        """Return the frames of the virtual dataset that the source fills."""
        return self.filled[axes.index("%")] if "%" in axes else np.zeros(1, np.int64)

    def concerns(self, axes: tuple[Axis, ...]) -> bool:
        """Whether the source fills anything at the fixed indices of `axes`."""
        pairs = zip(axes, self.filled, strict=True)
        return all(not isinstance(axis, int) or axis in indices for axis, indices in pairs)

    def source_axes(self, taken: Indices, axes: tuple[Axis, ...]) -> tuple[Axis, ...] | None:
        """Match the source's axes to those of the virtual dataset.

        Axes of length 1 that the source lacks (a file that is one frame, or one channel) are left
        out. None if the axes do not match, or a frame is not taken whole.
        """
        kept = list(range(len(self.filled)))
        for i in [i for i, axis in enumerate(axes) if axis != ":"]:
            if len(kept) > len(taken) and len(self.filled[i]) == 1:
                kept.remove(i)
        if len(kept) != len(taken):
            return None
        matched: list[Axis] = []
        for i, indices in zip(kept, taken, strict=True):
            axis = axes[i]
            if isinstance(axis, int):
                position = np.flatnonzero(self.filled[i] == axis)[0]
                if position >= len(indices):
                    return None
                axis = int(indices[position])
            matched.append(axis)
        return tuple(matched)


def mappings(dataset: h5py.Dataset) -> list[Mapping]:
    """Return the sources of a virtual dataset, numbered ones (``%b`` in the name) written out."""
    own = os.path.abspath(dataset.file.filename)
    found = []
    known: dict[str, str | None] = {".": own}
    for entry in dataset.virtual_sources():
        for number, filled in enumerate(_blocks(entry, dataset.shape)):
            name, path = expanded(entry.file_name, number), expanded(entry.dset_name, number)
            if name not in known:
                known[name] = resolve_file(name, own)
            found.append(Mapping(known[name], name, path, filled, entry.src_space))
    return found


def _blocks(entry: Any, shape: tuple[int, ...]) -> list[Indices]:
    """Return what a mapping fills: one selection, or one for each of its numbered sources."""
    if not is_numbered(entry.file_name) and not is_numbered(entry.dset_name):
        selected = _selected(entry.vspace, shape)
        if selected is None:
            low, high = entry.vspace.get_select_bounds()
            selected = tuple(np.arange(a, b + 1) for a, b in zip(low, high, strict=True))
        return [_cut(selected, shape)]
    start, stride, count, block = entry.vspace.get_regular_hyperslab()
    axis = next((i for i, n in enumerate(count) if n >= UNLIMITED), None)
    if axis is None or shape[axis] // stride[axis] > MOST_NUMBERED:
        raise SourceError("unreadable", "the numbered virtual sources cannot be counted")
    blocks = []
    for first in range(start[axis], shape[axis], stride[axis]):
        one = (*count[:axis], 1, *count[axis + 1 :])
        begin = (*start[:axis], first, *start[axis + 1 :])
        blocks.append(_cut(_hyperslab(begin, stride, one, block, shape), shape))
    return blocks


def _selected(space: Any, shape: tuple[int, ...]) -> Indices | None:
    """Return the indices that a selection takes along each axis.

    None if it is not the same on every index of the first axis.
    """
    if space.get_select_type() == h5py.h5s.SEL_ALL:
        return tuple(np.arange(length) for length in shape)
    if space.get_select_type() != h5py.h5s.SEL_HYPERSLABS:
        return None
    if not space.is_regular_hyperslab():
        return _scattered(np.asarray(space.get_select_hyper_blocklist(), np.int64))
    start, stride, count, block = space.get_regular_hyperslab()
    return _hyperslab(start, stride, count, block, shape)


def _scattered(blocks: NDArray[np.int64]) -> Indices | None:
    """Write out blocks, shape (n, 2, axes) of first and last index, that differ on the first axis.

    HDF5 goes through a selection in the order of its indices, whatever the order of its blocks.
    """
    if (blocks[:, :, 1:] != blocks[0, :, 1:]).any():
        return None
    first, last = np.sort(blocks[:, 0, 0]), np.sort(blocks[:, 1, 0])
    lengths = last - first + 1
    starts = np.repeat(first - np.cumsum(lengths) + lengths, lengths)
    along = [starts + np.arange(lengths.sum())]
    along += [np.arange(a, b + 1) for a, b in zip(*blocks[0, :, 1:], strict=True)]
    return tuple(along)


def _hyperslab(
    start: tuple[int, ...],
    stride: tuple[int, ...],
    count: tuple[int, ...],
    block: tuple[int, ...],
    shape: tuple[int, ...],
) -> Indices:
    """Write out a regular hyperslab; what is unlimited ends with `shape`."""
    out = []
    for begin, step, number, size, length in zip(start, stride, count, block, shape, strict=False):
        rest = max(0, length - begin)
        size = rest if size >= UNLIMITED else int(size)
        number = -(-rest // int(step)) if number >= UNLIMITED else int(number)
        if number * size > MOST_INDICES:
            raise SourceError(
                "unreadable", f"a virtual source of {number * size} indices is stated"
            )
        out.append((begin + int(step) * np.arange(number)[:, None] + np.arange(size)).ravel())
    return tuple(out)


def _cut(indices: Indices, shape: tuple[int, ...]) -> Indices:
    """Leave out what lies beyond `shape`."""
    return tuple(along[along < n] for along, n in zip(indices, shape, strict=True))

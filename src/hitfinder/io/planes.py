"""Datasets that make up a frame, and what of the frame each of them fills."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from hitfinder.errors import SourceError
from hitfinder.geometry.layout import Slab
from hitfinder.io.contents import LinkedFile
from hitfinder.io.tables import FrameTable, Part


@dataclasses.dataclass(frozen=True, eq=False)
class Plane:
    """A dataset, and the rows of the frame that it fills.

    Parameters
    ----------
    table : FrameTable
        Where each frame's part of it is.
    slabs : tuple of Slab
        What goes where; none if the dataset's item is the frame as it stands.
    """

    table: FrameTable
    slabs: tuple[Slab, ...] = ()


def checked(plane: Plane, shape: tuple[int, int]) -> Plane:
    """Mark datasets that do not fill their place in the frame."""
    parts = []
    for part in plane.table.parts:
        if part.error is None and not _fits(plane, part, shape):
            what = f"frames are {part.shape}, the others are {shape}"
            if plane.slabs:
                needed = ", ".join(f"{s.n_ss} x {s.n_fs} as {s.dims}" for s in plane.slabs[:3])
                what = f"{part.shape} does not hold the pixels of the panels, {needed}"
            error = SourceError("wrong-shape", what, f"{part.file}{part.path}")
            part = dataclasses.replace(part, error=error)
        parts.append(part)
    return Plane(plane.table.with_parts(parts), plane.slabs)


def _fits(plane: Plane, part: Part, shape: tuple[int, int]) -> bool:
    if not plane.slabs:
        return part.shape == shape
    for slab in plane.slabs:
        rows, columns = item_view(slab, part, np.empty(part.shape, np.bool_)).shape
        if rows < slab.n_ss or columns < slab.n_fs:
            return False
    return True


def item_view(slab: Slab, part: Part, item: NDArray) -> NDArray:
    """Return the 2-D view of an item that a slab takes its pixels from, rows along ss."""
    left = [dim for dim, axis in zip(slab.dims, part.axes, strict=True) if axis == ":"]
    picked = item[tuple(dim if isinstance(dim, int) else slice(None) for dim in left)]
    return picked.T if slab.transposed else picked


def put(slab: Slab, part: Part, item: NDArray, frame: NDArray) -> None:
    """Copy a slab's pixels to its rows of the frame."""
    rows = slice(slab.ss_start, slab.ss_start + slab.n_ss)
    view = item_view(slab, part, item)
    frame[rows, : slab.n_fs] = view[: slab.n_ss, : slab.n_fs]


def linked_files(planes: Sequence[Plane], file: str) -> tuple[LinkedFile, ...]:
    """Return the files that hold frames of a file, with their numbers and what is wrong.

    Parameters
    ----------
    planes : sequence of Plane
        The datasets that make up a frame.
    file : str
        The file that links them, which is left out.
    """
    own = os.path.realpath(file)
    linked: dict[str, LinkedFile] = {}
    for plane in planes:
        counts = np.bincount(plane.table.part_of, minlength=len(plane.table.parts))
        for part, frames in zip(plane.table.parts, counts, strict=True):
            if part.file and os.path.realpath(part.file) != own:
                status = "ok" if part.error is None else part.error.status
                earlier = linked.get(part.file)
                more = earlier.frames if earlier else 0
                status = status if not earlier or earlier.status == "ok" else earlier.status
                linked[part.file] = LinkedFile(part.file, more + int(frames), status)
    return tuple(linked.values())

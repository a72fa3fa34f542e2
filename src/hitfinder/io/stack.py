"""Frames in HDF5 datasets, in one file or linked from it."""

from __future__ import annotations

import contextlib
import dataclasses
import functools
from typing import Any

import h5py
import numpy as np
from numpy.typing import NDArray

from hitfinder.errors import SourceError
from hitfinder.io import metadata
from hitfinder.io.chunks import open_item
from hitfinder.io.contents import Contents
from hitfinder.io.entries import ENTRIES, EntryMasks, of_entries
from hitfinder.io.handles import POOL
from hitfinder.io.links import NOT_THERE
from hitfinder.io.masks import StoredMask
from hitfinder.io.nexus import Fields, lost_fields
from hitfinder.io.planes import Plane, checked, linked_files, put
from hitfinder.io.said import FileSays, StoredFrames, read_said
from hitfinder.io.shuffled import Frame
from hitfinder.io.source import FrameRef, FrameSource, MaskKey, Metadata, whole_number
from hitfinder.io.tables import NO_INDEX, Part


class Hdf5Source(FrameSource):
    """Frames of one HDF5 file and of the files it links.

    Parameters
    ----------
    file : str
        The file as the user named it.
    format : str
        Name of the format.
    planes : tuple of Plane
        The datasets that make up a frame; all tables have the same length.
    events : tuple of str
        The event of each frame; empty if they are ``//0``, ``//1`` and on.
    shape : tuple of int, optional
        Shape of a frame; by default that of the first readable dataset.
    dataset : str
        The path that was read, for people.
    notes : tuple of SourceError
        Problems met while the file was opened, beside those of its frames.
    choice : str
        What should be said of the choice of the dataset.
    """

    def __init__(
        self,
        file: str,
        format: str,
        planes: tuple[Plane, ...],
        *,
        events: tuple[str, ...] = (),
        shape: tuple[int, int] | None = None,
        dataset: str = "",
        notes: tuple[SourceError, ...] = (),
        choice: str = "",
    ) -> None:
        self.file, self._format, self._dataset, self._notes = file, format, dataset, notes
        self._events, self._choice = events, choice
        readable = [part for plane in planes for part in plane.table.readable]
        if shape is None:
            shape = (readable[0].shape[-2], readable[0].shape[-1]) if readable else (0, 0)
        self.shape = shape
        self._planes = tuple(checked(plane, shape) for plane in planes)
        self._n_frames = len(planes[0].table)
        kinds = {part.dtype for plane in self._planes for part in plane.table.readable}
        self.dtype = np.result_type(*kinds) if kinds else np.dtype(np.uint16)
        self._scratch: dict[tuple[tuple[int, ...], np.dtype], NDArray] = {}

    def __len__(self) -> int:
        return self._n_frames

    @property
    def n_readable(self) -> int:
        """Number of frames of which all datasets can be read."""
        return int(self.readable(np.arange(len(self))).sum())

    def readable(self, indices: NDArray[np.integer]) -> NDArray[np.bool_]:
        """Tell which frames have all their datasets; see `FrameSource.readable`."""
        good = np.ones(len(indices), bool)
        for plane in self._planes:
            parts = plane.table.part_of[indices]
            good &= np.array([part.error is None for part in plane.table.parts])[parts]
        return good

    def read(self, index: int, out: NDArray | None = None) -> NDArray:
        """Read one frame; see `FrameSource.read`."""
        self.check(index)
        frame = self.buffer(out)
        for plane in self._planes:
            part = self._part(plane, index)
            if part.error is not None:
                raise self._error(part.error, index)
        if any(plane.slabs for plane in self._planes):
            frame[...] = 0
        for plane in self._planes:
            part = self._part(plane, index)
            at = int(plane.table.index_of[index])
            if not plane.slabs and part.dtype == self.dtype and frame.flags.c_contiguous:
                self._read_part(part, at, frame)
                continue
            item = self._read_part(part, at, self._buffer_for(part))
            if not plane.slabs:
                frame[...] = item
            for slab in plane.slabs:
                put(slab, part, item, frame)
        return frame

    def open_frame(self, index: int, out: NDArray | None = None) -> Frame:
        """Return one frame, packed or not; see `FrameSource.open_frame`."""
        self.check(index)
        plane, frame = self._planes[0], self.buffer(out)
        part = self._part(plane, index)
        is_whole = len(self._planes) == 1 and not plane.slabs and part.uncovered is None
        as_stored = part.error is None and part.dtype == frame.dtype and frame.flags.c_contiguous
        if not (is_whole and as_stored):
            return self.read(index, frame)
        return self._open_part(part, int(plane.table.index_of[index]), frame)

    @staticmethod
    def _part(plane: Plane, index: int) -> Part:
        return plane.table.parts[plane.table.part_of[index]]

    @staticmethod
    def _open_part(part: Part, at: int, out: NDArray) -> Frame:
        with POOL.lock:
            dataset = POOL.dataset(part.file, part.path)
            where = f"{part.file}{part.path}"
            return open_item(dataset, part.axes, at, out, part.algorithm, where)

    @classmethod
    def _read_part(cls, part: Part, at: int, out: NDArray) -> NDArray:
        np.asarray(cls._open_part(part, at, out))
        bare = None if part.uncovered is None else part.uncovered(at)
        if bare is not None:
            # As in frames of detectors, this stands for pixels without a reading.
            out[bare] = np.iinfo(out.dtype).max if out.dtype.kind in "iu" else np.nan
        return out

    def _buffer_for(self, part: Part) -> NDArray:
        """Return an array for a dataset's item, kept for the next frame."""
        key = part.shape, part.dtype
        if key not in self._scratch:
            self._scratch[key] = np.empty(*key)
        return self._scratch[key]

    def _error(self, error: SourceError, index: int) -> SourceError:
        where = error.where or f"{self.file} {self.ref(index).event}".strip()
        return SourceError(error.status, error.what, where, error.hint)

    def ref(self, index: int) -> FrameRef:
        """Return where frame `index` is kept."""
        self.check(index)
        if self._events:
            return FrameRef(self.file, self._events[index])
        table = self._planes[0].table
        alone = len(self) == 1 and table.index_of[0] == NO_INDEX
        return FrameRef(self.file, "" if alone else f"//{index}")

    def index_of(self, event: str) -> int:
        """Return the number of the frame that an event names."""
        if self._events:
            return super().index_of(event)
        number = whole_number(event.removeprefix("//"))
        if number is not None and number < len(self) and event.startswith("//"):
            return number
        what = f"there is no frame {event!r}, it has {len(self)}"
        raise SourceError("no-frames", what, self.file)

    @functools.cached_property
    def metadata(self) -> Metadata:
        """What the file says about its frames."""
        try:
            with POOL.visit():
                mask = self.mask_of(0)
        except SourceError:
            mask = None
        return dataclasses.replace(self._scalars, mask=mask)

    @functools.cached_property
    def _said(self) -> FileSays:
        """What the file says of its frames, where the mask is, and what of it cannot be read."""
        path = self._dataset.partition(" ")[0]
        linked = [part.file for plane in self._planes for part in plane.table.parts if part.file]
        return read_said(self.file, StoredFrames(self.dtype, len(self), self.shape, path), linked)

    @property
    def _scalars(self) -> Metadata:
        return self._said.scalars

    @property
    def _mask(self) -> tuple[StoredMask | None, list[str]]:
        return self._said.mask, self._said.odd

    @property
    def mask_path(self) -> str | None:
        """HDF5 path of the mask; None if there is none that fits."""
        place, _ = self._mask
        return None if place is None else f"/{place.path.lstrip('/')}"

    @property
    def mask_good_bits(self) -> int:
        """Bits of the mask that are no reason to ignore a pixel."""
        place, _ = self._mask
        return 0 if place is None else place.good_bits

    @property
    def data_path(self) -> str | None:
        """HDF5 path of the frames in the file itself; None if it is not one dataset."""
        path = self._dataset.partition(" ")[0]
        try:
            with POOL.lock:
                return path if isinstance(POOL.file(self.file).get(path), h5py.Dataset) else None
        except (SourceError, *NOT_THERE):
            return None

    @property
    def has_lost_mask(self) -> bool:
        """Whether the file links a mask that is missing, and there is no other."""
        return self._mask[0] is None and any(path.endswith("mask") for path in self._said.broken)

    def mask_bits(self, index: int = 0) -> NDArray[np.unsignedinteger] | None:
        """Return a frame's mask in the bits of the file; None if it has none that fits.

        Raises
        ------
        SourceError
            If it cannot be read.
        """
        place, at = self._mask_place(index)
        if place is None:
            return None
        try:
            with POOL.lock:
                return place.read(POOL.file(self.file), self.shape, at)
        except (OSError, KeyError) as error:
            where = f"{self.file}:/{place.path}"
            raise SourceError("unreadable", f"the mask: {error}", where) from error

    def _mask_place(self, index: int) -> tuple[StoredMask | None, int]:
        """Return where the mask of a frame is, and the frame's number there."""
        if self._entry_masks is None:
            return self._mask[0], index
        with POOL.lock:
            found = self._entry_masks.of(POOL.file(self.file), index)
        return (None if found is None else found.place), self._entry_masks.within(index)

    @functools.cached_property
    def _entry_masks(self) -> EntryMasks | None:
        """The masks of the entries, if the frames are in several."""
        if not self._dataset.startswith(ENTRIES) or not self._events:
            return None
        return EntryMasks(self._dataset, self._entry_of, self.shape)

    def mask_key(self, index: int) -> MaskKey:
        """Return what tells the mask of a frame from others."""
        if self._entry_masks is not None:
            with POOL.lock:
                return self._entry_masks.key(POOL.file(self.file), self.file, index)
        place, _ = self._mask
        own = place is not None and place.of_frames
        return MaskKey(self.file, index=index) if own else self._file_key

    @functools.cached_property
    def _file_key(self) -> MaskKey:
        place, _ = self._mask
        return MaskKey(self.file, content=b"" if place is None else place.content)

    def mask_of(self, index: int) -> NDArray[np.bool_] | None:
        """Return a frame's mask, shape of a frame; see `FrameSource.mask_of`."""
        bits, (place, _) = self.mask_bits(index), self._mask_place(index)
        return None if bits is None or place is None else place.bad(bits)

    @property
    def remarks(self) -> tuple[str, ...]:
        """What is odd about frames, mask and virtual datasets, and a file that is written."""
        parts = (part for plane in self._planes for part in plane.table.parts if part.remark)
        odd = dict.fromkeys(f"{part.file}{part.path}: {part.remark}" for part in parts)
        return (*filter(None, [self._choice]), *self._mask[1], *odd)

    @functools.cached_property
    def _series(self) -> dict[str, NDArray[np.float64]]:
        """Photon energy and camera length where the file gives one for each frame."""
        if not self._dataset.startswith(ENTRIES):
            return {n: one for n, one in self._said.beam.items() if 1 < len(one) == len(self)}
        try:
            with POOL.visit():
                file = POOL.file(self.file)
                found = of_entries(
                    self._entry_of, lambda entry: metadata.read_beam(Fields(file, entry))
                )
        except (SourceError, *NOT_THERE):
            return {}  # what is wrong is among the problems
        for name, values in found.items():
            values[np.isnan(values)] = getattr(self._scalars, name)
        return {name: values for name, values in found.items() if np.ptp(values) > 0}

    @property
    def _entry_of(self) -> NDArray[np.str_]:
        return np.array([event.partition("//")[0] for event in self._events])

    def frame_metadata(self, index: int) -> Metadata:
        """Return what the file says about one frame."""
        if not self._series:
            return self._scalars
        own: dict[str, Any] = {k: float(values[index]) for k, values in self._series.items()}
        return dataclasses.replace(self._scalars, **own)

    def said_of_frames(self, name: str) -> NDArray[np.float64]:
        """Return what the file says of every frame; see `FrameSource.said_of_frames`."""
        common = getattr(self._scalars, name)
        values = self._series.get(name, np.nan if common is None else common)
        return np.full(len(self), values, np.float64)

    @property
    def problems(self) -> tuple[SourceError, ...]:
        """What keeps frames, or what is said of them, from being read, each reason once."""
        found = [part.error for plane in self._planes for part in plane.table.parts]
        found += lost_fields(self.file, self._said.broken)
        unique = {str(error): error for error in (*self._notes, *found) if error is not None}
        return tuple(unique.values())

    @property
    def contents(self) -> Contents:
        """Format, compression and linked files."""
        readable = [part for plane in self._planes for part in plane.table.readable]
        packed = readable[0].compression if readable else ""
        return Contents(self._format, self._dataset, packed, linked_files(self._planes, self.file))

    def h5_location(self, index: int) -> tuple[str, str, int] | None:
        """Return the dataset and index that hold the frame; see `FrameSource.h5_location`."""
        self.check(index)
        if len(self._planes) > 1 or self._planes[0].slabs:
            return None
        table = self._planes[0].table
        part = self._part(self._planes[0], index)
        if part.error is not None or part.axes not in ((":", ":"), ("%", ":", ":")):
            return None
        at = int(table.index_of[index])
        if part.uncovered is not None and part.uncovered(at) is not None:
            return None
        return part.file, part.path, at

    def close(self) -> None:
        """Close the files that hold the frames."""
        for file in {part.file for plane in self._planes for part in plane.table.parts}:
            POOL.discard(file)
        POOL.discard(self.file)

    def __del__(self) -> None:
        # A file left open could not be written again by this process. At exit, or if opening
        # failed half-way, there may be nothing left to close.
        with contextlib.suppress(Exception):
            self.close()

    def __deepcopy__(self, memo: dict[int, Any]) -> Hdf5Source:
        """Return a source of its own; nothing that it shares with this one ever changes."""
        copied = object.__new__(type(self))
        copied.__dict__.update(self.__getstate__())
        return copied

    def __getstate__(self) -> dict[str, Any]:
        # With a mask in it, which takes as much as all else together, and can be had again.
        kept = {name: value for name, value in self.__dict__.items() if name != "metadata"}
        return {**kept, "_scratch": {}}

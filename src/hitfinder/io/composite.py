"""Several sources as one, and the input that cannot be opened."""

from __future__ import annotations

import collections
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hitfinder.errors import SourceError
from hitfinder.io.contents import Contents
from hitfinder.io.shuffled import Frame
from hitfinder.io.source import FrameRef, FrameSource, MaskKey, Metadata


class FailedSource(FrameSource):
    """An input that cannot be opened: one frame whose `read` tells why.

    Parameters
    ----------
    ref : FrameRef
        What the user asked for.
    error : SourceError
        Why it cannot be had.
    """

    def __init__(self, ref: FrameRef, error: SourceError) -> None:
        self._ref, self.error = ref, error
        self.shape, self.dtype = (0, 0), np.dtype(np.uint16)

    def __len__(self) -> int:
        return 1

    @property
    def n_readable(self) -> int:
        """Nothing."""
        return 0

    def read(self, index: int, out: NDArray | None = None) -> NDArray:
        """Raise the error."""
        self.check(index)
        error = self.error
        raise SourceError(error.status, error.what, error.where, error.hint)

    def ref(self, index: int) -> FrameRef:
        """Return what the user asked for."""
        return self._ref

    @property
    def problems(self) -> tuple[SourceError, ...]:
        """The error."""
        return (self.error,)

    @property
    def contents(self) -> Contents:
        """Nothing known."""
        return Contents("unreadable")


class CompositeSource(FrameSource):
    """Frames of several sources, one source after another or in a given order.

    The shape is that of most readable frames, the first of equals; frames of another shape fail
    to read as ``wrong-shape``. The type holds the counts of every source of that shape.

    Parameters
    ----------
    sources : sequence of FrameSource
        At least one.
    order : ndarray of int, shape (n_frames, 2), optional
        For each frame the number of its source and its index in it; by default all frames of all
        sources.

    Attributes
    ----------
    sources : tuple of FrameSource
        The sources.
    taken, readable_of : ndarray of int, shape (n_sources,)
        How many frames are taken from each source, and how many of them can be read.
    """

    def __init__(
        self, sources: Sequence[FrameSource], order: NDArray[np.integer] | None = None
    ) -> None:
        self.sources = tuple(sources)
        if order is None:
            lengths = [len(source) for source in self.sources]
            which = np.repeat(np.arange(len(lengths)), lengths)
            starts = np.repeat(np.cumsum([0, *lengths[:-1]]), lengths)
            order = np.stack([which, np.arange(len(which)) - starts], 1)
        self._order = np.asarray(order, np.int64).reshape(-1, 2)
        self.taken = np.bincount(self._order[:, 0], minlength=len(self.sources))
        self.readable_of = self._count_readable()
        votes: collections.Counter[tuple[int, int]] = collections.Counter()
        for source, n_readable in zip(self.sources, self.readable_of, strict=True):
            if n_readable:
                votes[source.shape] += int(n_readable)
        known = (s.shape for s in self.sources if s.shape != (0, 0))
        self.shape = votes.most_common(1)[0][0] if votes else next(known, (0, 0))
        self._usable = [
            bool(n) and source.shape == self.shape
            for source, n in zip(self.sources, self.readable_of, strict=True)
        ]
        usable = [s for s, good in zip(self.sources, self._usable, strict=True) if good]
        self._first = usable[0] if usable else self.sources[0]
        kinds = {source.dtype for source in usable}
        self.dtype = np.result_type(*kinds) if kinds else np.dtype(np.uint16)
        self.reader = ", ".join(dict.fromkeys(s.reader for s in self.sources if s.reader))
        self._scratch: dict[np.dtype, NDArray] = {}

    def _count_readable(self) -> NDArray[np.int64]:
        """Count the frames taken from each source that are not known to be unreadable."""
        counts = np.zeros(len(self.sources), np.int64)
        by_source = np.argsort(self._order[:, 0], kind="stable")
        ends = np.cumsum(self.taken)
        for number, source in enumerate(self.sources):
            frames = self._order[by_source[ends[number] - self.taken[number] : ends[number]], 1]
            counts[number] = np.count_nonzero(source.readable(frames))
        return counts

    def __len__(self) -> int:
        return len(self._order)

    def _at(self, index: int) -> tuple[FrameSource, int]:
        self.check(index)
        which, inner = self._order[index].tolist()
        return self.sources[which], inner

    def read(self, index: int, out: NDArray | None = None) -> NDArray:
        """Read one frame; see `FrameSource.read`."""
        source, inner = self._at(index)
        if source.shape != self.shape:
            source.check(inner)
            if not source.n_readable:
                source.read(inner)
            raise self._wrong_shape(source)
        frame = self.buffer(out)
        if source.dtype == self.dtype:
            return source.read(inner, frame)
        if source.dtype not in self._scratch:
            self._scratch[source.dtype] = np.empty(self.shape, source.dtype)
        frame[...] = source.read(inner, self._scratch[source.dtype])
        return frame

    def open_frame(self, index: int, out: NDArray | None = None) -> Frame:
        """Return one frame, packed or not; see `FrameSource.open_frame`."""
        source, inner = self._at(index)
        if source.shape == self.shape and source.dtype == self.dtype:
            return source.open_frame(inner, self.buffer(out))
        return self.read(index, out)

    def _wrong_shape(self, source: FrameSource) -> SourceError:
        what = f"frames are {source.shape}, most are {self.shape}"
        return SourceError("wrong-shape", what, source.ref(0).file)

    def ref(self, index: int) -> FrameRef:
        """Return where frame `index` is kept."""
        source, inner = self._at(index)
        return source.ref(inner)

    @property
    def n_readable(self) -> int:
        """Number of frames not known to be unreadable, of the common shape."""
        return int(self.readable_of[self._usable].sum())

    def readable(self, indices: NDArray[np.integer]) -> NDArray[np.bool_]:
        """Tell which frames can be read and have the common shape; see `FrameSource.readable`."""
        good = np.zeros(len(indices), bool)
        which, inner = self._order[indices].T
        for number in np.unique(which[np.array(self._usable)[which]]):
            mine = which == number
            good[mine] = self.sources[number].readable(inner[mine])
        return good

    @property
    def metadata(self) -> Metadata:
        """What the first readable source says."""
        return self._first.metadata

    def frame_metadata(self, index: int) -> Metadata:
        """Return what the frame's own source says about it."""
        source, inner = self._at(index)
        return source.frame_metadata(inner)

    def said_of_frames(self, name: str) -> NDArray[np.float64]:
        """Return what the frames' own sources say; see `FrameSource.said_of_frames`."""
        by_source = np.argsort(self._order[:, 0], kind="stable")
        found = np.empty(len(self))
        for source, frames in zip(
            self.sources, np.split(by_source, np.cumsum(self.taken)[:-1]), strict=True
        ):
            if len(frames):
                found[frames] = source.said_of_frames(name)[self._order[frames, 1]]
        return found

    def mask_key(self, index: int) -> MaskKey | None:
        """Return what tells the mask of a frame from others; see `FrameSource.mask_key`."""
        source, inner = self._at(index)
        return source.mask_key(inner) if self._usable[self._order[index, 0]] else None

    def mask_of(self, index: int) -> NDArray[np.bool_] | None:
        """Return a frame's mask; see `FrameSource.mask_of`."""
        source, inner = self._at(index)
        return source.mask_of(inner) if self._usable[self._order[index, 0]] else None

    @property
    def members(self) -> tuple[FrameSource, ...]:
        """The sources with readable frames of the common shape."""
        usable = (s for s, good in zip(self.sources, self._usable, strict=True) if good)
        return tuple(member for source in usable for member in source.members)

    @property
    def remarks(self) -> tuple[str, ...]:
        """The remarks of the members."""
        return tuple(remark for member in self.members for remark in member.remarks)

    @property
    def problems(self) -> tuple[SourceError, ...]:
        """The problems of all sources, and shapes that differ."""
        found: list[SourceError] = []
        for source in self.sources:
            found += source.problems
            if source.n_readable and source.shape != self.shape:
                found.append(self._wrong_shape(source))
        return tuple(found)

    @property
    def contents(self) -> Contents:
        """Format and compression of the first readable source, linked files of all."""
        first = self._first.contents
        linked = [file for source in self.sources for file in source.contents.linked_files]
        return Contents(first.format, first.dataset, first.compression, tuple(linked))

    def index_of(self, event: str) -> int:
        """Return the first frame of an event."""
        if len(self.sources) > 1:
            return super().index_of(event)
        inner = self.sources[0].index_of(event)
        places = np.flatnonzero(self._order[:, 1] == inner)
        if not len(places):
            file = self.sources[0].ref(inner).file
            raise SourceError("no-frames", f"there is no frame {event!r} among those named", file)
        return int(places[0])

    def h5_location(self, index: int) -> tuple[str, str, int] | None:
        """Return the dataset and index that hold the frame; see `FrameSource.h5_location`."""
        source, inner = self._at(index)
        return source.h5_location(inner) if source.shape == self.shape else None

    def close(self) -> None:
        """Close what is open."""
        for source in self.sources:
            source.close()

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_scratch": {}}

"""What a worker does with frames as they came: unpack, search, and keep the hits."""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from hitfinder.errors import SourceError
from hitfinder.export.cxi import write_cxi
from hitfinder.export.hits import Hit
from hitfinder.geometry.geometry import Geometry
from hitfinder.io.shuffled import Frame, ShuffledFrame
from hitfinder.io.simplon.images import DAMAGED, PackedFrame, PackedImage
from hitfinder.io.source import FrameRef, FrameSource
from hitfinder.job.chunks import Chunk, ChunkFinder, ChunkWork
from hitfinder.results.chunk import FAILED, ChunkResult

SHARDS = "shards"
"""Folder of the hits that were found so far."""


@dataclasses.dataclass(frozen=True, eq=False)
class LiveChunk:
    """Frames that came one after another: a task.

    Attributes
    ----------
    first, stop : int
        Number of the first frame, and the one after the last.
    images : dict of int to PackedFrame or str
        Frames by number, rising, or what is wrong with them.
    others : dict of int to tuple of str
        Status of the frames that are not there, and what is to be said of them.
    part_of : int, optional
        Number of the first frame of the chunk that this is a frame of.
    """

    first: int
    stop: int
    images: Mapping[int, PackedFrame | str]
    others: Mapping[int, tuple[str, str]]
    part_of: int | None = None

    def __str__(self) -> str:
        return f"frames {self.first} to {self.stop - 1}"

    @property
    def frames(self) -> list[int]:
        """Numbers of the frames that are there."""
        return list(self.images)

    @property
    def home(self) -> int:
        """Number of the first frame of the chunk in whose results these belong."""
        return self.first if self.part_of is None else self.part_of

    def single(self) -> Iterator[LiveChunk]:
        """Yield the frames one by one; those that are not there come with the last."""
        *_, last = self.images
        for number, image in self.images.items():
            others = self.others if number == last else {}
            yield LiveChunk(number, number + 1, {number: image}, others, self.home)

    def lost(self, problem: str) -> ChunkResult:
        """Return the results of a chunk that ended its workers."""
        return self.with_others(ChunkResult.without_results(self.frames, FAILED, problem))

    def with_others(self, result: ChunkResult) -> ChunkResult:
        """Add the rows of the frames that are not there."""
        kinds: dict[tuple[str, str], list[int]] = {}
        for number, kind in self.others.items():
            kinds.setdefault(kind, []).append(number)
        for (status, problem), numbers in kinds.items():
            result.merge(ChunkResult.without_results(numbers, status, problem))
        return result


@dataclasses.dataclass(frozen=True)
class LiveWork:
    """The work on any `LiveChunk`; see `hitfinder.executors.contract.Work`.

    Attributes
    ----------
    search : ChunkWork
        How peaks are found.
    folder : Path
        Folder of the run.
    file : str
        File that will hold the frames, as tables are to name it.
    """

    search: ChunkWork
    folder: Path
    file: str

    def frames(self, images: Mapping[int, PackedFrame | str]) -> ChunkFrames:
        """Return frames of the series as a source."""
        return ChunkFrames(self.file, images, self.search.shape, self.search.dtype)

    @contextlib.contextmanager
    def opened(self) -> Iterator[Callable[[LiveChunk], ChunkResult]]:
        """Return a function that finds the peaks in a chunk and keeps its hits."""
        finder = ChunkFinder(self.search)

        def find(chunk: LiveChunk) -> ChunkResult:
            source = self.frames(chunk.images)
            found = finder.find(Chunk(chunk.frames, chunk.first, source))
            hits = list(hits_of(found))
            if hits:
                shard = shard_path(self.folder, chunk.first)
                write_cxi(shard, source, self.search.geometry, hits, copy_frames=True)
            return chunk.with_others(found)

        yield find


def shard_path(folder: Path, first: int) -> Path:
    """Return where the hits of a chunk are kept."""
    return folder / SHARDS / f"hits-{first:09d}.cxi"


def hits_of(found: ChunkResult) -> Iterator[Hit]:
    """Yield the hits among the frames of a chunk."""
    ends = np.cumsum(found.rows["n_peaks"])
    for row in np.flatnonzero(found.rows["hit"]):
        peaks = found.peaks[ends[row] - found.rows["n_peaks"][row] : ends[row]]
        yield Hit(int(found.frames[row]), peaks, found.rows[row])


class ChunkFrames(FrameSource):
    """Some frames of a series, by their numbers in it; all have a place.

    Parameters
    ----------
    file : str
        File that will hold the frames.
    images : dict of int to PackedFrame or str
        Those that are there, or what is wrong with them. Each is unpacked when it is read, so that
        no more than one is in memory.
    shape, dtype
        Of every frame.
    """

    def __init__(
        self,
        file: str,
        images: Mapping[int, PackedFrame | str],
        shape: tuple[int, int],
        dtype: np.dtype,
    ) -> None:
        self._file, self._images = file, images
        self.shape, self.dtype = shape, dtype

    def __len__(self) -> int:
        return max(self._images, default=-1) + 1

    def read(self, index: int, out: NDArray | None = None) -> NDArray:
        """Unpack one frame; see `FrameSource.read`."""
        image = self._images[index]
        if isinstance(image, str):
            raise SourceError(DAMAGED, image)
        try:
            counts = image.unpacked()
        except SourceError as error:
            raise SourceError(DAMAGED, str(error)) from error
        if counts.shape != self.shape or counts.dtype != self.dtype:
            is_, must = f"{counts.shape} {counts.dtype}", f"{self.shape} {self.dtype}"
            raise SourceError(DAMAGED, f"the frame is {is_}, the series {must}")
        if out is None:
            return counts
        self.buffer(out)[...] = counts
        return out

    def open_frame(self, index: int, out: NDArray | None = None) -> Frame:
        """Return one frame, packed or not; see `FrameSource.open_frame`."""
        image, content = self._images[index], self.packed(index)
        if content is None or not isinstance(image, PackedImage) or image.shape != self.shape:
            return self.read(index)
        return ShuffledFrame(content, self.buffer(out), lambda what: SourceError(DAMAGED, what))

    def packed(self, index: int) -> bytes | None:
        """Return one frame as it came, if it is packed so; see `FrameSource.packed`."""
        image = self._images[index]
        if isinstance(image, PackedImage) and image.packing == "bslz4":
            return image.content if image.dtype == self.dtype else None
        return None

    def ref(self, index: int) -> FrameRef:
        """Return where the frame will be kept."""
        return FrameRef(self._file, f"//{index}")


def masked(geometry: Geometry, mask: NDArray[np.bool_]) -> Geometry:
    """Return a geometry with more pixels masked."""
    return dataclasses.replace(geometry, detector=geometry.detector.with_mask(mask))

"""Chunks on their way to an executor, and their results on the way back."""

from __future__ import annotations

import collections
import logging
from collections.abc import Iterable, Iterator, Sequence
from typing import Generic, Protocol, Self, TypeVar

from hitfinder.executors.contract import Done, Lost
from hitfinder.results.chunk import ChunkResult

log = logging.getLogger(__name__)


class Divisible(Protocol):
    """Frames that are processed together, or one by one."""

    @property
    def frames(self) -> Sequence[int]:
        """Their numbers, rising."""

    @property
    def home(self) -> int:
        """Number of the first frame of the chunk in whose results theirs belong."""

    def single(self) -> Iterator[Self]:
        """Yield the frames one by one."""

    def lost(self, problem: str) -> ChunkResult:
        """Return the results of a chunk that ended its workers."""


ChunkT = TypeVar("ChunkT", bound=Divisible)


class Flow(Generic[ChunkT]):
    """Chunks on their way to an executor, and their results on the way back.

    A chunk that ends its workers is tried once more frame by frame, so that a frame no worker
    survives costs no other.

    Parameters
    ----------
    chunks : iterable of chunk or None
        The chunks; None if there is none at the moment.
    """

    def __init__(self, chunks: Iterable[ChunkT | None]) -> None:
        self._chunks = chunks
        self._out = 0
        self._singles = collections.deque[ChunkT]()
        self._split: dict[int, tuple[ChunkT, ChunkResult]] = {}

    def tasks(self) -> Iterator[ChunkT | None]:
        """Yield what is to be done, None if that depends on what is out."""
        for chunk in self._chunks:
            yield from self._single_frames()
            self._out += chunk is not None
            yield chunk
        while self._out or self._singles:
            yield from self._single_frames()
            yield None

    def _single_frames(self) -> Iterator[ChunkT]:
        while self._singles:
            self._out += 1
            yield self._singles.popleft()

    def settle(
        self, outcome: Done[ChunkT, ChunkResult] | Lost[ChunkT]
    ) -> tuple[ChunkT, ChunkResult] | None:
        """Return a whole chunk and its results; None if some of its frames are still out."""
        self._out -= 1
        chunk = outcome.task
        if isinstance(outcome, Done):
            result = outcome.result
        elif outcome.hung or len(chunk.frames) == 1:
            result = chunk.lost(f"the worker process died: {outcome.why}")
        else:
            log.warning("trying %s one by one", chunk)
            self._split[chunk.home] = chunk, ChunkResult()
            self._singles.extend(chunk.single())
            return None
        if chunk.home not in self._split:
            return chunk, result
        whole, merged = self._split[chunk.home]
        merged.merge(result)
        if not {*whole.frames} <= {*merged.frames.tolist()}:
            return None
        return self._split.pop(chunk.home)

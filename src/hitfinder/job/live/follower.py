"""What follows a live run: takes in results as they come, and tells what it makes of them."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable
from typing import Any, Protocol, Self

from hitfinder.geometry.geometry import Geometry
from hitfinder.job.live.work import LiveChunk
from hitfinder.results.chunk import ChunkResult


class Follower(Protocol):
    """Takes in the results of a live run; a context manager."""

    def take(self, chunk: LiveChunk, result: ChunkResult, geometry: Geometry) -> None:
        """Take in results that are on disk. The run waits for this: it must not take long.

        Parameters
        ----------
        chunk : LiveChunk
            The frames.
        result : ChunkResult
            What was found in them.
        geometry : Geometry
            That of the run, with every mask that is known by then.
        """

    def told(self) -> dict[str, Any]:
        """Return the tables that ``live.json``, and ``live`` of ``run.json``, get from it."""

    def line(self) -> dict[str, Any]:
        """Return what a line of the history gets from it."""

    def __enter__(self) -> Self: ...

    def __exit__(self, *exc_info: object) -> None: ...


class Followers:
    """Several of them as one; a context manager, which begins and ends them.

    Parameters
    ----------
    followers : iterable of Follower
        What follows the run.
    """

    def __init__(self, followers: Iterable[Follower] = ()) -> None:
        self._all = list(followers)
        self._begun = contextlib.ExitStack()

    def __enter__(self) -> Self:
        with contextlib.ExitStack() as stack:
            for one in self._all:
                stack.enter_context(one)
            self._begun = stack.pop_all()
        return self

    def __exit__(self, *exc_info: object) -> None:
        self._begun.close()

    def take(self, chunk: LiveChunk, result: ChunkResult, geometry: Geometry) -> None:
        """Let all of them take in results."""
        for one in self._all:
            one.take(chunk, result, geometry)

    def told(self) -> dict[str, Any]:
        """Return what all of them tell."""
        return {name: table for one in self._all for name, table in one.told().items()}

    def line(self) -> dict[str, Any]:
        """Return what all of them add to the history."""
        return {name: value for one in self._all for name, value in one.line().items()}

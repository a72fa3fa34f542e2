"""Compiling before it is needed: as a step of an installation, not of the first run."""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Callable, Iterator

import numpy as np

from hitfinder.executors.contract import Executor, results
from hitfinder.finding.settings import FinderSettings
from hitfinder.io.memory import ArraySource
from hitfinder.job.chunks import Chunk, ChunkWork
from hitfinder.job.live.warm import COUNTS, WarmUp
from hitfinder.job.made_up import made_up_frames, small_geometry
from hitfinder.job.static import learn_static
from hitfinder.progress import Advance

_FINDERS = ("network", "likelihood")
"""Those of the registry that look at frames with compiled code."""


def compile_ahead(executor: Executor, advance: Advance) -> None:
    """Compile what finds hits in files and in streams, and what simulates frames.

    Frames of each kind are made up and gone through; Numba keeps what it compiles.

    Parameters
    ----------
    executor : Executor
        Whose workers compile, each something else.
    advance : Advance
        Told of each of `STEPS` that is done.

    Raises
    ------
    HitfinderError
        If something cannot be compiled.
    """
    for _ in results(executor.run(CompileWork(), STEPS)):
        advance(1)


@dataclasses.dataclass(frozen=True)
class CompileWork:
    """The work of compiling; see `hitfinder.executors.contract.Work`. A task is one of `STEPS`."""

    @contextlib.contextmanager
    def opened(self) -> Iterator[Callable[[str], None]]:
        """Return a function that does a step."""
        yield lambda step: _STEPS[step]()


def _search_files(dtype: np.dtype) -> None:
    geometry, frames = small_geometry(), made_up_frames(dtype)
    learn_static(ArraySource(frames), geometry)
    for finder in _FINDERS:
        settings = FinderSettings(finder=finder)
        work = ChunkWork(ArraySource(frames), geometry.shape, frames.dtype, geometry, settings)
        with work.opened() as find:
            found = find(Chunk(range(len(frames)), 0))
        if found.problems:
            raise RuntimeError(f"made-up frames cannot be searched: {found.problems}")


def _search_streams() -> None:
    for dtype in COUNTS:
        with WarmUp(FinderSettings(), estimate=True).opened() as search:
            search(dtype)


def _simulate() -> None:
    # Slow to import.
    from hitfinder.simulation.simulator import Simulator

    for name in ("single-shot", "integrated"):
        Simulator.preset(name)[0]


# The longest first, and what shares most with another step after it.
_STEPS: dict[str, Callable[[], None]] = {
    "files of 16 bits": lambda: _search_files(np.dtype(np.uint16)),
    "simulation": _simulate,
    "files of 32 bits": lambda: _search_files(np.dtype(np.uint32)),
    "streams": _search_streams,
}

STEPS = tuple(_STEPS)
"""What is compiled."""

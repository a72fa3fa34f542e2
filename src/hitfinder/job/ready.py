"""What workers of a run import before they are told of it, so that they are ready for frames.

It is imported once, by the process that they are forked from, which has the time to load what was
compiled before: each worker would take as long for that as for tens of frames.
"""

from __future__ import annotations

import contextlib

import numpy as np
from numpy.typing import NDArray

import hitfinder.io.stack  # noqa: F401
from hitfinder.compilecache import NotCompiledError, nothing_compiled
from hitfinder.finding.likelihood import LikelihoodFinder
from hitfinder.finding.result import FrameResult
from hitfinder.finding.score import chance_table
from hitfinder.finding.settings import FinderSettings
from hitfinder.io.memory import ArraySource
from hitfinder.io.shuffled import Frame
from hitfinder.job.chunks import Chunk, ChunkWork
from hitfinder.job.look import LookWork
from hitfinder.job.made_up import made_up_frames, small_geometry

_COUNTS = np.dtype(np.uint32)
"""Type of the counts for which code is loaded; little of it holds for one type only."""


class ProposingFinder(LikelihoodFinder):
    """Does with a frame what all finders of ours do, and scores nothing."""

    def __call__(self, frame: Frame, mask: NDArray[np.bool_] | None = None) -> FrameResult:
        """Find what may be a peak, and what a score may rest on."""
        proposed = self.propose(frame, mask)
        self.things(proposed)
        return self.result(proposed, proposed.peaks, 0.0)


def load_compiled() -> None:
    """Load the compiled code that finds peaks, as far as it was compiled before."""
    geometry, frames = small_geometry(), made_up_frames(_COUNTS)
    source, chunk = ArraySource(frames), Chunk(range(len(frames)), 0)
    settings = FinderSettings(finder=f"{__name__}:{ProposingFinder.__name__}")
    search = ChunkWork(source, geometry.shape, frames.dtype, geometry, settings)
    with contextlib.suppress(NotCompiledError), nothing_compiled():
        # Numba sets itself up when compiled code is called first, and every finder needs this.
        chance_table()
        for work in (LookWork(source, geometry), search):
            with work.opened() as do:
                do(chunk)


load_compiled()

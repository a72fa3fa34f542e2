"""Looking at frames for what does not move: what a worker does, before it is known."""

from __future__ import annotations

import contextlib
import dataclasses
import logging
from collections.abc import Callable, Iterator, Sequence

import numpy as np

from hitfinder.finding.likelihood import LikelihoodFinder
from hitfinder.finding.static.visits import Visits
from hitfinder.geometry.geometry import Geometry
from hitfinder.io.source import FrameSource
from hitfinder.job.chunks import Chunk

log = logging.getLogger(__name__)


@dataclasses.dataclass(frozen=True)
class LookWork:
    """The work of looking at frames; see `hitfinder.executors.contract.Work`.

    Attributes
    ----------
    source : FrameSource
        Frames; not open, so that it can be pickled.
    geometry : Geometry
        Geometry with what is masked already.
    """

    source: FrameSource
    geometry: Geometry

    @contextlib.contextmanager
    def opened(self) -> Iterator[Callable[[Chunk], list[Visits]]]:
        """Return a function that tells what is bright in each frame of a chunk."""
        finder = LikelihoodFinder(self.geometry)
        with self.source as source:
            yield lambda chunk: list(_looked_at(source, finder, chunk.frames))


def _looked_at(
    source: FrameSource, finder: LikelihoodFinder, numbers: Sequence[int]
) -> Iterator[Visits]:
    buffer = np.empty(source.shape, source.dtype)
    for number in numbers:
        try:
            frame = source.open_frame(number, buffer)
            if frame.shape == finder.geometry.shape:
                yield Visits.of(number, finder.propose(frame), finder.rings)
        except Exception:
            # What is wrong with a frame is told when it is searched.
            log.debug("frame %d", number, exc_info=True)

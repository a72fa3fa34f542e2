"""What does not move in a run: learnt from a sample of its frames before they are searched."""

from __future__ import annotations

import contextlib
import dataclasses
import logging
from collections.abc import Callable, Iterator, Sequence

import numpy as np

from hitfinder.executors.contract import Done, Executor
from hitfinder.executors.inline import Inline
from hitfinder.finding.likelihood import LikelihoodFinder
from hitfinder.finding.static.learner import StaticLearner
from hitfinder.finding.static.places import Places
from hitfinder.finding.static.visits import Visits
from hitfinder.geometry.geometry import Geometry
from hitfinder.io.source import FrameSource
from hitfinder.job.chunks import Chunk

log = logging.getLogger(__name__)

ROUNDS = 4
"""How often the sample is looked at, at most: what is masked may have hidden what is beside it."""

_AT_A_TIME = 8
"""Frames that a worker looks at before it tells of them."""


def learn_static(
    source: FrameSource, geometry: Geometry, n_frames: int = 64, executor: Executor | None = None
) -> Places:
    """Find what does not move in a sample of frames, spread evenly over a run.

    The sample depends on the length of the source alone, so the result is the same however a run
    is divided or resumed.

    Parameters
    ----------
    source : FrameSource
        Frames of one run; those that cannot be treated, or end their workers, are passed over. It
        is not open before, nor after.
    geometry : Geometry
        Geometry of the frames, with the mask known so far.
    n_frames : int
        Frames to sample.
    executor : Executor, optional
        Has the frames looked at; this process by default.
    """
    learner, executor = StaticLearner(geometry), executor or Inline()
    sample = np.unique(np.linspace(0, len(source) - 1, n_frames).astype(int)).tolist()
    tasks = [
        Chunk(sample[k : k + _AT_A_TIME], sample[k]) for k in range(0, len(sample), _AT_A_TIME)
    ]
    for _ in range(ROUNDS):
        for outcome in executor.run(LookWork(source, learner.geometry), tasks):
            for visits in outcome.result if isinstance(outcome, Done) else ():
                learner.remember(visits)
        if not learner.learn():
            break
    left = int((learner.places.left["kind"] != "arc").sum())
    if left:
        log.warning(
            "%d places are bright in frame after frame and look like Bragg peaks; they are not "
            "masked, since they may be the spots of one crystal that never turns. If they are hot,"
            " --mask them",
            left,
        )
    return learner.places


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
            frame = source.read(number, buffer)
            if frame.shape == finder.geometry.shape:
                yield Visits.of(number, finder.propose(frame), finder.rings)
        except Exception:
            # What is wrong with a frame is told when it is searched.
            log.debug("frame %d", number, exc_info=True)

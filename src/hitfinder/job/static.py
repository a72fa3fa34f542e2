"""What does not move in a run: learnt from a sample of its frames before they are searched."""

from __future__ import annotations

import logging

import numpy as np

from hitfinder.executors.contract import Done, Executor
from hitfinder.executors.inline import Inline
from hitfinder.finding.static.learner import StaticLearner
from hitfinder.finding.static.places import Places
from hitfinder.geometry.geometry import Geometry
from hitfinder.io.source import FrameSource
from hitfinder.job.chunks import Chunk
from hitfinder.job.look import LookWork
from hitfinder.lazy import meanwhile

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
    prepared = None
    if not isinstance(executor, Inline):
        # While others look at frames.
        prepared = meanwhile(learner.prepare)
    sample = np.unique(np.linspace(0, len(source) - 1, n_frames).astype(int)).tolist()
    tasks = [
        Chunk(sample[k : k + _AT_A_TIME], sample[k]) for k in range(0, len(sample), _AT_A_TIME)
    ]
    for _ in range(ROUNDS):
        for outcome in executor.run(LookWork(source, learner.geometry), tasks):
            for visits in outcome.result if isinstance(outcome, Done) else ():
                learner.remember(visits)
        if prepared is not None:
            prepared()
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

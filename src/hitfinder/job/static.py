"""What does not move in a run: learnt from a sample of its frames before they are searched."""

from __future__ import annotations

import logging

import numpy as np

from hitfinder.errors import SourceError
from hitfinder.finding.static.learner import StaticLearner
from hitfinder.finding.static.places import Places
from hitfinder.geometry.geometry import Geometry
from hitfinder.io.source import FrameSource

log = logging.getLogger(__name__)

ROUNDS = 4
"""How often the sample is looked at, at most: what is masked may have hidden what is beside it."""


def learn_static(source: FrameSource, geometry: Geometry, n_frames: int = 64) -> Places:
    """Find what does not move in a sample of frames, spread evenly over a run.

    The sample depends on the length of the source alone, so the result is the same however a run
    is divided or resumed.

    Parameters
    ----------
    source : FrameSource
        Frames of one run; those that cannot be read are passed over.
    geometry : Geometry
        Geometry of the frames, with the mask known so far.
    n_frames : int
        Frames to sample.
    """
    learner = StaticLearner(geometry)
    for _ in range(ROUNDS):
        for index in np.unique(np.linspace(0, len(source) - 1, n_frames).astype(int)):
            try:
                frame = source.read(int(index))
            except SourceError:
                continue
            if frame.shape == geometry.shape:
                learner.look(int(index), frame)
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

"""Workers that are ready before the first frame comes."""

from __future__ import annotations

import contextlib
import dataclasses
import logging
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np

from hitfinder.executors.contract import Executor
from hitfinder.finding.settings import FinderSettings
from hitfinder.finding.static.learner import StaticLearner
from hitfinder.io.datafile import FramePacker
from hitfinder.io.memory import ArraySource
from hitfinder.io.simplon.images import PackedImage
from hitfinder.job.chunks import ChunkWork
from hitfinder.job.finder_trial import FinderTrial
from hitfinder.job.live.work import SHARDS, LiveChunk, LiveWork
from hitfinder.job.made_up import SHAPE, made_up_frames, small_geometry

log = logging.getLogger(__name__)

COUNTS = (np.dtype("<u2"), np.dtype("<u4"))
"""Types of counts that detectors send; what is compiled holds for one type."""

_SLOW_S = 8.0


@dataclasses.dataclass(frozen=True)
class WarmUp:
    """The work of searching small frames that are made up, all the way to a shard.

    What is imported, compiled or loaded on the way is there when the first true frame comes. See
    `hitfinder.executors.contract.Work`; a task is the type of the counts.

    Attributes
    ----------
    finder : FinderSettings
        How peaks are found.
    estimate : bool
        Whether photon energy and camera length are estimated.
    """

    finder: FinderSettings
    estimate: bool

    @contextlib.contextmanager
    def opened(self) -> Iterator[Callable[[np.dtype], None]]:
        """Return a function that searches frames of one type of counts."""
        yield self._search

    def _search(self, dtype: np.dtype) -> None:
        with tempfile.TemporaryDirectory(prefix="hitfinder-") as name:
            (Path(name) / SHARDS).mkdir()
            search = ChunkWork(None, SHAPE, dtype, small_geometry(), self.finder, self.estimate)
            pack = FramePacker(SHAPE, dtype).pack
            images = {
                number: PackedImage(SHAPE, dtype, "bslz4", pack(frame))
                for number, frame in enumerate(made_up_frames(dtype))
            }
            with LiveWork(search, Path(name), "frames.h5").opened() as find:
                find(LiveChunk(0, len(images), images, {}))
            # Finders need no frame as a whole, but pictures of frames do.
            images[0].unpacked()


def warm_up(executor: Executor, finder: FinderSettings, estimate: bool, learns: bool) -> None:
    """Make this process and the workers ready for frames.

    Compiled code is made or loaded here first, so that the workers only load it. What goes wrong
    with made-up frames is no reason to do without true ones.

    Parameters
    ----------
    executor : Executor
        Whose workers start.
    finder : FinderSettings
        How peaks are found.
    estimate : bool
        Whether photon energy and camera length are estimated.
    learns : bool
        Whether it is learnt what is static.
    """
    began = time.monotonic()
    work, geometry = WarmUp(finder, estimate), small_geometry()
    try:
        for dtype in COUNTS:
            FinderTrial.of(ArraySource(made_up_frames(dtype)), geometry, finder).finder()
            with work.opened() as search:
                search(dtype)
            if learns:
                learner = StaticLearner(geometry)
                for number, frame in enumerate(made_up_frames(dtype)):
                    learner.look(number, frame)
                learner.learn()
            if time.monotonic() - began > _SLOW_S:
                log.info("code is compiled for this machine, which is done once")
        for dtype in COUNTS:
            tasks: list[np.dtype | None] = [dtype] * executor.n_workers
            for _ in executor.run(work, tasks):
                pass
    except Exception as error:
        log.debug("warming up", exc_info=True)
        log.info("the workers start with the first frame (%s)", error)
    else:
        log.info("%d workers are ready after %.1f s", executor.n_workers, time.monotonic() - began)

"""The flow of the frames of a series through an executor."""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Iterator
from typing import Protocol

import numpy as np

from hitfinder.errors import SourceError
from hitfinder.executors.contract import Executor
from hitfinder.finding.static.learner import StaticLearner
from hitfinder.geometry.geometry import Geometry
from hitfinder.interrupts import deferred
from hitfinder.io.simplon.images import DAMAGED, PackedFrame
from hitfinder.io.simplon.series import Batch, Series
from hitfinder.job.flow import Flow
from hitfinder.job.live.follower import Followers
from hitfinder.job.live.settings import LiveSettings
from hitfinder.job.live.status import LiveStatus
from hitfinder.job.live.work import LiveChunk, LiveWork, masked
from hitfinder.job.pipeline import save_static
from hitfinder.job.settings import JobSettings
from hitfinder.results.chunk import OK, ChunkResult
from hitfinder.results.store import Store

FEWEST_AT_ONCE, MOST_AT_ONCE, PIXELS_AT_ONCE = 8, 64, 1 << 28
"""Frames that a worker is given together, if so many wait; at most, and pixels of these at most."""

FIRST_LESSON = 16
"""Frames after which it is first asked what is static; then when twice as many were looked at, or
as many more as are remembered."""

_LOOK_AGAIN_S = 0.01


def at_once(n_waiting: int, n_workers: int, n_pixels: int) -> int:
    """Return how many frames a worker is given together.

    The more wait, the more: what there is to do once for all of them weighs less then, and they
    wait no longer for it than for those before them.

    Parameters
    ----------
    n_waiting : int
        Frames that wait.
    n_workers : int
        Workers.
    n_pixels : int
        Pixels of a frame.
    """
    most = min(MOST_AT_ONCE, PIXELS_AT_ONCE // n_pixels)
    return max(min(n_waiting // (2 * n_workers), most), FEWEST_AT_ONCE)


class SearchedRun(Protocol):
    """What the flow needs to know of a run."""

    @property
    def settings(self) -> JobSettings:
        """Everything that can be set about a run."""

    @property
    def live(self) -> LiveSettings:
        """What is special of this run."""

    @property
    def series(self) -> Series:
        """The series."""

    @property
    def store(self) -> Store:
        """Where results are kept."""

    @property
    def heard_s(self) -> float | None:
        """When something last came."""

    def work(self, geometry: Geometry) -> LiveWork:
        """Return the work of a worker."""


class Searching:
    """The flow of the frames through an executor, and what is learnt on the way.

    Attributes
    ----------
    learner : StaticLearner
        Learns what is static.
    settling : threading.Lock
        Held while results are kept and counted: who holds it finds as many in the store as are
        counted.
    """

    def __init__(
        self, run: SearchedRun, status: LiveStatus, followers: Followers, geometry: Geometry
    ) -> None:
        self._run, self._status, self._followers = run, status, followers
        self._geometry = self._masked = geometry
        self.learner = StaticLearner(geometry, most=run.settings.hot_pixel_frames or 1)
        self._learns = run.settings.hot_pixel_frames > 0
        self._seen, self._next_look, self._looks, self._lesson = 0, 0, 0, FIRST_LESSON
        self._came: dict[int, float] = {}
        self._is_over, self._has_learnt = False, False
        # Until workers have started, no frame is too old.
        self._ready_s = float("inf")
        self.settling = threading.Lock()

    def run(self, executor: Executor) -> None:
        """Process the frames until the series is over."""
        while not self._is_over:
            # What was just learnt is masked in all that comes after.
            self._has_learnt = False
            self._masked = masked(self._geometry, self.learner.places.mask)
            flow = Flow(self._chunks(executor.n_workers))
            for outcome in executor.run(self._run.work(self._masked), flow.tasks()):
                if (settled := flow.settle(outcome)) is not None:
                    # What is on disk is counted, whenever Ctrl-C comes.
                    with deferred(), self.settling:
                        self._keep(*settled)

    def _chunks(self, n_workers: int) -> Iterator[LiveChunk | None]:
        series, live = self._run.series, self._run.live
        while not self._has_learnt:
            self._end_if_quiet()
            if series.is_over:
                self._is_over = True
                return
            most = at_once(series.n_waiting, n_workers, math.prod(self._geometry.shape))
            batch = series.batch(most, longest_wait_s=live.longest_wait_s, since_s=self._ready_s)
            if batch is None:
                time.sleep(_LOOK_AGAIN_S)
                yield None
                continue
            self._came |= {number: one.at_s for number, one in batch.images.items()}
            self._look(batch)
            images = {number: one.image for number, one in batch.images.items()}
            yield LiveChunk(batch.first, batch.stop, images, batch.others)

    def _end_if_quiet(self) -> None:
        timeout, heard = self._run.live.timeout_s, self._run.heard_s
        if timeout is not None and heard is not None and time.monotonic() - heard > timeout:
            self._run.series.end(self._run.series.ended or f"nothing came for {timeout:g} s")

    def _look(self, batch: Batch) -> None:
        """Let the learner see the first frames, and then one now and then."""
        for number, one in batch.images.items() if self._learns else ():
            self._seen += 1
            if self._seen > self._next_look and not isinstance(one.image, str):
                self._next_look = self._seen + self._seen // self._run.settings.hot_pixel_frames
                self._learn_from(number, one.image)

    def _learn_from(self, number: int, image: PackedFrame) -> None:
        try:
            frame = image.unpacked()
        except SourceError:
            return
        if frame.shape != self._geometry.shape:
            return
        self.learner.look(number, frame)
        self._looks += 1
        if self._looks >= self._lesson:
            self._lesson += min(self._looks, self._run.settings.hot_pixel_frames)
            if self.learner.learn():
                self._has_learnt = True
                save_static(self._run.store, self.learner.places)
            self._status.static_pixels = int(self.learner.places.mask.sum())

    def _keep(self, chunk: LiveChunk, result: ChunkResult) -> None:
        """Keep the results of a chunk, and note what became of its frames."""
        self._run.store.add(chunk.first, result)
        now = time.monotonic()
        delays = {number: now - self._came.pop(number) for number in chunk.images}
        rows = result.rows["status"][np.isin(result.frames, list(chunk.images))]
        processed, damaged = int((rows == OK).sum()), int((rows == DAMAGED).sum())
        self._run.series.settle(
            processed=processed,
            damaged=damaged,
            failed=len(rows) - processed - damaged,
            slowest_s=max(delays.values()),
        )
        self._ready_s = min(self._ready_s, now)
        self._status.take(result, delays)
        self._followers.take(chunk, self._status.decided(result), self._masked)

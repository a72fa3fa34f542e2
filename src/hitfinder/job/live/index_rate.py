"""How many of the hits can be indexed, while a run goes on."""

from __future__ import annotations

import collections
import contextlib
import dataclasses
import logging
import os
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any, Self

import numpy as np

from hitfinder.crystal.lattice import Lattice
from hitfinder.executors.contract import Done
from hitfinder.executors.processes import Processes
from hitfinder.geometry.geometry import Geometry
from hitfinder.indexing.batch import LEAST_SCORE, FramePeaks, IndexedFrame, PeaksWork
from hitfinder.indexing.indexer import LEAST_PEAKS, USUAL_BANDWIDTH, Indexer
from hitfinder.job.live.work import LiveChunk, hits_of
from hitfinder.metrics.classification import wilson_interval
from hitfinder.results.chunk import ChunkResult

log = logging.getLogger(__name__)

WAITING_PER_WORKER = 4
"""Hits that wait to be indexed, for each process; those that come while so many do are skipped."""

RECENT = 100
"""Hits of the rate that is told of the latest."""

PATIENCE_S = 5.0
"""How long, at the end of a run, is waited for the hits that wait."""

_NICENESS = 10
_LOOK_AGAIN_S = 0.02


class IndexPool:
    """Indexes hits by their peaks, as many as a few processes can.

    They give way to those that find the hits. What comes while they are busy is skipped and
    counted, so the rate is that of a sample.

    Parameters
    ----------
    geometry : Geometry
        Geometry of the run.
    lattice : Lattice
        Of the crystals.
    n_workers : int
        Processes.
    bandwidth : float
        Relative bandwidth of the beam, full width.
    """

    def __init__(
        self,
        geometry: Geometry,
        lattice: Lattice,
        n_workers: int,
        bandwidth: float = USUAL_BANDWIDTH,
    ) -> None:
        self._geometry, self._lattice = geometry, lattice
        self._n_workers, self._bandwidth = n_workers, bandwidth
        self._counts = dict.fromkeys(
            ("hits", "searched", "indexed", "by_chance", "too_few_peaks", "skipped", "failed"), 0
        )
        self._latest: collections.deque[bool] = collections.deque(maxlen=RECENT)
        self._waiting: collections.deque[FramePeaks] = collections.deque()
        self._out, self._works = 0, True
        self._lock, self._stopping = threading.Lock(), threading.Event()
        self._until_s = float("inf")
        self._thread = threading.Thread(target=self._run, name="indexing", daemon=True)

    def take(self, chunk: LiveChunk, result: ChunkResult, geometry: Geometry) -> None:
        """Let the hits of a chunk wait to be indexed, or skip them."""
        for hit in hits_of(result):
            peaks = hit.peaks
            q = geometry.scattering_vectors(peaks["fs"].astype(float), peaks["ss"].astype(float))
            known = np.isfinite(q).all(axis=1) & q.any(axis=1)
            probability = peaks["probability"][known].astype(float)
            frame = FramePeaks(hit.frame, q[known], probability)
            with self._lock:
                self._counts["hits"] += 1
                if len(frame.q) < LEAST_PEAKS:
                    self._counts["too_few_peaks"] += 1
                    self._count_searched(indexed=False)
                elif not self._works or len(self._waiting) >= WAITING_PER_WORKER * self._n_workers:
                    self._counts["skipped"] += 1
                else:
                    self._waiting.append(frame)

    def told(self) -> dict[str, Any]:
        """Return the counts, and the rates that follow from them."""
        with self._lock:
            counts, latest = dict(self._counts), list(self._latest)
            waiting = len(self._waiting) + self._out
        tried = counts["searched"]
        low, high = wilson_interval(counts["indexed"], tried, 0.68)
        return {
            "index_rate": {
                "cell": str(self._lattice.cell),
                "lattice": self._lattice.code,
                **counts,
                "waiting": waiting,
                "rate": counts["indexed"] / tried if tried else None,
                "rate_low": float(low) if tried else None,
                "rate_high": float(high) if tried else None,
                "rate_of_last_100": sum(latest) / len(latest) if latest else None,
            }
        }

    def line(self) -> dict[str, Any]:
        """Return the counts that a curve of the rate needs."""
        with self._lock:
            return {"index_searched": self._counts["searched"], "indexed": self._counts["indexed"]}

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *exc_info: object) -> None:
        self._until_s = time.monotonic() + PATIENCE_S
        self._stopping.set()
        self._thread.join()

    def _run(self) -> None:
        geometry = self._geometry
        longest = float(np.nanmax(geometry.pixels.q)) / (2 * np.pi)
        try:
            indexer = Indexer(self._lattice, longest, geometry.pixel_inv_a, self._bandwidth)
            work = _InBackground(PeaksWork(indexer, LEAST_SCORE, 1))
            with Processes(self._n_workers) as executor:
                for outcome in executor.run(work, self._tasks()):
                    self._note(outcome.result if isinstance(outcome, Done) else None)
        except _OutOfTimeError:
            pass
        except Exception as error:
            # The index rate is told beside what a run is for.
            log.debug("indexing", exc_info=True)
            log.warning("hits are not indexed any more: %s", error)
        with self._lock:
            # What is left was never tried.
            self._works = False
            self._counts["skipped"] += len(self._waiting) + self._out
            self._waiting.clear()
            self._out = 0

    def _tasks(self) -> Iterator[FramePeaks | None]:
        while True:
            with self._lock:
                frame = self._waiting.popleft() if self._waiting else None
                self._out += frame is not None
                is_idle = frame is None and not self._out
            if self._stopping.is_set():
                if is_idle:
                    return
                if time.monotonic() > self._until_s:
                    raise _OutOfTimeError
            if frame is None:
                time.sleep(_LOOK_AGAIN_S)
            yield frame

    def _note(self, found: IndexedFrame | None) -> None:
        with self._lock:
            self._out -= 1
            if found is None:
                self._counts["failed"] += 1
                return
            indexed = any(crystal.score >= LEAST_SCORE for crystal in found.crystals)
            self._counts["by_chance"] += bool(found.chance >= LEAST_SCORE)
            self._count_searched(indexed=indexed)

    def _count_searched(self, *, indexed: bool) -> None:
        self._counts["searched"] += 1
        self._counts["indexed"] += indexed
        self._latest.append(indexed)


class _OutOfTimeError(Exception):
    """The run has ended, and what waits takes too long."""


@dataclasses.dataclass(frozen=True)
class _InBackground:
    """The work of indexing, by processes that give way to others."""

    work: PeaksWork

    @contextlib.contextmanager
    def opened(self) -> Iterator[Callable[[FramePeaks], IndexedFrame]]:
        """Return what indexes a frame."""
        os.nice(_NICENESS)
        with self.work.opened() as do:
            yield do

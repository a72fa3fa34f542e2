"""Finding the peaks in a chunk of frames: what a worker does."""

from __future__ import annotations

import contextlib
import dataclasses
import logging
import time
from collections.abc import Callable, Iterator

import numpy as np
from numpy.typing import NDArray

from hitfinder.errors import SourceError
from hitfinder.estimate.estimator import GeometryEstimator
from hitfinder.estimate.run import RunSums
from hitfinder.finding.peaks import PEAK_DTYPE
from hitfinder.finding.registry import make_finder
from hitfinder.finding.result import FrameResult
from hitfinder.finding.settings import FinderSettings
from hitfinder.geometry.geometry import Geometry
from hitfinder.io.source import FrameSource
from hitfinder.results.binned import add_binned, bin_size, binned_shape, counts_below
from hitfinder.results.store import FAILED, OK, WORKER_DIED, Part, empty_rows

log = logging.getLogger(__name__)

ESTIMATED = (
    "photon_energy_ev",
    "photon_energy_sigma_ev",
    "photon_energy_low_ev",
    "photon_energy_high_ev",
    "camera_length_m",
    "camera_length_sigma_m",
    "camera_length_low_m",
    "camera_length_high_m",
)
"""Columns of a frame that `hitfinder.estimate` fills."""

TOLD = "finder"
"""What ``geometry`` says of a frame whose photon energy or camera length the finder tells."""


@dataclasses.dataclass(frozen=True)
class Chunk:
    """Consecutive frames that a worker processes together: a task.

    Attributes
    ----------
    start, stop : int
        Number of the first frame, and of the one after the last.
    """

    start: int
    stop: int

    def __str__(self) -> str:
        return f"frames {self.start} to {self.stop - 1}"


Found = tuple[Part, NDArray]
"""Results of a chunk, with a row for frames that could not be read too, and their binned sum."""


@dataclasses.dataclass(frozen=True)
class ChunkWork:
    """The work of finding the peaks in any chunk; see `hitfinder.executors.contract.Work`.

    Attributes
    ----------
    source : FrameSource
        Frames; not read from yet, so that it can be pickled.
    geometry : Geometry
        Geometry with every mask that holds for all frames.
    settings : FinderSettings
        How peaks are found.
    estimate : bool
        Whether to estimate photon energy and camera length from the frames.
    """

    source: FrameSource
    geometry: Geometry
    settings: FinderSettings
    estimate: bool = True

    @contextlib.contextmanager
    def opened(self) -> Iterator[Callable[[Chunk], Found]]:
        """Return a function that finds the peaks in a chunk."""
        with self.source:
            yield ChunkFinder(self).find

    def lost(self, chunk: Chunk, why: str) -> Found:
        """Return the results of a chunk that ended its workers."""
        shape, n = self.source.shape, chunk.stop - chunk.start
        image = np.zeros(binned_shape(shape, bin_size(shape)), np.int64)
        problems = dict.fromkeys(range(chunk.start, chunk.stop), f"the worker process died: {why}")
        rows = empty_rows(n, WORKER_DIED)
        none = np.empty(0, PEAK_DTYPE)
        return Part(chunk.start, rows, none, np.zeros((2, 0)), problems), image


class ChunkFinder:
    """Find the peaks in chunks of frames, keeping buffers and maps from one to the next."""

    def __init__(self, work: ChunkWork) -> None:
        self._source = work.source
        self._finder = make_finder(work.geometry, work.settings)
        self._estimator = None
        if work.estimate and not work.geometry.detector.full_mask.all():
            self._estimator = GeometryEstimator(work.geometry)
        self._buffer = np.empty(work.source.shape, work.source.dtype)
        detector = work.geometry.detector
        self._mask = detector.full_mask
        self._limit = counts_below(self._buffer.dtype, detector.saturation)
        self._bin = bin_size(work.source.shape)

    def find(self, chunk: Chunk) -> Found:
        """Process the frames of a chunk."""
        start, stop = chunk.start, chunk.stop
        rows = empty_rows(stop - start, OK)
        peaks: list[NDArray] = []
        problems: dict[int, str] = {}
        profile = np.zeros((2, 0))
        run = RunSums.of(self._estimator, len(self._source)) if self._estimator else None
        kind = np.int64 if self._buffer.dtype.kind in "iub" else np.float64
        image = np.zeros(binned_shape(self._source.shape, self._bin), kind)
        for index in range(start, stop):
            began = time.perf_counter()
            row = rows[index - start : index - start + 1]
            try:
                result = self._find_one(index, row, image)
                if run is not None and np.isfinite(row["background_per_pixel"][0]):
                    self._estimate_one(index, row, run, result)
                _take_told(row, result)
                if result.profile.size:
                    finite = np.isfinite(result.profile)
                    added = np.stack([np.where(finite, result.profile, 0), finite])
                    profile = added + (profile if profile.size else 0)
                peaks.append(result.peaks)
            except SourceError as error:
                row[:] = empty_rows(1, error.status)
                problems[index] = str(error)
            except Exception as error:
                # One frame that cannot be treated must not cost the other hundred thousand.
                log.debug("frame %d", index, exc_info=True)
                row[:] = empty_rows(1, FAILED)
                problems[index] = f"{type(error).__name__}: {error}"
            row["seconds"] = time.perf_counter() - began
        joined = np.concatenate(peaks) if peaks else np.empty(0, PEAK_DTYPE)
        geometry = np.zeros((0, 0)) if run is None else run.to_array()
        return Part(start, rows, joined, profile, problems, geometry), image

    def _find_one(self, index: int, row: NDArray[np.void], image: NDArray) -> FrameResult:
        """Process one frame into its row."""
        frame = self._source.read(index, out=self._buffer)
        result = self._finder(frame)
        if result.peaks.dtype != PEAK_DTYPE:
            raise TypeError("the finder's peaks are not made by hitfinder.finding.peaks.peak_table")
        add_binned(frame, self._mask, self._limit, self._bin, image)
        row["hit"], row["score"] = result.hit, result.score
        row["n_peaks"], row["photons"] = len(result.peaks), result.photons
        row["background_per_pixel"] = result.background_per_pixel
        row["resolution_a"] = result.resolution_a
        row["hit_probability"] = result.hit_probability
        return result

    def _estimate_one(
        self, index: int, row: NDArray[np.void], run: RunSums, result: FrameResult
    ) -> None:
        """Estimate photon energy and camera length from the frame that was just processed."""
        if self._estimator is None or result.counts is None:
            return
        sums = self._estimator.sums(result.counts)
        estimate = self._estimator.estimate_sums(sums)
        run.add(index, sums, estimate)
        for name in ESTIMATED:
            row[name] = getattr(estimate, name)
        row["geometry"] = estimate.flag


def _take_told(row: NDArray[np.void], result: FrameResult) -> None:
    """Let photon energy and camera length that the finder tells stand in place of estimates."""
    for name, unit in (("photon_energy", "ev"), ("camera_length", "m")):
        told = getattr(result, f"{name}_{unit}")
        if np.isfinite(told):
            row[f"{name}_{unit}"] = told
            for what in ("sigma", "low", "high"):
                row[f"{name}_{what}_{unit}"] = np.nan
            row["geometry"] = TOLD

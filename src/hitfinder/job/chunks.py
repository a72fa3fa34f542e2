"""Finding the peaks in a chunk of frames: what a worker does."""

from __future__ import annotations

import contextlib
import dataclasses
import logging
import time
from collections.abc import Callable, Iterator, Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from hitfinder.errors import ShortMemoryError, SourceError, is_short_of_memory
from hitfinder.estimate.estimator import GeometryEstimator
from hitfinder.estimate.gather import BinSums
from hitfinder.estimate.result import GeometryEstimate
from hitfinder.estimate.run import RunSums
from hitfinder.finding.explained import explained
from hitfinder.finding.peaks import PEAK_DTYPE
from hitfinder.finding.registry import make_finder
from hitfinder.finding.result import FrameResult, Support
from hitfinder.finding.settings import FinderSettings
from hitfinder.geometry.geometry import Geometry
from hitfinder.io.shuffled import Frame
from hitfinder.io.source import FrameSource
from hitfinder.results.binned import add_frame, counts_below
from hitfinder.results.chunk import FAILED, OK, SHORT_MEMORY, WORKER_DIED, ChunkResult, empty_rows
from hitfinder.results.totals import Totals

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


@dataclasses.dataclass(frozen=True, eq=False)
class Chunk:
    """Frames that a worker processes together: a task.

    Attributes
    ----------
    frames : sequence of int
        Their numbers, rising.
    home : int
        Number of the first frame of the chunk in whose results theirs belong.
    images : FrameSource or dict of int to ndarray, optional
        The frames themselves, by number, if they come from a stream and no worker can read them.
    """

    frames: Sequence[int]
    home: int
    images: FrameSource | Mapping[int, NDArray] | None = None

    def __str__(self) -> str:
        first, last = self.frames[0], self.frames[-1]
        if last - first != len(self.frames) - 1:
            return f"{len(self.frames)} of the frames {first} to {last}"
        return f"frames {first} to {last}" if last > first else f"frame {first}"

    def single(self) -> Iterator[Chunk]:
        """Yield the frames one by one."""
        for frame in self.frames:
            image = None if self.images is None else {frame: self.images[frame]}
            yield Chunk([frame], self.home, image)

    def lost(self, problem: str) -> ChunkResult:
        """Return the results of a chunk that ended its workers."""
        return ChunkResult.without_results(self.frames, WORKER_DIED, problem)


@dataclasses.dataclass(frozen=True)
class ChunkWork:
    """The work of finding the peaks in any chunk; see `hitfinder.executors.contract.Work`.

    Attributes
    ----------
    source : FrameSource, optional
        Frames; not read from yet, so that it can be pickled. None if chunks bring theirs.
    shape : tuple of int
        Rows and columns of a frame.
    dtype : numpy.dtype
        Type of the counts.
    geometry : Geometry
        Geometry with every mask that holds for all frames.
    settings : FinderSettings
        How peaks are found.
    estimate : bool
        Whether to estimate photon energy and camera length from the frames.
    """

    source: FrameSource | None
    shape: tuple[int, int]
    dtype: np.dtype
    geometry: Geometry
    settings: FinderSettings
    estimate: bool = True

    @contextlib.contextmanager
    def opened(self) -> Iterator[Callable[[Chunk], ChunkResult]]:
        """Return a function that finds the peaks in a chunk."""
        with self.source or contextlib.nullcontext():
            yield ChunkFinder(self).find


class ChunkFinder:
    """Find the peaks in chunks of frames, keeping buffers and maps from one to the next."""

    def __init__(self, work: ChunkWork) -> None:
        self._source = work.source
        self._geometry = work.geometry
        self._finder = make_finder(work.geometry, work.settings)
        self._takes_packed = getattr(self._finder, "takes_packed", False)
        self._estimator = None
        if work.estimate and not work.geometry.detector.full_mask.all():
            self._estimator = GeometryEstimator(work.geometry)
        self._buffer = np.empty(work.shape, work.dtype)
        detector = work.geometry.detector
        self._mask = detector.full_mask
        self._limit = counts_below(self._buffer.dtype, detector.saturation)

    def find(self, chunk: Chunk) -> ChunkResult:
        """Process the frames of a chunk; those that cannot be read get a row that says so."""
        rows = empty_rows(len(chunk.frames), OK)
        peaks: list[NDArray] = [np.empty(0, PEAK_DTYPE)]
        problems: dict[int, str] = {}
        totals = Totals()
        for number, index in enumerate(chunk.frames):
            began = time.perf_counter()
            row = rows[number : number + 1]
            try:
                peaks.append(self._find_one(index, self._frame(chunk, index), row, totals))
            except SourceError as error:
                row[:] = empty_rows(1, error.status)
                problems[index] = str(error)
            except Exception as error:
                # One frame that cannot be treated must not cost the other hundred thousand.
                log.debug("frame %d", index, exc_info=True)
                if is_short_of_memory(error):
                    row[:] = empty_rows(1, SHORT_MEMORY)
                    problems[index] = str(ShortMemoryError())
                else:
                    row[:] = empty_rows(1, FAILED)
                    problems[index] = f"{type(error).__name__}: {error}"
            row["seconds"] = time.perf_counter() - began
        frames = np.array(chunk.frames, np.int64)
        return ChunkResult(frames, rows, np.concatenate(peaks), problems, totals)

    def _frame(self, chunk: Chunk, index: int) -> Frame:
        """Return a frame as the finder takes it."""
        images = self._source if chunk.images is None else chunk.images
        if images is None:
            raise ValueError("the chunk brings no frames, and there is nowhere to read them from")
        if not isinstance(images, FrameSource):
            return images[index]
        frame = images.open_frame(index, self._buffer)
        return frame if self._takes_packed else np.asarray(frame)

    def _find_one(
        self, index: int, frame: Frame, row: NDArray[np.void], totals: Totals
    ) -> NDArray[np.void]:
        """Process one frame into its row and the totals; return its peaks."""
        result = self._finder(frame)  # type: ignore[arg-type]
        if result.peaks.dtype != PEAK_DTYPE:
            raise TypeError("the finder's peaks are not made by hitfinder.finding.peaks.peak_table")
        row["hit"], row["score"] = result.hit, result.score
        row["doubt"] = result.doubt
        support = dataclasses.astuple(result.support or Support())
        row["support"] = (*support, *explained(result.peaks, self._geometry))
        row["n_peaks"], row["photons"] = len(result.peaks), result.photons
        row["peaks_left_out"] = result.peaks_left_out
        row["background_per_pixel"] = result.background_per_pixel
        row["resolution_a"] = result.resolution_a
        row["hit_probability"] = result.hit_probability
        estimated = self._estimated(row, result)
        _take_told(row, result)
        # A frame is in all the totals or, if something fails, in none.
        own = Totals(geometry=RunSums.of(self._estimator) if self._estimator else None)
        if result.profile.size:
            own.profile.add(result.profile)
        if estimated is not None and own.geometry is not None:
            own.geometry.add(index, *estimated)
        totals.merge(own)
        pictures, of_counts = (totals.image, totals.maximum), (result.lit, result.squares)
        add_frame(*pictures, frame, self._mask, self._limit, *of_counts)
        return result.peaks

    def _estimated(
        self, row: NDArray[np.void], result: FrameResult
    ) -> tuple[BinSums, GeometryEstimate] | None:
        """Estimate photon energy and camera length from a frame that was just processed."""
        known = np.isfinite(row["background_per_pixel"][0])
        if self._estimator is None or result.counts is None or not known:
            return None
        sums = self._estimator.sums(result.counts, result.lit, result.squares)
        estimate = self._estimator.estimate_sums(sums)
        for name in ESTIMATED:
            row[name] = getattr(estimate, name)
        row["geometry"] = estimate.flag
        return sums, estimate


def _take_told(row: NDArray[np.void], result: FrameResult) -> None:
    """Let photon energy and camera length that the finder tells stand in place of estimates."""
    for name, unit in (("photon_energy", "ev"), ("camera_length", "m")):
        told = getattr(result, f"{name}_{unit}")
        if np.isfinite(told):
            row[f"{name}_{unit}"] = told
            for what in ("sigma", "low", "high"):
                row[f"{name}_{what}_{unit}"] = np.nan
            row["geometry"] = TOLD

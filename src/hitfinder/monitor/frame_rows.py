"""The frames of a run as the page needs them: a few numbers each."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from hitfinder.results.chunk import FRAME_DTYPE, OK, PENDING, SUPPORT_DTYPE, ChunkResult

COLUMNS = {
    "hit": "?",
    "score": "f8",
    "n_peaks": "i4",
    "photons": "i8",
    "background_per_pixel": "f4",
    "resolution_a": "f4",
    "hit_probability": "f4",
    "photon_energy_ev": "f4",
    "photon_energy_sigma_ev": "f4",
    "camera_length_m": "f4",
    "camera_length_sigma_m": "f4",
    "seconds": "f4",
}
"""Columns of ``frames.parquet`` that are kept, and their types."""

KNOWN = np.dtype([("status", "u1"), ("estimated", "?"), ("saturated", "?"), *COLUMNS.items()])
"""What is kept of a frame: ``status`` counts in `FrameRows.statuses`; ``estimated`` says whether
photon energy and camera length are worth something, ``saturated`` whether a peak of it is."""

_ESTIMATED = ("ok", "finder")


@dataclasses.dataclass(frozen=True, eq=False)
class DecidedFrames:
    """What was decided on the frames of a run.

    Attributes
    ----------
    hit : ndarray of bool, shape (n_frames,)
        Which are hits.
    doubt : ndarray of str, shape (n_frames,)
        Why they are none, or why it is doubtful that they are; empty without a doubt.
    """

    hit: NDArray[np.bool_]
    doubt: NDArray[np.str_]

    @property
    def doubted(self) -> int:
        """Frames that would be hits by their score, and are none for a doubt."""
        return int(((self.doubt != "") & ~self.hit).sum())

    @property
    def doubtful_hits(self) -> int:
        """Hits that are doubtful."""
        return int(((self.doubt != "") & self.hit).sum())


SUPPORTED = np.dtype([("frame", "i8"), ("support", SUPPORT_DTYPE)])
"""What the score of a frame rests on."""

FRAMES_AT_ONCE = 1 << 14


@dataclasses.dataclass(eq=False)
class FrameRows:
    """Frames in input order.

    Attributes
    ----------
    rows : ndarray of `KNOWN`, shape (n_frames,)
        A row per frame.
    statuses : list of str
        Statuses that occur, ``ok`` first and ``pending`` second.
    supported : ndarray of `SUPPORTED`
        The frames of which it is known what their scores rest on, in any order.
    decided : DecidedFrames, optional
        What a finished run has decided.
    saturation : float
        Counts from which a pixel is saturated; infinite if nobody knows.
    """

    rows: NDArray[np.void]
    statuses: list[str]
    supported: NDArray[np.void] = dataclasses.field(default_factory=lambda: np.empty(0, SUPPORTED))
    decided: DecidedFrames | None = None
    saturation: float = math.inf

    @staticmethod
    def pending(n_frames: int, saturation: float | None = None) -> FrameRows:
        """Return the table of a run of which no frame is done."""
        rows = np.zeros(n_frames, KNOWN)
        rows["status"] = 1
        for name, kind in COLUMNS.items():
            if kind.startswith("f"):
                rows[name] = np.nan
        limit = math.inf if saturation is None else saturation
        return FrameRows(rows, [OK, PENDING], saturation=limit)

    @staticmethod
    def of(
        table: pa.Table,
        support: tuple[NDArray[np.int64], NDArray[np.void]],
        maxima: Mapping[int, NDArray[np.float32]],
        saturation: float | None,
    ) -> FrameRows:
        """Take what is needed from the table of a finished run.

        Parameters
        ----------
        table : pyarrow.Table
            From ``frames.parquet``.
        support : tuple of two ndarrays
            As `hitfinder.results.finished.read_support` returns it.
        maxima : mapping
            Brightest pixel of each peak, by frame, as far as it is known.
        saturation : float, optional
            Counts from which a pixel is saturated.
        """
        made = FrameRows.pending(table.num_rows, saturation)
        made.supported = _supported(*support)
        for name in COLUMNS:
            made.rows[name] = table[name].to_numpy()
        made._tell(slice(None), table["status"].to_numpy(), table["geometry"].to_numpy())
        for frame, most in maxima.items():
            if frame < len(made.rows):
                made.rows["saturated"][frame] = (most >= made.saturation).any()
        made.decided = DecidedFrames(made.rows["hit"], table["doubt"].to_numpy().astype(str))
        return made

    def make_room(self, n_frames: int) -> None:
        """Have rows for so many frames, at least; those that are added are pending."""
        missing = n_frames - len(self.rows)
        if missing > 0:
            self.rows = np.concatenate([self.rows, FrameRows.pending(missing).rows])

    def take(self, chunk: ChunkResult) -> None:
        """Take in the results of some frames of a run that is being worked on."""
        self.make_room(int(chunk.frames[-1]) + 1 if len(chunk.frames) else 0)
        for name in COLUMNS:
            self.rows[name][chunk.frames] = chunk.rows[name]
        self._tell(chunk.frames, chunk.rows["status"], chunk.rows["geometry"])
        full = chunk.frame_of_peak[chunk.peaks["maximum"] >= self.saturation]
        self.rows["saturated"][chunk.frames] = np.isin(chunk.frames, full)
        told = chunk.rows["support"] != np.zeros((), SUPPORT_DTYPE)
        before = self.supported[~np.isin(self.supported["frame"], chunk.frames)]
        more = _supported(chunk.frames[told], chunk.rows["support"][told])
        self.supported = np.concatenate([before, more])

    def _tell(self, at: Any, status: NDArray, geometry: NDArray) -> None:
        names, codes = np.unique(status.astype(str), return_inverse=True)
        for name in names:
            if name not in self.statuses:
                self.statuses.append(str(name))
        self.rows["status"][at] = np.array([self.statuses.index(name) for name in names])[codes]
        self.rows["estimated"][at] = np.isin(geometry.astype(str), _ESTIMATED)

    def chunks(self) -> Iterator[ChunkResult]:
        """Yield what decides on hits as a job keeps it, without peaks."""
        codes = np.array(self.statuses)
        for start in range(0, len(self.rows), FRAMES_AT_ONCE):
            own = self.rows[start : start + FRAMES_AT_ONCE]
            rows = np.zeros(len(own), FRAME_DTYPE)
            for name in ("hit", "score", "n_peaks", "background_per_pixel"):
                rows[name] = own[name]
            rows["status"] = codes[own["status"]]
            at = self.supported["frame"] - start
            here = (at >= 0) & (at < len(own))
            rows["support"][at[here]] = self.supported["support"][here]
            yield ChunkResult(np.arange(start, start + len(own)), rows)

    def __len__(self) -> int:
        """Return the number of frames."""
        return len(self.rows)

    @property
    def ok(self) -> NDArray[np.bool_]:
        """Whether each frame was processed."""
        return self.rows["status"] == 0

    @property
    def by_status(self) -> dict[str, int]:
        """Number of frames by status."""
        n = np.bincount(self.rows["status"], minlength=len(self.statuses))
        return {name: int(k) for name, k in zip(self.statuses, n, strict=True) if k}


def _supported(frames: NDArray[np.int64], support: NDArray[np.void]) -> NDArray[np.void]:
    made = np.empty(len(frames), SUPPORTED)
    made["frame"], made["support"] = frames, support
    return made

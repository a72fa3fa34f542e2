"""Results of frames: a row for each, their peaks, and what is added up over them."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Self

import numpy as np
from numpy.typing import NDArray

from hitfinder.finding.explained import Explained
from hitfinder.finding.peaks import PEAK_DTYPE
from hitfinder.results.totals import Totals

SUPPORT_DTYPE = np.dtype(
    [
        ("kind", "U12"),
        ("n_alone", "i4"),
        ("n_bright", "i4"),
        ("strength", "f4"),
        ("score", "f4"),
        ("fs", "f4"),
        ("ss", "f4"),
        ("nearer", "f4"),
        ("n_seen", "i4"),
        ("n_sharp", "i4"),
        ("n_spots", "i4"),
        ("bare_score", "f4"),
        *((name, "i4") for name in Explained._fields),
    ]
)
"""What the score of a hit rests on: a `hitfinder.finding.result.Support`, and a
`hitfinder.finding.explained.Explained`."""

FRAME_DTYPE = np.dtype(
    [
        ("status", "U16"),
        ("hit", "?"),
        ("doubt", "U12"),
        ("score", "f8"),
        ("n_peaks", "i4"),
        ("peaks_left_out", "?"),
        ("photons", "i8"),
        ("background_per_pixel", "f8"),
        ("resolution_a", "f4"),
        ("hit_probability", "f4"),
        ("crystal_score", "f8"),
        ("joint_score", "f8"),
        ("joint_probability", "f4"),
        ("photon_energy_ev", "f4"),
        ("photon_energy_sigma_ev", "f4"),
        ("photon_energy_low_ev", "f4"),
        ("photon_energy_high_ev", "f4"),
        ("camera_length_m", "f4"),
        ("camera_length_sigma_m", "f4"),
        ("camera_length_low_m", "f4"),
        ("camera_length_high_m", "f4"),
        ("geometry", "U16"),
        ("seconds", "f4"),
        ("support", SUPPORT_DTYPE),
    ]
)
"""One frame's results; ``status`` is ``ok`` or says why there are none. Photon energy and camera
length are estimated from the frame, ``geometry`` says whether they can be. What a known crystal
says of the frame is told by `hitfinder.results.crystalhits`."""

OK, PENDING, WORKER_DIED, FAILED = "ok", "pending", "worker-died", "failed"
SHORT_MEMORY = "short-memory"
"""Statuses besides those of `SourceError`: not done yet; its worker was killed; error inside; no
memory for it."""

WANTING = ("missing-file", "missing-source", WORKER_DIED, SHORT_MEMORY)
"""Statuses of frames that may well be had another time, and that a resumed job tries again."""


def empty_rows(n: int, status: str) -> NDArray[np.void]:
    """Return `n` rows of `FRAME_DTYPE` for frames without results."""
    rows = np.zeros(n, FRAME_DTYPE)
    rows["status"] = status
    for name in FRAME_DTYPE.names or ():
        if FRAME_DTYPE[name].kind == "f" and name != "seconds":
            rows[name] = np.nan
    return rows


@dataclasses.dataclass(eq=False)
class ChunkResult:
    """Results of some frames of a run, consecutive or not.

    It keeps `hitfinder.results.contract.Mergeable`: chunks of different frames join in any order.

    Attributes
    ----------
    frames : ndarray of int64, shape (n,)
        Numbers of the frames, rising.
    rows : ndarray of `FRAME_DTYPE`, shape (n,)
        A row per frame.
    peaks : structured ndarray
        Peaks of all frames, in frame order; `rows` says how many are whose.
    problems : dict
        Frame number to the message of the error that frame met.
    totals : Totals
        What is added up over the frames.
    """

    frames: NDArray[np.int64] = dataclasses.field(default_factory=lambda: np.empty(0, np.int64))
    rows: NDArray[np.void] = dataclasses.field(default_factory=lambda: np.empty(0, FRAME_DTYPE))
    peaks: NDArray[np.void] = dataclasses.field(default_factory=lambda: np.empty(0, PEAK_DTYPE))
    problems: dict[int, str] = dataclasses.field(default_factory=dict)
    totals: Totals = dataclasses.field(default_factory=Totals)

    @staticmethod
    def without_results(frames: Sequence[int], status: str, problem: str = "") -> ChunkResult:
        """Return rows for frames that have no results, and why."""
        rows = empty_rows(len(frames), status)
        problems = dict.fromkeys(frames, problem) if problem else {}
        return ChunkResult(np.array(frames, np.int64), rows, problems=problems)

    @staticmethod
    def joined(chunks: Sequence[ChunkResult]) -> ChunkResult:
        """Return chunks whose frames follow one another as one, without totals."""
        return ChunkResult(
            np.concatenate([chunk.frames for chunk in chunks]),
            np.concatenate([chunk.rows for chunk in chunks]),
            np.concatenate([chunk.peaks for chunk in chunks]),
            {frame: text for chunk in chunks for frame, text in chunk.problems.items()},
        )

    @property
    def frame_of_peak(self) -> NDArray[np.int64]:
        """Number of the frame of each peak."""
        return np.repeat(self.frames, self.rows["n_peaks"])

    @property
    def wanting(self) -> NDArray[np.int64]:
        """Numbers of the frames of a status of `WANTING`."""
        return self.frames[np.isin(self.rows["status"], WANTING)]

    def merge(self, other: Self) -> None:
        """Take in the results of other frames.

        Raises
        ------
        ValueError
            If a frame has results in both.
        """
        frames = np.concatenate([self.frames, other.frames])
        order = np.argsort(frames, kind="stable")
        if (np.diff(frames[order]) == 0).any():
            raise ValueError("a frame has results in both chunks")
        owners = np.concatenate([self.frame_of_peak, other.frame_of_peak])
        peaks = np.concatenate([self.peaks, other.peaks])
        self.peaks = peaks[np.argsort(owners, kind="stable")]
        self.frames = frames[order]
        self.rows = np.concatenate([self.rows, other.rows])[order]
        self.problems = dict(sorted((self.problems | other.problems).items()))
        self.totals.merge(other.totals)

    def without(self, frames: NDArray[np.int64]) -> ChunkResult:
        """Return this without the rows of some frames, which have added nothing to the totals."""
        kept = ~np.isin(self.frames, frames)
        return ChunkResult(
            self.frames[kept],
            self.rows[kept],
            self.peaks[np.repeat(kept, self.rows["n_peaks"])],
            {frame: text for frame, text in self.problems.items() if frame not in frames},
            self.totals,
        )


@dataclasses.dataclass
class Counts:
    """How far a job is; keeps `hitfinder.results.contract.Mergeable`."""

    frames: int = 0
    hits: int = 0
    problems: int = 0
    wanting: int = 0

    @staticmethod
    def of(result: ChunkResult) -> Counts:
        """Count the frames of a chunk."""
        return Counts(
            len(result.rows),
            int(result.rows["hit"].sum()),
            int((result.rows["status"] != OK).sum()),
            len(result.wanting),
        )

    def merge(self, other: Self) -> None:
        """Add the counts of other frames."""
        self.frames += other.frames
        self.hits += other.hits
        self.problems += other.problems
        self.wanting += other.wanting

    def __str__(self) -> str:
        bad = f", {self.problems} unreadable" if self.problems else ""
        return f"{self.hits} hits{bad}"

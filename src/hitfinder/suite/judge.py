"""Found peaks against true spots: recall, false peaks, and positions."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from hitfinder.metrics.matching import match_peaks, recall_at_false_rate
from hitfinder.suite.condition import Frames


@dataclasses.dataclass(frozen=True, eq=False)
class Judgement:
    """Found peaks of one finder at one setting on one condition.

    Attributes
    ----------
    photons, strength, distance, group, must : ndarray
        One entry per spot: its photons, the strength of the peak that found it (−inf if none
        did) and its distance in pixels (NaN), the group of its frame, and whether it must be
        found.
    false : ndarray
        Strengths of the false peaks: all on the blanks, or on measured frames those near nothing.
    n_false_frames : int
        Frames the false peaks were counted on.
    beside : ndarray
        Strengths of the peaks near no spot on the frames that have some.
    n_hits : int
        Those frames.
    """

    photons: NDArray[np.float64]
    strength: NDArray[np.float64]
    distance: NDArray[np.float64]
    group: NDArray[np.intp]
    must: NDArray[np.bool_]
    false: NDArray[np.float64]
    n_false_frames: int
    beside: NDArray[np.float64]
    n_hits: int

    @property
    def n_must(self) -> int:
        """Spots that must be found."""
        return int(self.must.sum())

    @property
    def n_found(self) -> int:
        """Of those, the ones found."""
        return int(np.isfinite(self.strength[self.must]).sum())

    @property
    def recall(self) -> float:
        """Share of the spots found that must be; NaN if there are none."""
        return self.n_found / self.n_must if self.n_must else float("nan")

    @property
    def false_per_frame(self) -> float:
        """False peaks per frame on which they were counted."""
        return len(self.false) / self.n_false_frames

    def cut_at(self, false_per_frame: float) -> tuple[float, float]:
        """Return recall and cut when weak peaks are dropped until the false ones are this few."""
        strength = self.strength[self.must]
        return recall_at_false_rate(strength, self.false, self.n_false_frames, false_per_frame)

    def of_group(self, group: int) -> Judgement:
        """Return only the spots of one group; the false peaks stay."""
        keep = self.group == group
        names = ("photons", "strength", "distance", "group", "must")
        return dataclasses.replace(self, **{name: getattr(self, name)[keep] for name in names})

    def above(self, cut: float) -> Judgement:
        """Return the judgement without the peaks that are no stronger than `cut`."""
        lost = ~(self.strength > cut)
        return dataclasses.replace(
            self,
            strength=np.where(lost, -np.inf, self.strength),
            distance=np.where(lost, np.nan, self.distance),
            false=self.false[self.false > cut],
            beside=self.beside[self.beside > cut],
        )


def judge(
    frames: Frames, found: Sequence[NDArray[np.float64]], subset: Sequence[int] | None = None
) -> Judgement:
    """Judge the peaks found in a condition's frames.

    Parameters
    ----------
    frames : Frames
        The condition.
    found : sequence of ndarray, shape (n, 3)
        For each frame: fs, ss (corner convention) and strength of each peak.
    subset : sequence of int, optional
        The frames that were searched; all by default.
    """
    c = frames.condition
    indices = range(len(frames)) if subset is None else subset
    empty = np.empty(0)
    photons, strength, distance, group, must = [empty], [empty], [empty], [], []
    false, beside = [empty], [empty]
    for index, peaks in zip(indices, found, strict=True):
        if index >= c.n_hits:
            false.append(peaks[:, 2])
            continue
        true = frames.spots(index)
        got, how_far, rest = _assigned(true, peaks, c.tolerance_px)
        photons.append(true["photons"])
        strength.append(got)
        distance.append(how_far)
        group.append(np.full(len(true), index % len(c.groups)))
        must.append(true["must"])
        beside.append(rest)
    n_blanks = sum(index >= c.n_hits for index in indices)
    n_hits = len(indices) - n_blanks
    if c.kind == "real":
        false, n_blanks = beside, n_hits
    return Judgement(
        np.concatenate(photons),
        np.concatenate(strength),
        np.concatenate(distance),
        np.concatenate(group),
        np.concatenate(must),
        np.concatenate(false),
        n_blanks,
        np.concatenate(beside),
        n_hits,
    )


def _assigned(
    true: NDArray, peaks: NDArray[np.float64], tolerance_px: float
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
    """Strength and distance of the peak that found each spot; strengths of peaks near none."""
    places = np.stack([true["fs"], true["ss"]], 1)
    got, how_far = np.full(len(true), -np.inf), np.full(len(true), np.nan)
    # Spots that must be found come first: a faint neighbour does not take their peak.
    for spots in (np.flatnonzero(true["must"]), np.flatnonzero(~true["must"])):
        match = match_peaks(peaks[:, :2], places[spots], tolerance_px)
        got[spots[match.true]] = peaks[match.found, 2]
        how_far[spots[match.true]] = match.distance
        peaks = peaks[match.false]
    # A spot seen twice is no false peak.
    return got, how_far, peaks[~near(peaks[:, :2], places, tolerance_px), 2]


def near(
    at: NDArray[np.float64], places: NDArray[np.float64], tolerance_px: float
) -> NDArray[np.bool_]:
    """Return which positions are within the tolerance of any of the places."""
    if not (len(at) and len(places)):
        return np.zeros(len(at), bool)
    squared = (at[:, None, :] - places[None]) ** 2
    return np.asarray(squared.sum(2).min(1) <= tolerance_px**2)

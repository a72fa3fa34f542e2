"""Found peaks against true spots: recall, false peaks, and the curve between them."""

from __future__ import annotations

import dataclasses

import numpy as np

from conditions import Frames
from hitfinder.metrics.matching import match_peaks, recall_at_false_rate


@dataclasses.dataclass(frozen=True, eq=False)
class Judgement:
    """Found peaks of one finder at one setting on one condition.

    Attributes
    ----------
    photons, strength, group, must : ndarray
        One entry per spot: its photons, the strength of the peak that found it (−inf if none
        did), the group of its frame, and whether it must be found.
    false : ndarray
        Strengths of the false peaks: all on the blanks, or on measured frames those near nothing.
    n_false_frames : int
        Frames the false peaks were counted on.
    """

    photons: np.ndarray
    strength: np.ndarray
    group: np.ndarray
    must: np.ndarray
    false: np.ndarray
    n_false_frames: int

    @property
    def n_must(self) -> int:
        return int(self.must.sum())

    @property
    def n_found(self) -> int:
        return int(np.isfinite(self.strength[self.must]).sum())

    @property
    def recall(self) -> float:
        return self.n_found / self.n_must if self.n_must else np.nan

    @property
    def false_per_frame(self) -> float:
        return len(self.false) / self.n_false_frames

    def recall_at(self, false_per_frame: float) -> float:
        """Recall when weak peaks are cut until no more than this rate of false ones is left."""
        return self.cut_at(false_per_frame)[0]

    def cut_at(self, false_per_frame: float) -> tuple[float, float]:
        """`recall_at`, and the strength above which peaks are kept for it."""
        strength = self.strength[self.must]
        return recall_at_false_rate(strength, self.false, self.n_false_frames, false_per_frame)

    def of_group(self, group: int) -> Judgement:
        """Only the spots of one group; the false peaks stay."""
        keep = self.group == group
        names = ("photons", "strength", "group", "must")
        return dataclasses.replace(self, **{name: getattr(self, name)[keep] for name in names})

    def curve(self) -> tuple[np.ndarray, np.ndarray]:
        """False peaks per frame and recall for every cut that lets one more false peak in."""
        rates = np.arange(len(self.false) + 1) / self.n_false_frames
        return rates, np.array([self.recall_at(rate) for rate in rates])


def judge(frames: Frames, found: list[np.ndarray], subset: list[int] | None = None) -> Judgement:
    """Judge the peaks found in a condition's frames.

    Parameters
    ----------
    frames : Frames
        The condition.
    found : list of ndarray, shape (n, 3)
        Per frame of `subset`: fs, ss (corner convention) and strength of each peak.
    subset : list of int, optional
        The frames that were searched; all by default.
    """
    condition = frames.condition
    indices = range(len(frames.frames)) if subset is None else subset
    spots, strength, group, false = [], [], [], []
    n_false_frames = 0
    for index, peaks in zip(indices, found, strict=True):
        is_hit = index < condition.n_hits
        if not is_hit or condition.kind == "real":
            n_false_frames += 1
        if not is_hit:
            false.append(peaks[:, 2])
            continue
        true = frames.spots(index)
        got, rest = _strengths(true, peaks, condition.tolerance_px)
        spots.append(true)
        strength.append(got)
        group.append(np.full(len(true), frames.group(index)))
        if condition.kind == "real":
            false.append(rest)
    table = np.concatenate(spots)
    return Judgement(
        table["photons"],
        np.concatenate(strength),
        np.concatenate(group),
        table["must"],
        np.concatenate(false),
        n_false_frames,
    )


def _strengths(
    true: np.ndarray, peaks: np.ndarray, tolerance_px: float
) -> tuple[np.ndarray, np.ndarray]:
    """Strength of the peak that found each spot, and those of peaks near no spot at all."""
    xy = np.stack([true["fs"], true["ss"]], 1)
    got = np.full(len(true), -np.inf)
    # Spots that must be found come first: a faint neighbour does not take their peak.
    for spots in (np.flatnonzero(true["must"]), np.flatnonzero(~true["must"])):
        match = match_peaks(peaks[:, :2], xy[spots], tolerance_px)
        got[spots[match.true]] = peaks[match.found, 2]
        peaks = peaks[match.false]
    # A spot seen twice is no false peak.
    return got, peaks[~_near(peaks[:, :2], xy, tolerance_px), 2]


def _near(xy: np.ndarray, spots: np.ndarray, tolerance_px: float) -> np.ndarray:
    if not (len(xy) and len(spots)):
        return np.zeros(len(xy), bool)
    squared = (xy[:, None, :] - spots[None]) ** 2
    return squared.sum(2).min(1) <= tolerance_px**2

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
    photons, strength, group : ndarray
        One entry per spot that must be found: its photons, the strength of the peak that found
        it (−inf if none did) and the group of its frame.
    false : ndarray
        Strengths of the false peaks: all on the blanks, or on measured frames those near nothing.
    n_false_frames : int
        Frames the false peaks were counted on.
    """

    photons: np.ndarray
    strength: np.ndarray
    group: np.ndarray
    false: np.ndarray
    n_false_frames: int

    @property
    def recall(self) -> float:
        return float(np.mean(np.isfinite(self.strength))) if len(self.strength) else np.nan

    @property
    def false_per_frame(self) -> float:
        return len(self.false) / self.n_false_frames

    def recall_at(self, false_per_frame: float) -> float:
        """Recall when weak peaks are cut until no more than this rate of false ones is left."""
        return recall_at_false_rate(
            self.strength, self.false, self.n_false_frames, false_per_frame
        )[0]

    def of_group(self, group: int) -> Judgement:
        """Only the spots of one group; the false peaks stay."""
        keep = self.group == group
        return dataclasses.replace(
            self, photons=self.photons[keep], strength=self.strength[keep], group=self.group[keep]
        )

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
    photons, strength, group, false = [], [], [], []
    n_false_frames = 0
    for index, peaks in zip(indices, found, strict=True):
        is_hit = index < condition.n_hits
        if not is_hit or condition.kind == "real":
            n_false_frames += 1
        if not is_hit:
            false.append(peaks[:, 2])
            continue
        spots = frames.spots(index)
        must = spots["must"]
        xy = np.stack([spots["fs"], spots["ss"]], 1)
        first = match_peaks(peaks[:, :2], xy[must], condition.tolerance_px)
        got = np.full(must.sum(), -np.inf)
        got[first.true] = peaks[first.found, 2]
        photons.append(spots["photons"][must])
        strength.append(got)
        group.append(np.full(must.sum(), frames.group(index)))
        if condition.kind == "real":
            # A spot seen twice, or one that need not be seen, is no false peak.
            rest = peaks[first.false]
            false.append(rest[~_near(rest[:, :2], xy, condition.tolerance_px), 2])
    return Judgement(
        np.concatenate(photons),
        np.concatenate(strength),
        np.concatenate(group),
        np.concatenate(false),
        n_false_frames,
    )


def _near(xy: np.ndarray, spots: np.ndarray, tolerance_px: float) -> np.ndarray:
    if not (len(xy) and len(spots)):
        return np.zeros(len(xy), bool)
    squared = (xy[:, None, :] - spots[None]) ** 2
    return squared.sum(2).min(1) <= tolerance_px**2

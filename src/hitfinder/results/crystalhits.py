"""Hits by what a frame's peaks and a known crystal say together."""

from __future__ import annotations

import dataclasses

import numpy as np
from numpy.typing import NDArray
from scipy.special import expit

from hitfinder.results.chunk import OK, ChunkResult

CRYSTAL_FIELDS = ("crystal_score", "joint_score", "joint_probability")
"""Fields of a frame's row that tell what a known crystal says of it."""

Floats = NDArray[np.float64]


def joint_score(by_peaks: Floats, by_crystal: Floats) -> Floats:
    """Return minus log10 of the share of blank frames that are as good by either of two looks.

    It is the harmonic mean of the two shares (D. J. Wilson, PNAS 116, 1195, 2019), which holds
    though both looks are at the same photons: a frame that is good by one of them needs half the
    share that one look alone would allow, and one that is good by both no less than either.

    Parameters
    ----------
    by_peaks, by_crystal : ndarray, shape (n,)
        Minus log10 of the share of blank frames that are as good by each.
    """
    ten = np.log(10.0)
    both = np.logaddexp(ten * np.maximum(by_peaks, 0), ten * np.maximum(by_crystal, 0))
    return (both - np.log(2.0)) / ten


@dataclasses.dataclass(frozen=True, eq=False)
class CrystalEvidence:
    """What a known crystal says of the frames of a run.

    Attributes
    ----------
    frames : ndarray of int64, shape (n,)
        Numbers of the frames that were searched for it, rising.
    score : ndarray, shape (n,)
        Minus log10 of the share of blank frames that the crystal fits as well.
    log_odds : ndarray, shape (n,)
        Natural logarithm of the odds that there is the crystal, were half of the frames hits.
    least_score, min_peaks : float, int
        What a hit needs, the peaks only if it is one by them.
    """

    frames: NDArray[np.int64]
    score: Floats
    log_odds: Floats
    least_score: float
    min_peaks: int = 0

    def decided(self, chunk: ChunkResult) -> ChunkResult:
        """Return a chunk in which frames are hits by peaks and crystal together.

        Parameters
        ----------
        chunk : ChunkResult
            Results, decided by their peaks alone. What the run does not believe of them, for a
            doubt or for want of peaks, does not count.
        """
        rows = chunk.rows.copy()
        searched, here = np.isin(chunk.frames, self.frames), np.isin(self.frames, chunk.frames)
        for name, values in (("crystal_score", self.score), ("joint_probability", self.log_odds)):
            rows[name] = np.nan
            rows[name][searched] = values[here]
        read = (rows["status"] == OK) & ~np.isnan(rows["background_per_pixel"])
        believed = read & (rows["n_peaks"] >= self.min_peaks)
        believed &= rows["hit"] | (rows["doubt"] == "")
        peaks = np.where(believed, np.nan_to_num(rows["score"]), 0.0)
        joint = joint_score(peaks, np.nan_to_num(rows["crystal_score"]))
        rows["joint_score"] = np.where(read, joint, np.nan)
        rows["joint_probability"] = np.where(read, _probability(rows), np.nan)
        rows["hit"] = read & (rows["joint_score"] >= self.least_score)
        by_crystal = rows["hit"] & (rows["crystal_score"] >= self.least_score)
        rows["doubt"] = np.where(by_crystal, "", rows["doubt"])
        return dataclasses.replace(chunk, rows=rows)


def _probability(rows: NDArray[np.void]) -> Floats:
    """Return the probability of a hit of each frame; ``joint_probability`` holds log odds.

    A hit is taken to be the known crystal's as often as not; else the peaks tell.
    """
    by_peaks = rows["hit_probability"].astype(float)
    with np.errstate(divide="ignore"):
        peaks = np.log(by_peaks) - np.log1p(-by_peaks)
    told = rows["joint_probability"].astype(float)
    crystal = np.where(np.isnan(told), peaks, told)
    known = ~np.isnan(peaks)
    odds = np.full(len(rows), np.nan)
    odds[known] = np.logaddexp(peaks[known], crystal[known]) - np.log(2.0)
    return np.asarray(expit(odds), float)

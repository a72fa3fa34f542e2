"""Where frames are bright, one frame after the other: what static places are learnt from."""

from __future__ import annotations

import dataclasses
import math

import numpy as np
from numba import njit
from numpy.typing import NDArray

from hitfinder.finding.poisson import critical_counts
from hitfinder.finding.result import Proposal
from hitfinder.finding.rings import Rings
from hitfinder.finding.score import chance_peaks, expected_beyond
from hitfinder.finding.sharp import is_sharp

VISIT_DTYPE = np.dtype(
    [
        ("frame", "i8"),
        ("pixel", "i4"),
        ("level", "u1"),
        ("sharp", "?"),
        ("photons", "f4"),
        ("log_expected", "f4"),
    ]
)
"""A pixel of a frame that chance does not explain: frame, place in the flattened frame, level,
whether it is bright alone (`hitfinder.finding.sharp`), the photons of the pixel or peak, and of
peaks the natural logarithm of the chance peaks expected at or beyond it."""

LIT, BRIGHT, PEAK = 0, 1, 2
"""Levels: a pixel with a chance below 1e-3; below 1e-6; the pixel that holds the position of a
peak, of which a blank frame has fewer than one."""

_LOG_P_LIT, _LOG_P_BRIGHT = math.log(1e-3), math.log(1e-6)
_MOST = 200_000
"""Lit pixels of a frame; one with more tells nothing of single places."""


@dataclasses.dataclass(frozen=True, eq=False)
class Visits:
    """Bright pixels of some frames. What two lots of frames show merges into what all show.

    Attributes
    ----------
    frames : ndarray of int64, shape (n_frames,)
        The frames that were looked at, those without a bright pixel too.
    table : ndarray of VISIT_DTYPE
        What was bright in them.
    """

    frames: NDArray[np.int64]
    table: NDArray[np.void]

    @staticmethod
    def none() -> Visits:
        """Return what no frame shows: the neutral element of `merged`."""
        return Visits(np.empty(0, np.int64), np.empty(0, VISIT_DTYPE))

    @staticmethod
    def of(frame: int, proposed: Proposal, rings: Rings) -> Visits:
        """Return what one frame shows.

        Parameters
        ----------
        frame : int
            Its number.
        proposed : Proposal
            From a `hitfinder.finding.likelihood.LikelihoodFinder`.
        rings : Rings
            That finder's rings.
        """
        frames = np.array([frame], np.int64)
        if not proposed.n_read:
            return Visits(frames, np.empty(0, VISIT_DTYPE))
        means = proposed.rate * rings.weight_range[1]
        found = np.empty((_MOST, 4), np.int32)
        limits = critical_counts(means, _LOG_P_LIT), critical_counts(means, _LOG_P_BRIGHT)
        maps = rings.index, rings.position, rings.weight
        if proposed.lit is None:
            n = _lit_pixels(proposed.counts, *maps, proposed.rate, *limits, found)
        else:
            listed = proposed.lit.at, proposed.counts
            n = _listed_pixels(*listed, *maps, proposed.rate, *limits, found)
        lit = np.zeros(n, VISIT_DTYPE) if n < _MOST else np.zeros(0, VISIT_DTYPE)
        lit["pixel"], lit["level"], lit["sharp"], lit["photons"] = found[: len(lit)].T
        at, log_expected = _in_pieces(proposed, rings)
        sure = log_expected <= 0
        at, log_expected = at[sure], log_expected[sure]
        peaks = np.zeros(len(at), VISIT_DTYPE)
        peaks["pixel"] = at["ss"].astype(int) * rings.index.shape[1] + at["fs"].astype(int)
        peaks["level"], peaks["photons"] = PEAK, at["photons"]
        peaks["log_expected"] = log_expected
        table = np.concatenate([lit, peaks])
        table["frame"] = frame
        return Visits(frames, table)

    @staticmethod
    def merged(*some: Visits) -> Visits:
        """Return what all of some lots of frames show; the order does not matter."""
        frames = np.concatenate([v.frames for v in some])
        table = np.concatenate([v.table for v in some])
        order = np.lexsort((table["level"], table["pixel"], table["frame"]))
        return Visits(np.sort(frames), table[order])

    def outside(self, mask: NDArray[np.bool_], near: NDArray[np.bool_]) -> Visits:
        """Return what the frames show but for masked pixels, and for peaks beside them.

        Parameters
        ----------
        mask : ndarray of bool, shape (ss, fs)
            True where a pixel is masked.
        near : ndarray of bool, shape (ss, fs)
            True where it is or one beside it is.
        """
        pixel = self.table["pixel"]
        is_peak = self.table["level"] == PEAK
        hidden = np.where(is_peak, near.ravel()[pixel], mask.ravel()[pixel])
        return Visits(self.frames, self.table[~hidden])


def _in_pieces(proposed: Proposal, rings: Rings) -> tuple[NDArray[np.void], NDArray[np.float64]]:
    """Return the peaks, and the log of the chance peaks expected at or beyond each.

    Those that were put together from pieces are given as these: the middle of a long streak of
    light is here and there from frame to frame, its pieces are all over its place.
    """
    chance = chance_peaks(proposed.profile, rings.n_pixels)
    whole = np.ones(len(proposed.peaks), bool)
    whole[proposed.piece_of] = False
    of_pieces = expected_beyond(proposed.pieces["log_p"].astype(float), chance)
    return (
        np.concatenate([proposed.peaks[whole], proposed.pieces]),
        np.concatenate([proposed.log_expected[whole], of_pieces]),
    )


@njit(cache=True, nogil=True)
def _lit_pixels(work, ring, position, weight, rate, lit, bright, found):  # type: ignore[no-untyped-def]
    """List place, level, sharpness and counts of the pixels that reach their ring's limits."""
    n = 0
    n_ss, n_fs = work.shape
    for i in range(n_ss):
        counts, rings = work[i], ring[i]
        for j in range(n_fs):
            # -1 has no reading; -2 - n are the n counts of a pixel that a peak has claimed.
            own = counts[j] if counts[j] >= -1 else -2 - counts[j]
            if own <= 0 or own < lit[rings[j]] or n >= found.shape[0]:
                continue
            is_bright = own >= bright[rings[j]]
            _enter(i, j, own, is_bright, work, position, weight, rate, found[n])
            n += 1
    return n


@njit(cache=True, nogil=True)
def _listed_pixels(at, work, ring, position, weight, rate, lit, bright, found):  # type: ignore[no-untyped-def]
    """Do what `_lit_pixels` does, given the numbers of the pixels that hold photons."""
    n, n_fs = 0, work.shape[1]
    for p in at:
        i, j = p // n_fs, p % n_fs
        own = work[i, j] if work[i, j] >= -1 else -2 - work[i, j]
        if own < lit[ring[i, j]] or n >= found.shape[0]:
            continue
        is_bright = own >= bright[ring[i, j]]
        _enter(i, j, own, is_bright, work, position, weight, rate, found[n])
        n += 1
    return n


@njit(cache=True, nogil=True)
def _enter(i, j, own, is_bright, work, position, weight, rate, found):  # type: ignore[no-untyped-def]
    found[0], found[1], found[3] = i * work.shape[1] + j, is_bright, own
    found[2] = is_bright and is_sharp(i, j, work, position, weight, rate)

"""What the locator network sees of a candidate: counts and expected background around it."""

from __future__ import annotations

import math

import numpy as np
from numba import njit
from numpy.typing import NDArray

from hitfinder.finding.result import Proposal
from hitfinder.finding.rings import Rings
from hitfinder.finding.separate import LEAST_PHOTONS, LOG_P_SURE
from hitfinder.finding.texture import expected
from hitfinder.network.channels import SIZE
from hitfinder.network.close import close_pairs

_CLOSE_PX = 6.0


@njit(cache=True, nogil=True)
def cut_out(work, ring, position, weight, rate, fs, ss, counts, background):  # type: ignore[no-untyped-def]
    """Copy the surroundings of each candidate.

    Parameters
    ----------
    work : ndarray of int32, shape (ss, fs)
        Counts as in `hitfinder.finding.likelihood.Proposal.counts`.
    ring, position, weight, rate
        As for `hitfinder.finding.texture.neighbourhood`.
    fs, ss : ndarray of float64, shape (n,)
        Positions (pixels, corner convention); the pixel that holds one is the crop's middle.
    counts : ndarray of int32, shape (n, SIZE, SIZE)
        Written: counts, -1 where there is no reading.
    background : ndarray of float32, shape (n, SIZE, SIZE)
        Written: expected photons, 0 where there is no reading.
    """
    n_ss, n_fs = work.shape
    half = SIZE // 2
    for c in range(fs.size):
        i, j = math.floor(ss[c]), math.floor(fs[c])
        for a in range(SIZE):
            for b in range(SIZE):
                k, m = i + a - half, j + b - half
                counts[c, a, b], background[c, a, b] = -1, 0.0
                if 0 <= k < n_ss and 0 <= m < n_fs and ring[k, m] >= 0:
                    n = max(work[k, m], -2 - work[k, m])
                    if n >= 0:
                        counts[c, a, b] = n
                        background[c, a, b] = expected(k, m, position, weight, rate)


def crops_of(proposed: Proposal, rings: Rings) -> tuple[NDArray[np.int32], NDArray[np.float32]]:
    """Cut out the surroundings of the peaks a finder proposes.

    Returns
    -------
    counts : ndarray of int32, shape (n, SIZE, SIZE)
        -1 where there is no reading.
    background : ndarray of float32, shape (n, SIZE, SIZE)
        Expected photons.
    """
    n = len(proposed.peaks)
    counts = np.empty((n, SIZE, SIZE), np.int32)
    background = np.empty((n, SIZE, SIZE), np.float32)
    cut_out(
        proposed.counts, rings.index, rings.position, rings.weight, proposed.rate,
        np.ascontiguousarray(proposed.peaks["fs"]), np.ascontiguousarray(proposed.peaks["ss"]),
        counts, background,
    )  # fmt: skip
    _hide_neighbours(proposed, counts, background)
    return counts, background


def _hide_neighbours(
    proposed: Proposal, counts: NDArray[np.int32], background: NDArray[np.float32]
) -> None:
    """Take from the crops of two spots close together the pixels that are nearer to the other.

    The locator gives the spot in the middle of what it sees; of two spots it would give one twice.
    """
    peaks = proposed.peaks
    sure = (peaks["photons"] >= LEAST_PHOTONS) & (peaks["log_p"] <= LOG_P_SURE)
    bright = np.flatnonzero(sure)
    if len(bright) < 2:
        return
    fs, ss = (np.ascontiguousarray(peaks[name]) for name in ("fs", "ss"))
    pairs = bright[close_pairs(fs[bright], ss[bright], _CLOSE_PX)]
    _hide_nearer(pairs, fs, ss, counts, background)


@njit(cache=True, nogil=True)
def _hide_nearer(pairs, fs, ss, counts, background):  # type: ignore[no-untyped-def]
    """Take from the crops of both of each pair the pixels that are nearer to the other."""
    for pair in range(pairs.shape[0]):
        for side in range(2):
            own, apart = pairs[pair, side], pairs[pair, 1 - side]
            for a in range(SIZE):
                row = math.floor(ss[own]) + (a - SIZE // 2 + 0.5)
                for b in range(SIZE):
                    column = math.floor(fs[own]) + (b - SIZE // 2 + 0.5)
                    here = (row - ss[own]) ** 2 + (column - fs[own]) ** 2
                    there = (row - ss[apart]) ** 2 + (column - fs[apart]) ** 2
                    if there < here:
                        counts[own, a, b], background[own, a, b] = -1, 0.0

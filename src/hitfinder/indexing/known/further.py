"""Compiled: leave out the spots of crystals that were found, to look for a further one."""

from __future__ import annotations

from collections.abc import Iterable

import numba
import numpy as np
from numpy.typing import NDArray

from hitfinder.indexing.known.crystal import KnownCrystal
from hitfinder.indexing.known.predict import FS, MOST_PREDICTED, N_COLUMNS, SS, predict

REACH_PX = 3
"""Pixels to each side of a predicted reflection that are left out: what is left of a bright spot
beside them would draw a second orientation to it."""

_UNREAD = -1


def without_spots(
    crystal: KnownCrystal, counts: NDArray[np.int32], turns: Iterable[NDArray[np.float64]]
) -> NDArray[np.int32]:
    """Return a frame without readings where crystals have reflections.

    Parameters
    ----------
    crystal : KnownCrystal
        The crystals, the detector and the beam.
    counts : ndarray of int32, shape of a frame
        Counts, negative where there is no reading.
    turns : iterable of ndarray, shape (3, 3)
        Rotations of the crystals.
    """
    left = counts.copy()
    found = np.empty((MOST_PREDICTED, N_COLUMNS))
    for turn in turns:
        n = predict(turn, crystal.judging, crystal.geometry.polarisation, crystal.detector, found)
        _leave_out(left, found[:n])
    return left


@numba.njit(cache=True, nogil=True)
def _leave_out(counts, found):  # type: ignore[no-untyped-def]
    for j in range(len(found)):
        fs, ss = int(found[j, FS]), int(found[j, SS])
        for y in range(max(ss - REACH_PX, 0), min(ss + REACH_PX + 1, counts.shape[0])):
            for x in range(max(fs - REACH_PX, 0), min(fs + REACH_PX + 1, counts.shape[1])):
                counts[y, x] = _UNREAD

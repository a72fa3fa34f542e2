"""Peaks of a frame that lie on one line: noise of read-out, or a streak, not a crystal."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

LINE_PEAKS = 6
"""Peaks on a line from which it is told, if they are most of a hit. Hits of crystals, simulated and
measured, have a third of their peaks so at most, where they are as many."""

_ACROSS_PX = 3.0
"""Width of a row or column, in pixels: a peak is as wide."""

_SECTOR = np.radians(6.0)
"""Width of a streak through the beam, as an angle there."""


def peaks_on_one_line(
    owner: NDArray[np.intp],
    fs: NDArray[np.floating],
    ss: NDArray[np.floating],
    azimuth: NDArray[np.floating],
    n_frames: int,
) -> NDArray[np.intp]:
    """Return how many peaks of each frame lie on one line, at most.

    A line is a row or a column of the detector, as of a read-out that fails, or goes through the
    beam, as the streak of a jet does.

    Parameters
    ----------
    owner : ndarray of int, shape (n,)
        Frame of each peak, below `n_frames`.
    fs, ss : ndarray, shape (n,)
        Positions, in pixels of the stored frame.
    azimuth : ndarray, shape (n,)
        Direction from the beam, in radians; NaN where there is none.
    n_frames : int
        Number of frames.

    Returns
    -------
    ndarray of int, shape (n_frames,)
    """
    most = np.zeros(n_frames, np.intp)
    # A direction and its opposite are one line; the first sector is beside the last.
    sectors = round(np.pi / _SECTOR)
    turned = np.nan_to_num(azimuth) % np.pi / _SECTOR
    for place, around in ((fs / _ACROSS_PX, 0), (ss / _ACROSS_PX, 0), (turned, sectors)):
        # A line on the edge of two bins is within one of those that are half a bin aside.
        for aside in (0.0, 0.5):
            bins = np.floor(place + aside).astype(np.intp)
            if around:
                bins %= around
            span = int(bins.max(initial=0)) + 1
            keys, held = np.unique(owner * span + bins, return_counts=True)
            np.maximum.at(most, keys // span, held)
    return most

"""Hits whose peaks ice or a line explains: no crystal of the sample need be in the frame."""

from __future__ import annotations

import dataclasses
import math

import numpy as np
from numpy.typing import NDArray

ICE, LINE = "ice", "line"
"""Why a hit is not believed: its peaks are on rings of ice, or on one line."""

ICE_PEAKS, ICE_SIGMAS = 3, 5.0
"""Peaks on rings of ice that a hit of ice has at least; and by how many standard deviations the
hits of a run together must have more of them than beside the rings, for ice to be in it."""

LINE_PEAKS = 6
"""Peaks on a line from which it is told, if they are most of a hit. Hits of crystals, simulated and
measured, have a third of their peaks so at most, where they are as many."""

MOSTLY, ENOUGH_ELSE = 0.5, 3
"""Part of the peaks of a hit from which on they say what it is of; and so many sure peaks elsewhere
say that a crystal of the sample is in the frame too."""


@dataclasses.dataclass
class RingPeaks:
    """Peaks of the hits of a run on rings of ice, and beside them."""

    n_on: int = 0
    n_beside: int = 0

    def add(self, rows: NDArray[np.void]) -> None:
        """Count those of some frames."""
        support = rows["support"][rows["hit"]]
        self.n_on += int(support["n_on_ice"].sum())
        self.n_beside += int(support["n_beside_ice"].sum())

    @property
    def show_ice(self) -> bool:
        """Whether there are more on the rings than beside them."""
        more = self.n_on - self.n_beside
        return more > ICE_SIGMAS * math.sqrt(self.n_on + self.n_beside)


def mostly_on_ice(rows: NDArray[np.void]) -> NDArray[np.bool_]:
    """Say which hits have most of their peaks on rings of ice."""
    n = rows["support"]["n_on_ice"]
    return np.asarray(rows["hit"] & (n >= ICE_PEAKS) & (n > MOSTLY * rows["n_peaks"]))


def mostly_on_line(rows: NDArray[np.void]) -> NDArray[np.bool_]:
    """Say which hits have most of their peaks on one line."""
    n = rows["support"]["n_on_line"]
    return np.asarray(rows["hit"] & (n >= LINE_PEAKS) & (n > MOSTLY * rows["n_peaks"]))


def explained_by(rows: NDArray[np.void], has_ice: bool) -> NDArray[np.str_]:
    """Say which hits are explained, `ICE` or `LINE`; empty where a crystal need be in the frame.

    Parameters
    ----------
    rows : ndarray of `hitfinder.results.chunk.FRAME_DTYPE`
        Frames.
    has_ice : bool
        Whether the run as a whole shows ice (`RingPeaks.show_ice`).
    """
    support = rows["support"]
    of_ice = mostly_on_ice(rows) & (support["n_off_ice"] < ENOUGH_ELSE) & has_ice
    on_line = mostly_on_line(rows) & (support["n_off_line"] < ENOUGH_ELSE)
    return np.where(of_ice, ICE, np.where(on_line, LINE, ""))

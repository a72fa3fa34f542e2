"""A simulated frame, and the truth of it."""

from __future__ import annotations

import dataclasses

import numpy as np
from numpy.lib import recfunctions
from numpy.typing import NDArray

from hitfinder.simulation.bragg import SPOT_DTYPE
from hitfinder.simulation.exposure import ScaledSpots
from hitfinder.simulation.shot import Shot

TRUTH_DTYPE = np.dtype([*SPOT_DTYPE.descr, ("crystal", "i4"), ("counts", "i8")])
"""A spot of the truth: as `SPOT_DTYPE`, the number of its crystal in the frame, and the photons
of it that were counted before the detector's losses (its expected photons, rounded, without
noise)."""


@dataclasses.dataclass(frozen=True, eq=False)
class SimulatedFrame:
    """A frame and what is in it.

    Attributes
    ----------
    counts : ndarray, shape of a frame
        Counts, or expected photons (float32) without noise. Masked pixels hold 0.
    truth : structured ndarray of `TRUTH_DTYPE`
        Spots of `min_photons` expected photons and more, brightest first.
    drawn : Shot, optional
        The parameters, asked for as `shot`.
    """

    counts: NDArray
    truth: NDArray
    drawn: Shot | None

    @property
    def shot(self) -> Shot:
        """The parameters of a frame that was made from settings."""
        if self.drawn is None:
            raise ValueError("the stages of this simulator draw no shot")
        return self.drawn


def true_spots(
    scaled: ScaledSpots, crystal: int, counts: NDArray[np.int64], min_photons: float
) -> NDArray:
    """Return the spots of a crystal for the truth.

    Parameters
    ----------
    scaled : ScaledSpots
        The spots.
    crystal : int
        Number of the crystal in the frame.
    counts : ndarray of int, shape (n_spots,)
        Photons of each that were counted.
    min_photons : float
        Fewest expected photons of a spot in the truth.
    """
    table = np.empty(len(scaled.spots), TRUTH_DTYPE)
    recfunctions.assign_fields_by_name(table, scaled.spots.table)
    table["crystal"], table["counts"] = crystal, counts
    table["photons"] *= scaled.scale
    table["peak_photons"] *= scaled.scale
    return table[table["photons"] >= min_photons]

"""Peaks of a frame that something else than a crystal of the sample explains: ice, or one line."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from hitfinder.crystal.ice import is_on_any_ring, on_and_beside_rings
from hitfinder.finding.peaks import doubtful
from hitfinder.geometry.geometry import Geometry

FEWEST_PEAKS = 3
"""Peaks from which on they are looked at: of fewer it is not said what they are of."""

_ACROSS_PX = 3.0
"""Width of a row or column, in pixels: a peak is as wide."""

_SECTOR = np.radians(6.0)
"""Width of a streak through the beam, as an angle there."""


class Explained(NamedTuple):
    """How many peaks of a frame ice or a line explains.

    Attributes
    ----------
    n_on_ice, n_beside_ice : int
        Peaks on rings of ice, and beside them (`hitfinder.crystal.ice.on_and_beside_rings`).
    n_off_ice : int
        Peaks that no ring of ice explains and that are not doubtful.
    n_on_line : int
        Peaks on one line: a row or a column of the detector, as of a read-out that fails, or a
        direction from the beam and its opposite, as the streak of a jet is.
    n_off_line : int
        The others that are not doubtful.
    """

    n_on_ice: int = 0
    n_beside_ice: int = 0
    n_off_ice: int = 0
    n_on_line: int = 0
    n_off_line: int = 0


def explained(peaks: NDArray[np.void], geometry: Geometry) -> Explained:
    """Count the peaks of a frame that ice or a line explains.

    Parameters
    ----------
    peaks : ndarray of `hitfinder.finding.peaks.PEAK_DTYPE`
        Peaks of the frame.
    geometry : Geometry
        Of the frame.
    """
    if len(peaks) < FEWEST_PEAKS:
        return Explained()
    is_sure = ~doubtful(peaks)
    on, beside = on_and_beside_rings(peaks["resolution_a"])
    off_ice = is_sure & ~is_on_any_ring(peaks["resolution_a"])
    to = geometry.scattering_vectors(peaks["fs"], peaks["ss"])
    line = on_one_line(peaks["fs"], peaks["ss"], np.arctan2(to[:, 1], to[:, 0]))
    return Explained(*(int(some.sum()) for some in (on, beside, off_ice, line, is_sure & ~line)))


def on_one_line(
    fs: NDArray[np.floating], ss: NDArray[np.floating], azimuth: NDArray[np.floating]
) -> NDArray[np.bool_]:
    """Say which peaks of a frame lie on the row, column or line through the beam that holds most.

    Parameters
    ----------
    fs, ss : ndarray, shape (n,)
        Positions, in pixels of the stored frame.
    azimuth : ndarray, shape (n,)
        Direction from the beam, in radians; NaN where there is none.
    """
    best = np.zeros(len(fs), bool)
    # A direction and its opposite are one line; the first sector is beside the last.
    sectors = round(np.pi / _SECTOR)
    turned = np.nan_to_num(azimuth) % np.pi / _SECTOR
    for place, around in ((fs / _ACROSS_PX, 0), (ss / _ACROSS_PX, 0), (turned, sectors)):
        # A line on the edge of two bins is within one of those that are half a bin aside.
        for aside in (0.0, 0.5):
            bins = np.floor(place + aside).astype(np.intp)
            if around:
                bins %= around
            held = np.bincount(bins)
            if held.max() > best.sum():
                best = bins == held.argmax()
    return best

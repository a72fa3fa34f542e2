"""How far static places reach: the pixels around that are lit in the frames that show them."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from hitfinder.finding.poisson import critical_count
from hitfinder.finding.static.visits import PEAK, Visits

_REACH = 6
"""Pixels that a place may grow at a time."""

_LOG_P, _LEAST = math.log(1e-3), 2
_SMALL = 2
_LIT_BY_CHANCE = 1e-3
_EIGHT = np.ones((3, 3), bool)

Pixels = tuple[NDArray[np.intp], NDArray[np.intp]]
"""Rows and columns."""


class LitPixels:
    """Looks up which frames light the pixels of a part of the detector.

    Parameters
    ----------
    visits : Visits
        What was bright in which frames.
    shape : tuple of int
        Shape of the frames.
    """

    def __init__(self, visits: Visits, shape: tuple[int, int]) -> None:
        lit = visits.table[visits.table["level"] < PEAK]
        order = np.argsort(lit["pixel"], kind="stable")
        self._row, self._column = np.divmod(lit["pixel"][order], shape[1])
        self._frame = np.searchsorted(visits.frames, lit["frame"][order])
        self._n_frames = len(visits.frames)
        self._usual = max(len(lit) / max(self._n_frames * shape[0] * shape[1], 1), _LIT_BY_CHANCE)

    def mask_place(
        self, place: Pixels, frames: NDArray[np.integer], mask: NDArray[np.bool_]
    ) -> int:
        """Mask a place with the pixels around that are lit with it.

        Of a place of some size the pixels beside it are masked too, which are lit less often.

        Parameters
        ----------
        place : two ndarrays of int
            Rows and columns of its pixels.
        frames : ndarray of int
            Frames that show it, counted as in the visits.
        mask : ndarray of bool, shape of the frames
            Pixels are added to it.

        Returns
        -------
        int
            Pixels of the place with those around.
        """
        margin = _REACH + 1
        top, left = (max(int(at.min()) - margin, 0) for at in place)
        bottom, right = (
            min(int(at.max()) + margin + 1, n) for at, n in zip(place, mask.shape, strict=True)
        )
        times = self._times(slice(top, bottom), slice(left, right), frames)
        least = max(critical_count(self._usual * len(frames), _LOG_P), _LEAST)
        own = np.zeros(times.shape, bool)
        own[place[0] - top, place[1] - left] = True
        near = ndimage.binary_dilation(own, _EIGHT, iterations=_REACH)
        lit = own | ((times >= least) & near)
        # Pixels two apart belong together: what is lit half the time has holes.
        lit &= ndimage.binary_propagation(own, _EIGHT, ndimage.binary_dilation(lit, _EIGHT))
        if lit.sum() > _SMALL:
            lit = ndimage.binary_dilation(lit, _EIGHT)
        mask[top:bottom, left:right] |= lit
        return int(lit.sum())

    def _times(self, rows: slice, columns: slice, frames: NDArray[np.integer]) -> NDArray[np.int64]:
        """In how many of some frames the pixels of a rectangle are lit."""
        first, last = np.searchsorted(self._row, [rows.start, rows.stop])
        row, column = self._row[first:last], self._column[first:last]
        shows = np.zeros(self._n_frames, bool)
        shows[frames] = True
        here = (column >= columns.start) & (column < columns.stop)
        here &= shows[self._frame[first:last]]
        times = np.zeros((rows.stop - rows.start, columns.stop - columns.start), np.int64)
        np.add.at(times, (row[here] - rows.start, column[here] - columns.start), 1)
        return times

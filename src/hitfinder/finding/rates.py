"""The background rate of each ring of a frame, from all of its rows or from a part of them."""

from __future__ import annotations

import dataclasses

import numpy as np
from numpy.typing import NDArray

from hitfinder.finding import background
from hitfinder.finding.readings import Readings
from hitfinder.finding.rings import Rings

_DENSE = 0.1
_ROW_STEP = 4
_INNER_RINGS = 24


class RingRates:
    """Estimates the background of the frames of one geometry. Not to be shared between threads.

    Parameters
    ----------
    rings : Rings
        Rings of the geometry.
    """

    def __init__(self, rings: Rings) -> None:
        self._rings, self._sampled = rings, _RowSample.of(rings)
        self._histogram, self._sums = background.new_histograms(rings.q.size)
        self._n_levels = 0

    def of(self, read: Readings) -> NDArray[np.float64]:
        """Return the background per pixel at weight 1 (`Rings.weight`), in photons.

        Parameters
        ----------
        read : Readings
            A frame.

        Returns
        -------
        ndarray, shape (n_rings,)
        """
        rings, dense = self._rings, read.n_lit > _DENSE * self._rings.n_pixels.sum()
        rows = self._sampled.rows if dense else np.arange(read.counts.shape[0])
        n_pixels, weight = rings.n_pixels, rings.weight_sum
        if dense:
            n_pixels, weight = self._sampled.n_pixels, self._sampled.weight_sum
        if read.lost:
            at, lost_weight = self._lost(read, rows)
            n_pixels = n_pixels - np.bincount(at, minlength=n_pixels.size)
            weight = weight - np.bincount(at, weights=lost_weight, minlength=n_pixels.size)
        room = self._histogram, self._sums
        self._histogram[:, : self._n_levels] = 0
        # Levels of one count each have no sum.
        self._sums[:, background.EXACT_LEVELS : self._n_levels] = 0
        if read.lit is not None:
            n = background.fill_lit_histograms(read.lit.rings, read.lit.counts, *room)
        else:
            n = background.fill_histograms(read.counts, rings.index, rows, *room)
        self._n_levels = n
        counts, exposure, rate = np.empty((3, n_pixels.size))
        background.ring_rates(*room, n, n_pixels, weight, counts, exposure)
        background.smooth_rates(counts, exposure, rate)
        return rate

    def _lost(
        self, read: Readings, rows: NDArray[np.intp]
    ) -> tuple[NDArray[np.int16], NDArray[np.float32]]:
        """Return ring and weight of the unmasked pixels without a reading in the rows."""
        index, weight = self._rings.index, self._rings.weight
        if read.lit is not None:
            return index.ravel()[read.lit.lost], weight.ravel()[read.lit.lost]
        unread = (read.counts[rows] < 0) & (index[rows] >= 0)
        return index[rows][unread], weight[rows][unread]


@dataclasses.dataclass(frozen=True, eq=False)
class _RowSample:
    """A part of the rows, enough for the background of a bright frame, and their pixels."""

    rows: NDArray[np.intp]
    n_pixels: NDArray[np.int64]
    weight_sum: NDArray[np.float64]

    @staticmethod
    def of(rings: Rings) -> _RowSample:
        """Take every fourth row, and all rows that cross the innermost rings, which are small."""
        inner = np.flatnonzero(rings.n_pixels)[:_INNER_RINGS]
        near = np.isin(rings.index, inner).any(axis=1)
        rows = np.union1d(np.flatnonzero(near), np.arange(0, rings.index.shape[0], _ROW_STEP))
        index, weight = rings.index[rows], rings.weight[rows]
        good = index >= 0
        n = rings.q.size
        return _RowSample(
            rows,
            np.bincount(index[good], minlength=n),
            np.bincount(index[good], weights=weight[good], minlength=n).astype(np.float64),
        )

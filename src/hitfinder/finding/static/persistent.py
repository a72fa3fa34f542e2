"""Pixels that are visited in more frames than chance and crystals that turn would bring there."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray
from scipy import special

from hitfinder.finding.poisson import critical_counts
from hitfinder.finding.rings import Rings
from hitfinder.finding.static.visits import PEAK, Visits

FALSE_PIXELS = 0.1
"""Pixels of a whole detector that may be taken for persistent by chance, at each level."""

LEAST_VISITS, LEAST_SHARP = 3, 2
"""Frames that must show a place at least; of places bright alone."""

_OUTER, _INNER = 19, 9
"""Sides of the square around a pixel that tells how often its surroundings are visited, in pixels,
and of the square within that is left out."""

_ZONE_PIXELS, _PER_RING = 300, 2
"""Pixels of a zone at least; zones to a ring where that leaves so many."""

_WIDE_ZONES = 16
"""Parts of as many pixels each into which the zones are put together: a zone has few visits."""

_ROUNDS, _LOG_P_CUT = 4, math.log(1e-4)

Persistent = tuple[NDArray[np.int64], NDArray[np.float64]]
"""Places of pixels in the flattened frame, rising, and the visits that were expected of each."""


class PersistentPixels:
    """Finds the pixels that are visited in surprisingly many frames.

    Crystals that turn visit all pixels of a ring alike, and so does a powder ring; a background
    that is brighter in one place than its rings are makes all pixels there lit more often. What is
    expected of a pixel is therefore the largest of the means of the pixels as far from the beam,
    of those about as far, and of the pixels around, and a pixel is persistent if a Poisson law with
    that mean would make `FALSE_PIXELS` pixels of the detector as frequent.

    Parameters
    ----------
    rings : Rings
        Rings of the geometry.
    """

    def __init__(self, rings: Rings) -> None:
        good = rings.index >= 0
        part = (_PER_RING * rings.position).astype(np.int32)
        n = np.bincount(part[good], minlength=1)
        # Parts of rings are put together until they hold pixels enough.
        step, zone = np.zeros(n.size, np.int32), 0
        held = 0
        for k, here in enumerate(n):
            step[k], held = zone, held + here
            if held >= _ZONE_PIXELS:
                zone, held = zone + 1, 0
        self._zone = np.where(good, step[np.minimum(part, n.size - 1)], -1)
        self._pixels = np.bincount(self._zone[good], minlength=zone + 1)
        self._n_pixels = int(n.sum())
        self._wide = _WIDE_ZONES * np.cumsum(self._pixels) // (self._n_pixels + 1)
        self._good = _summed(good)

    def find(self, visits: Visits, level: int, sharp: bool = False) -> Persistent:
        """Find them.

        Parameters
        ----------
        visits : Visits
            What was bright in which frames.
        level : int
            Of the visits that count.
        sharp : bool
            Whether to count pixels only where they are bright alone.

        Returns
        -------
        pixels : ndarray of int64
            Places of the persistent pixels in the flattened frame, rising.
        expected : ndarray
            Visits that were expected of each.
        """
        table, shape = visits.table, self._zone.shape
        pixel = table["pixel"][(table["level"] == level) & (table["sharp"] | (not sharp))]
        # The position of a peak with few photons differs by a pixel from frame to frame.
        at, here = _times(pixel, shape, reach=int(level == PEAK))
        zone = self._zone.ravel()[at]
        least = LEAST_SHARP if sharp else LEAST_VISITS
        chosen = (here >= least) & (zone >= 0)
        if not chosen.any():
            return np.empty(0, np.int64), np.empty(0)
        usual, cut = self._usual(here, zone)
        clipped = np.zeros(shape, np.int32)
        clipped.ravel()[at] = np.where(zone >= 0, np.minimum(here, cut[zone]), 0)
        at, here, zone = at[chosen], here[chosen], zone[chosen]
        rows, columns = np.divmod(at, shape[1])
        n_around = np.maximum(_around(self._good, rows, columns), 1)
        around = _around(_summed(clipped), rows, columns) / n_around
        here_alone = self._without_place(usual, clipped, rows, columns)
        # The mean of a part of the detector with hardly a visit is known to hardly any accuracy.
        everywhere = usual @ self._pixels / max(self._n_pixels, 1)
        expected = np.maximum(np.maximum(here_alone, self._widely(usual)[zone]), around)
        expected = np.maximum(expected, everywhere)
        often = is_surprising(here, expected, self._n_pixels)
        return at[often], expected[often]

    def _usual(
        self, times: NDArray[np.int64], zone: NDArray[np.intp]
    ) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
        """Mean visits of the pixels of a zone, and from how many on they are cut down for it."""
        times, zone = times[zone >= 0], zone[zone >= 0]
        n_zones = self._pixels.size
        cut = np.ones(n_zones, np.int64)
        for _ in range(_ROUNDS):
            # Static places are cut to what chance allows, so that they hardly raise the mean.
            total = np.bincount(zone, np.minimum(times, cut[zone]), n_zones)
            usual = total / np.maximum(self._pixels, 1)
            cut = critical_counts(usual, _LOG_P_CUT).astype(np.int64)
        return usual, cut

    def _widely(self, usual: NDArray[np.float64]) -> NDArray[np.float64]:
        """Mean visits of a pixel in the wide zone that each zone belongs to."""
        total = np.bincount(self._wide, usual * self._pixels)
        return np.asarray(
            (total / np.maximum(np.bincount(self._wide, self._pixels), 1))[self._wide]
        )

    def _without_place(
        self,
        usual: NDArray[np.float64],
        clipped: NDArray[np.int32],
        rows: NDArray[np.intp],
        columns: NDArray[np.intp],
    ) -> NDArray[np.float64]:
        """Mean visits of a pixel in the zone of each of some pixels, but for those near it."""
        own = self._zone[rows, columns]
        total, n = usual[own] * self._pixels[own], self._pixels[own].astype(float)
        reach = _INNER // 2
        for row in range(-reach, reach + 1):
            for column in range(-reach, reach + 1):
                ss, fs = rows + row, columns + column
                inside = (ss >= 0) & (fs >= 0) & (ss < clipped.shape[0]) & (fs < clipped.shape[1])
                ss, fs = np.where(inside, ss, 0), np.where(inside, fs, 0)
                same = inside & (self._zone[ss, fs] == own)
                total -= np.where(same, clipped[ss, fs], 0)
                n -= same
        return np.maximum(total, 0) / np.maximum(n, 1)


def is_surprising(
    visits: NDArray[np.number], expected: NDArray[np.floating], n_pixels: int
) -> NDArray[np.bool_]:
    """Say of which places so many visits are too many, by chance, for a detector of `n_pixels`."""
    return np.asarray(special.gammainc(visits, expected) * n_pixels <= FALSE_PIXELS)


def _times(
    pixel: NDArray[np.integer], shape: tuple[int, int], reach: int
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Count the visits of each pixel and of those up to `reach` rows and columns away.

    Returns
    -------
    pixels : ndarray of int64
        Places of the pixels that are visited, in the flattened frame, rising.
    times : ndarray of int64
        How often each is.
    """
    rows, columns = np.divmod(pixel.astype(np.int64), shape[1])
    steps = np.arange(-reach, reach + 1)
    rows = rows + steps[:, None, None]
    columns = columns + steps[:, None]
    inside = (rows >= 0) & (rows < shape[0]) & (columns >= 0) & (columns < shape[1])
    return np.unique((rows * shape[1] + columns)[inside], return_counts=True)


def _summed(image: NDArray) -> NDArray[np.int32]:
    """Sum an image over all rows and columns before each."""
    out = np.zeros((image.shape[0] + 1, image.shape[1] + 1), np.int32)
    np.cumsum(image, axis=0, out=out[1:, 1:])
    np.cumsum(out, axis=1, out=out)
    return out


def _around(
    summed: NDArray[np.int32], rows: NDArray[np.intp], columns: NDArray[np.intp]
) -> NDArray[np.int32]:
    """Sum an image around some pixels, but for those nearest to them, from `_summed`."""
    sums = []
    for side in (_OUTER, _INNER):
        top, left = np.maximum(rows - side // 2, 0), np.maximum(columns - side // 2, 0)
        bottom = np.minimum(rows + side // 2 + 1, summed.shape[0] - 1)
        right = np.minimum(columns + side // 2 + 1, summed.shape[1] - 1)
        whole = summed[bottom, right] - summed[top, right]
        sums.append(whole - summed[bottom, left] + summed[top, left])
    return np.asarray(sums[0] - sums[1])

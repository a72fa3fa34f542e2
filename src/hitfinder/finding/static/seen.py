"""Persistent pixels joined to places, and which frames show them."""

from __future__ import annotations

import dataclasses
import functools

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage, sparse

from hitfinder.finding.rings import Rings
from hitfinder.finding.static.persistent import PersistentPixels
from hitfinder.finding.static.visits import BRIGHT, LIT, PEAK, Visits

_APART = 11
"""Side of the square around a pixel in which another one is of the same area, in pixels."""

_MOSTLY = 0.5
_LOG_HIT = np.log(0.01)
_EIGHT = np.ones((3, 3), bool)


@functools.lru_cache(maxsize=1)
def _persistent_pixels(rings: Rings) -> PersistentPixels:
    """Return what finds persistent pixels; it is asked again and again about the same rings."""
    return PersistentPixels(rings)


@dataclasses.dataclass(frozen=True, eq=False)
class SeenPlaces:
    """Places of persistent pixels and the frames that show them.

    Attributes
    ----------
    at : list of two ndarrays of int
        Rows and columns of the pixels of each place.
    shown : sparse array of 0 and 1, shape (n_frames, n_places)
        Which frames show it.
    area : ndarray of int, shape (n_places,)
        Places a few pixels apart are of one area.
    usual : ndarray, shape (n_places,)
        Visits that were expected of its pixels.
    alone : ndarray of bool, shape (n_places,)
        Whether its bright pixels are mostly bright alone.
    n_hits : ndarray of int, shape (n_places,)
        Frames in which its peak is less likely than one blank frame in a hundred has any.
    brightness : sparse array, shape (n_frames, n_places)
        Photons of its bright pixels.
    """

    at: list[tuple[NDArray[np.intp], NDArray[np.intp]]]
    shown: sparse.csc_array
    area: NDArray[np.intp]
    usual: NDArray[np.float64]
    alone: NDArray[np.bool_]
    n_hits: NDArray[np.int64]
    brightness: sparse.csc_array

    def frames_of(self, place: int) -> NDArray[np.integer]:
        """Frames that show a place, counted as in the visits."""
        return self.shown.indices[self.shown.indptr[place] : self.shown.indptr[place + 1]]

    @property
    def n_pixels(self) -> NDArray[np.int64]:
        """Pixels of each place."""
        return np.array([len(rows) for rows, _ in self.at], np.int64)

    @property
    def n_frames(self) -> NDArray[np.int64]:
        """Frames that show each place."""
        return np.diff(self.shown.indptr).astype(np.int64)

    @staticmethod
    def none(n_frames: int) -> SeenPlaces:
        """Return what frames show that have no place in common."""
        nothing = sparse.csc_array((n_frames, 0))
        no, none = np.zeros(0, bool), np.zeros(0, np.int64)
        return SeenPlaces([], nothing, none, np.zeros(0), no, none, nothing)

    @staticmethod
    def of(visits: Visits, rings: Rings) -> SeenPlaces:
        """Join persistent pixels to places."""
        persistent = _persistent_pixels(rings)
        sharp = persistent.find(visits, BRIGHT, sharp=True)
        bright = np.minimum(sharp, persistent.find(visits, BRIGHT))
        strong = np.minimum(bright, persistent.find(visits, PEAK))
        lit = persistent.find(visits, LIT)
        usual = np.where(np.isfinite(strong), strong, lit)
        if not np.isfinite(usual).any():
            return SeenPlaces.none(len(visits.frames))
        near, n = ndimage.label(ndimage.binary_dilation(np.isfinite(usual), _EIGHT), _EIGHT)
        inside = np.where(np.isfinite(usual), near, 0)
        at, exact = [], np.isfinite(np.minimum(bright, lit))
        for k, part in enumerate(ndimage.find_objects(inside), 1):
            mine = inside[part] == k
            # Where single pixels show a place, they tell better what belongs to it.
            rows, columns = np.nonzero(mine & exact[part] if (mine & exact[part]).any() else mine)
            at.append((rows + part[0].start, columns + part[1].start))
        least = np.array([usual[place].max() for place in at])
        is_strong = np.array([np.isfinite(strong[place]).any() for place in at], bool)
        areas = ndimage.label(ndimage.maximum_filter(inside > 0, _APART), _EIGHT)[0] - 1
        area = np.array([areas[rows[0], columns[0]] for rows, columns in at], np.intp)
        table = visits.table
        # Peaks beside a place belong to it: their positions differ by a pixel.
        is_peak = table["level"] == PEAK
        pixel = table["pixel"]
        place = np.where(is_peak, near.ravel()[pixel], inside.ravel()[pixel]) - 1
        known = place >= 0
        known[known] = (table["level"][known] >= BRIGHT) | ~is_strong[place[known]]
        place, table, is_peak = place[known], table[known], is_peak[known]
        row = np.searchsorted(visits.frames, table["frame"])
        hits = is_peak & (table["log_expected"] <= _LOG_HIT)
        is_bright = table["level"] == BRIGHT
        n_bright = np.bincount(place[is_bright], minlength=n)
        n_sharp = np.bincount(place[is_bright & table["sharp"]], minlength=n)
        shape = len(visits.frames), n
        return SeenPlaces(
            at=at,
            shown=_incidence(row, place, shape),
            area=area,
            usual=least,
            alone=n_sharp > _MOSTLY * np.maximum(n_bright, 1),
            n_hits=np.diff(_incidence(row[hits], place[hits], shape).indptr),
            brightness=sparse.csc_array(
                (table["photons"][is_bright], (row[is_bright], place[is_bright])), shape=shape
            ),
        )

    def photons(self, chosen: NDArray[np.bool_]) -> NDArray[np.float64]:
        """Photons of chosen places in each frame, in standard deviations of each place."""
        values = self.brightness[:, np.flatnonzero(chosen)].toarray()
        return np.asarray(values / np.maximum(values.std(axis=0), 1e-12))


def _incidence(
    rows: NDArray[np.intp], columns: NDArray[np.intp], shape: tuple[int, int]
) -> sparse.csc_array:
    """Return a matrix that is 1 where something is, however often."""
    out = sparse.csc_array((np.ones(len(rows)), (rows, columns)), shape=shape)
    out.data[:] = 1
    return out

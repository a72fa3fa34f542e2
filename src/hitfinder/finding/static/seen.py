"""Persistent pixels joined to places, and which frames show them."""

from __future__ import annotations

import dataclasses
import weakref

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage, sparse

from hitfinder.finding.rings import Rings
from hitfinder.finding.static.near import grown
from hitfinder.finding.static.persistent import Persistent, PersistentPixels
from hitfinder.finding.static.visits import BRIGHT, LIT, PEAK, Visits

_APART = 11
"""Side of the square around a pixel in which another one is of the same area, in pixels."""

_MOSTLY = 0.5
_LOG_HIT = np.log(0.01)
_EIGHT = np.ones((3, 3), bool)


_of_rings: weakref.WeakKeyDictionary[Rings, PersistentPixels] = weakref.WeakKeyDictionary()
"""What finds persistent pixels of rings in use: a learner asks again and again."""


def persistent_pixels(rings: Rings) -> PersistentPixels:
    """Return what finds the persistent pixels of rings, which it makes once."""
    if rings not in _of_rings:
        _of_rings[rings] = PersistentPixels(rings)
    return _of_rings[rings]


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
        persistent = persistent_pixels(rings)
        sharp = persistent.find(visits, BRIGHT, sharp=True)
        bright = persistent.find(visits, BRIGHT)
        lit = persistent.find(visits, LIT)
        peaks = persistent.find(visits, PEAK)
        if not any(pixels.size for pixels, _ in (sharp, bright, lit, peaks)):
            return SeenPlaces.none(len(visits.frames))
        strong, exact = _least(sharp, bright, peaks), _least(sharp, bright, lit)
        # Where a place is strong, that tells; elsewhere that it is lit.
        usual = _least(strong, _without(lit, strong))
        shape = rings.index.shape
        is_usual, is_exact = _map(usual, shape), _map(exact, shape)
        near, n = ndimage.label(grown(is_usual, 1), _EIGHT)
        inside = np.where(is_usual, near, 0)
        at = []
        for k, part in enumerate(ndimage.find_objects(inside), 1):
            mine = inside[part] == k
            # Where single pixels show a place, they tell better what belongs to it.
            alone = mine & is_exact[part]
            rows, columns = np.nonzero(alone if alone.any() else mine)
            at.append((rows + part[0].start, columns + part[1].start))
        flat = [rows * shape[1] + columns for rows, columns in at]
        least = np.array([usual[1][np.searchsorted(usual[0], pixels)].max() for pixels in flat])
        is_strong = np.array([np.isin(pixels, strong[0]).any() for pixels in flat], bool)
        areas = ndimage.label(grown(is_usual, _APART // 2), _EIGHT)[0] - 1
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
        times = len(visits.frames), n
        return SeenPlaces(
            at=at,
            shown=_incidence(row, place, times),
            area=area,
            usual=least,
            alone=n_sharp > _MOSTLY * np.maximum(n_bright, 1),
            n_hits=np.diff(_incidence(row[hits], place[hits], times).indptr),
            brightness=sparse.csc_array(
                (table["photons"][is_bright], (row[is_bright], place[is_bright])), shape=times
            ),
        )

    def photons(self, chosen: NDArray[np.bool_]) -> NDArray[np.float64]:
        """Photons of chosen places in each frame, in standard deviations of each place."""
        values = self.brightness[:, np.flatnonzero(chosen)].toarray()
        return np.asarray(values / np.maximum(values.std(axis=0), 1e-12))


def _least(*some: Persistent) -> Persistent:
    """Return the pixels of some lots of them, with the least that is expected of each."""
    pixels, place = np.unique(np.concatenate([pixels for pixels, _ in some]), return_inverse=True)
    expected = np.full(pixels.size, np.inf)
    np.minimum.at(expected, place, np.concatenate([expected for _, expected in some]))
    return pixels, expected


def _without(some: Persistent, others: Persistent) -> Persistent:
    """Return the pixels that are not among others."""
    keep = ~np.isin(some[0], others[0])
    return some[0][keep], some[1][keep]


def _map(some: Persistent, shape: tuple[int, ...]) -> NDArray[np.bool_]:
    """Return where the pixels are in a frame."""
    out = np.zeros(shape, bool)
    out.ravel()[some[0]] = True
    return out


def _incidence(
    rows: NDArray[np.intp], columns: NDArray[np.intp], shape: tuple[int, int]
) -> sparse.csc_array:
    """Return a matrix that is 1 where something is, however often."""
    out = sparse.csc_array((np.ones(len(rows)), (rows, columns)), shape=shape)
    out.data[:] = 1
    return out

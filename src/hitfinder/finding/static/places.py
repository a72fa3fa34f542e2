"""Static places: persistent pixels joined to places, and which of them are no crystal."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from hitfinder.finding.crowded import crowded_rings
from hitfinder.finding.rings import Rings
from hitfinder.finding.static.alike import (
    ALWAYS,
    FREQUENT,
    come_together,
    frames_without_crystal,
    in_areas,
    separate_visits,
    stay_a_while,
)
from hitfinder.finding.static.extent import LitPixels
from hitfinder.finding.static.persistent import (
    LEAST_SHARP,
    LEAST_VISITS,
    is_surprising,
)
from hitfinder.finding.static.seen import SeenPlaces
from hitfinder.finding.static.shape import NO_PEAKS, beside, kind_of
from hitfinder.finding.static.visits import Visits
from hitfinder.geometry.geometry import Geometry

LEAST_FRAMES = 12
"""From fewer frames nothing is learnt."""

PLACE_DTYPE = np.dtype(
    [
        ("kind", "U8"),
        ("fs", "f8"),
        ("ss", "f8"),
        ("n_pixels", "i4"),
        ("n_frames", "i4"),
        ("n_hits", "i4"),
        ("masked", "?"),
    ]
)
"""A place that is bright in many frames: kind (`hitfinder.finding.static.shape`), middle (pixels,
corner convention), pixels, frames that show it, frames that it alone would make hits, and whether
it is masked."""

_STAYS = 0.5
"""A static place is shown by the frames without a crystal at least so often as by the others."""

_FEW_PEAKS, _NEARLY_ALL_ODD, _LARGEST_PEAK = 5, 0.75, 25
"""More places than a few may be a crystal, unless nearly all look otherwise; pixels of a peak."""

_EIGHT = np.ones((3, 3), bool)


@dataclasses.dataclass(frozen=True, eq=False)
class Places:
    """What does not move in some frames.

    Attributes
    ----------
    table : ndarray of PLACE_DTYPE
        Places that are static, and those that may be but are left: arcs of powder rings, and what
        may be the spots of a crystal that never turns.
    mask : ndarray of bool, shape (ss, fs)
        Pixels of those that are masked.
    n_looked : int
        Frames that were looked at.
    """

    table: NDArray[np.void]
    mask: NDArray[np.bool_]
    n_looked: int = 0

    @staticmethod
    def none(shape: tuple[int, int]) -> Places:
        """Return what is known of frames of a shape before any was looked at."""
        return Places(np.empty(0, PLACE_DTYPE), np.zeros(shape, bool))

    @property
    def masked(self) -> NDArray[np.void]:
        """Places that are masked, those that make most hits first."""
        return self.table[self.table["masked"]]

    @property
    def left(self) -> NDArray[np.void]:
        """Places that are not masked, though they may be static."""
        return self.table[~self.table["masked"]]

    def with_more(self, later: Places) -> Places:
        """Join places with those found when they were masked; what touches is one place.

        Parameters
        ----------
        later : Places
            Found under the mask of these.
        """
        mask, masked = self.mask, self.masked
        if len(later.masked):
            mask = self.mask | later.mask
            parts = np.concatenate([self.masked, later.masked])
            labels, _ = ndimage.label(mask, _EIGHT)
            n_pixels = np.bincount(labels.ravel())
            whole = labels[parts["ss"].astype(int), parts["fs"].astype(int)]
            joined = [_joined(parts[whole == k], n_pixels[k]) for k in np.unique(whole)]
            masked = np.array(joined, PLACE_DTYPE)
        table = np.concatenate([masked, later.left])
        order = np.argsort(-table["n_hits"], kind="stable")
        return Places(table[order], mask, max(self.n_looked, later.n_looked))

    def told(self, most: int) -> dict[str, Any]:
        """Return an account in plain values, with as many places at most."""
        names = {"n_pixels": "pixels", "n_frames": "frames", "n_hits": "frames_it_would_make_hits"}
        listed = [
            {names.get(name, name): place[name].item() for name in PLACE_DTYPE.names or ()}
            for place in self.table[:most]
        ]
        return {
            "frames_looked_at": self.n_looked,
            "pixels_masked": int(self.mask.sum()),
            "places_masked": len(self.masked),
            "places_left": len(self.left),
            "places": listed,
        }


def _joined(parts: NDArray[np.void], n_pixels: int) -> NDArray[np.void]:
    """Describe a place that was found in parts by the largest of them, and its size."""
    out = parts[np.argmax(parts["n_pixels"])].copy()
    out["n_pixels"] = n_pixels
    for name in ("n_frames", "n_hits"):
        out[name] = parts[name].max()
    return out


def find_places(visits: Visits, geometry: Geometry, rings: Rings) -> Places:
    """Find what does not move.

    Parameters
    ----------
    visits : Visits
        What was bright in which frames.
    geometry : Geometry
        Geometry of the frames, with the mask under which they were looked at.
    rings : Rings
        Its rings.
    """
    n_looked = len(visits.frames)
    if n_looked < LEAST_FRAMES:
        return dataclasses.replace(Places.none(geometry.shape), n_looked=n_looked)
    seen = SeenPlaces.of(visits, rings)
    if not seen.at:
        return dataclasses.replace(Places.none(geometry.shape), n_looked=n_looked)
    near_mask = beside(geometry.detector.full_mask)
    kinds = np.array(
        [kind_of(*at, seen.alone[k], near_mask, geometry, rings) for k, at in enumerate(seen.at)],
        PLACE_DTYPE["kind"],
    )
    _mark_rings(seen.at, kinds, rings)
    static, doubtful = _decide(seen, kinds, int((rings.index >= 0).sum()))
    arc = static & (kinds == "arc")
    static &= ~arc
    table = np.zeros(len(kinds), PLACE_DTYPE)
    table["kind"], table["masked"] = kinds, static
    table["n_frames"], table["n_hits"] = seen.n_frames, seen.n_hits
    mask, lit = np.zeros(geometry.shape, bool), LitPixels(visits, geometry.shape)
    for k, place in enumerate(seen.at):
        table["ss"][k], table["fs"][k] = _middle(*place)
        table["n_pixels"][k] = len(place[0])
        if static[k]:
            table["n_pixels"][k] = lit.mask_place(place, seen.frames_of(k), mask)
    mask &= ~geometry.detector.full_mask
    return Places(table[static | doubtful | arc], mask, n_looked)


def _middle(rows: NDArray[np.intp], columns: NDArray[np.intp]) -> tuple[float, float]:
    """Position (ss, fs) of the pixel of a place that is nearest to its middle."""
    nearest = np.argmin((rows - rows.mean()) ** 2 + (columns - columns.mean()) ** 2)
    return float(rows[nearest]) + 0.5, float(columns[nearest]) + 0.5


def _mark_rings(
    at: list[tuple[NDArray[np.intp], NDArray[np.intp]]], kinds: NDArray[np.str_], rings: Rings
) -> None:
    """Take the places for arcs where a ring holds many: an uneven powder ring falls to pieces."""
    middle = np.array([np.median(rings.index[place]) for place in at], np.intp)
    crowded = crowded_rings(middle, rings.q.size)
    kinds[crowded[middle] & (kinds != "edge")] = "arc"


def _decide(
    seen: SeenPlaces, kinds: NDArray[np.str_], n_pixels: int
) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    """Say which places are static, and which may be but look like the spots of a crystal.

    Parameters
    ----------
    seen : SeenPlaces
        The places.
    kinds : ndarray of str, shape (n_places,)
        What they look like.
    n_pixels : int
        Unmasked pixels of the detector.
    """
    witness = ~np.isin(kinds, NO_PEAKS)
    separate = separate_visits(seen.shown, seen.area, witness)
    least = np.where(seen.alone, LEAST_SHARP, LEAST_VISITS)
    static = (separate >= least) & is_surprising(np.floor(separate), seen.usual, n_pixels)
    frequent = seen.n_frames >= FREQUENT * seen.shown.shape[0]
    areas = in_areas(seen.shown, seen.area, witness)
    often = np.asarray(areas.mean(axis=0)).ravel()
    telling = np.flatnonzero((often >= FREQUENT) & (often <= ALWAYS))
    without = frames_without_crystal(areas[:, telling].toarray() > 0)
    if without is not None:
        here, stays = _stay(seen, without)
        # Frames that show the crystal are alike, however little two of them may share.
        separate = np.minimum(separate, here + 1)
        rare = (separate >= least) & is_surprising(np.floor(separate), seen.usual, n_pixels)
        static = np.where(frequent, stays, static & rare)
        static |= _of_bad_pixels(seen, kinds, frequent & witness & ~stays, ~without)
    elif (static & frequent & witness).sum() > _FEW_PEAKS:
        doubtful = static & _of_crystal(seen, kinds, static & frequent)
        return static & ~doubtful, doubtful
    doubtful = static & (kinds == "spot") & stay_a_while(seen.shown)
    return static & ~doubtful, doubtful


def _of_bad_pixels(
    seen: SeenPlaces,
    kinds: NDArray[np.str_],
    going: NDArray[np.bool_],
    there: NDArray[np.bool_],
) -> NDArray[np.bool_]:
    """Say which places are bad pixels that come and go together, as they do from a moment on.

    So do the spots of a crystal that never turns. But these are seldom nearly all within single
    pixels, and in the frames that show them they change their brightness together.

    Parameters
    ----------
    seen : SeenPlaces
        The places.
    kinds : ndarray of str, shape (n_places,)
        What they look like.
    going : ndarray of bool, shape (n_places,)
        Places that come and go together.
    there : ndarray of bool, shape (n_frames,)
        Frames that show them.
    """
    pixels = going & (kinds == "pixel")
    if pixels.sum() <= max(_FEW_PEAKS, _NEARLY_ALL_ODD * going.sum()):
        return np.zeros_like(going)
    together = come_together(seen.photons(pixels)[there])
    return np.zeros_like(going) if together else pixels


def _of_crystal(
    seen: SeenPlaces, kinds: NDArray[np.str_], frequent: NDArray[np.bool_]
) -> NDArray[np.bool_]:
    """Say which places may be spots of a crystal in all frames, if there are many frequent ones.

    Such a crystal cannot be told by when its spots are seen. If nearly all frequent places do not
    look like peaks, and do not change their brightness together, only those that do may be spots.
    """
    odd = np.isin(kinds, (*NO_PEAKS, "pixel"))
    may_be = frequent & ~np.isin(kinds, NO_PEAKS)
    if odd[frequent].mean() >= _NEARLY_ALL_ODD and not come_together(seen.photons(may_be)):
        return ~odd
    at_edges = (kinds == "edge") & (seen.n_pixels <= _LARGEST_PEAK)
    return np.asarray(~np.isin(kinds, NO_PEAKS) | at_edges)


def _stay(
    seen: SeenPlaces, without: NDArray[np.bool_]
) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
    """Count the frames without a crystal that show a place, and say if they do as often as others.

    Parameters
    ----------
    seen : SeenPlaces
        The places.
    without : ndarray of bool, shape (n_frames,)
        Frames without the crystal.
    """
    here = np.asarray(seen.shown[np.flatnonzero(without)].sum(axis=0)).ravel()
    there = np.asarray(seen.shown[np.flatnonzero(~without)].sum(axis=0)).ravel()
    stays = here / without.sum() >= _STAYS * there / max((~without).sum(), 1)
    enough = here >= np.where(seen.alone, LEAST_SHARP, LEAST_VISITS)
    return here.astype(np.int64), stays & enough

"""What a place that does not move looks like: kinds of static places."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from hitfinder.finding.rings import Rings
from hitfinder.finding.static.near import grown
from hitfinder.geometry.geometry import Geometry

KINDS = {
    "pixel": "one pixel or two, bright alone",
    "spot": "a few pixels, with light around them as in a Bragg peak",
    "line": "a line, as of a scratch or the edge of a shadow",
    "patch": "a patch larger than a Bragg peak",
    "edge": "beside masked pixels: a gap, a beam stop",
    "arc": "an arc at one scattering vector, as of a powder ring",
}
"""Kinds of places and what they are."""

NO_PEAKS = ("line", "patch", "edge", "arc")
"""Kinds that hardly any Bragg peak is of. A Bragg peak may be one pixel, where there is no point
spread."""

_LARGE, _LONG, _THIN = 60, 10, 4.0
_NEAR_MASK, _PART_OF_EDGE = 2, 0.2
_ARC_RAD, _ARC_RINGS, _STRAIGHT_PX = 0.5, 2.0, 1.5


def kind_of(
    rows: NDArray[np.intp],
    columns: NDArray[np.intp],
    alone: bool,
    near_mask: NDArray[np.bool_],
    geometry: Geometry,
    rings: Rings,
) -> str:
    """Name the kind of a place.

    Parameters
    ----------
    rows, columns : ndarray of int
        Its pixels.
    alone : bool
        Whether its pixels are mostly bright alone.
    near_mask : ndarray of bool, shape (ss, fs)
        Pixels beside masked ones (`beside`).
    geometry, rings
        Geometry of the frames and its rings.
    """
    ring = rings.position[rows, columns].astype(float)
    x, y = geometry.pixels.at(rows, columns)
    place = x + 1j * y
    angle = np.angle(place * np.conj(place[0]))
    beside_mask = near_mask[rows, columns].mean()
    if beside_mask >= _PART_OF_EDGE:
        return "edge"
    if np.ptp(angle) >= _ARC_RAD and _is_curved(rows, columns) and _is_ring(ring, angle):
        return "arc"
    length = max(np.ptp(rows), np.ptp(columns)) + 1
    if length >= _LONG and length**2 >= _THIN * len(rows):
        return "line"
    if len(rows) >= _LARGE:
        return "patch"
    return "pixel" if alone else "spot"


def _is_curved(rows: NDArray[np.intp], columns: NDArray[np.intp]) -> bool:
    """Whether pixels lie off a straight line."""
    across = np.linalg.eigvalsh(np.cov(rows, columns))[0]
    return bool(across > _STRAIGHT_PX**2)


def _is_ring(ring: NDArray[np.float64], angle: NDArray[np.float64]) -> bool:
    """Whether pixels lie on a ring, the middle of which may be off the beam axis."""
    terms = np.stack([np.ones_like(angle), np.cos(angle), np.sin(angle)], 1)
    off = ring - terms @ np.linalg.lstsq(terms, ring, rcond=None)[0]
    return bool(off.std() < _ARC_RINGS)


def beside(mask: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Return the pixels within two pixels of a masked one."""
    return grown(mask, _NEAR_MASK)

"""XDS.INP, XPARM.XDS and GXPARM.XDS, https://xds.mr.mpg.de/html_doc/xds_parameters.html.

XDS counts pixels from 1, the first pixel's centre; ORGX and ORGY are where the normal from the
sample meets the detector. Segments lie in the system of the detector, whose origin is the corner
of pixel 0: https://xds.mr.mpg.de/html_doc/coordinate_systems.html.
"""

from __future__ import annotations

import dataclasses
import math
import re

import numpy as np
from numpy.typing import NDArray

from hitfinder.errors import GeometryError
from hitfinder.geometry.foreign.described import DescribedDetector, along_beam
from hitfinder.geometry.placed import PlacedModule
from hitfinder.units import energy_from_wavelength

Values = dict[str, list[float]]

_KEYS = {
    "X-RAY_WAVELENGTH": 1,
    "INCIDENT_BEAM_DIRECTION": 3,
    "NX": 1,
    "NY": 1,
    "QX": 1,
    "QY": 1,
    "ORGX": 1,
    "ORGY": 1,
    "DETECTOR_DISTANCE": 1,
    "DIRECTION_OF_DETECTOR_X-AXIS": 3,
    "DIRECTION_OF_DETECTOR_Y-AXIS": 3,
}
"""Parameters that are needed, and how many numbers each has."""

_DEFAULTS = {
    "INCIDENT_BEAM_DIRECTION": [0.0, 0.0, 1.0],
    "DIRECTION_OF_DETECTOR_X-AXIS": [1.0, 0.0, 0.0],
    "DIRECTION_OF_DETECTOR_Y-AXIS": [0.0, 1.0, 0.0],
}

_UNTRUSTED = "UNTRUSTED_RECTANGLE"

_XPARM_NUMBERS, _SEGMENT_NUMBERS = 43, 14
"""Numbers of an XPARM.XDS up to the detector's axes, and of each segment after them."""

_SEGMENT_KEYS = {
    "SEGMENT_ORGX": [0.0],
    "SEGMENT_ORGY": [0.0],
    "SEGMENT_DISTANCE": [0.0],
    "DIRECTION_OF_SEGMENT_X-AXIS": [1.0, 0.0, 0.0],
    "DIRECTION_OF_SEGMENT_Y-AXIS": [0.0, 1.0, 0.0],
}
"""Parameters of a segment in the order of XPARM.XDS, and what they are if they are not told."""

_SKEW = 0.01
"""Cosine between two axes from which they are not at right angles: files round to 5 digits."""

_NUMBER = r"\s*([-+0-9.eE]+)"


@dataclasses.dataclass(frozen=True)
class _Segment:
    """A part of the detector with a place of its own.

    Parameters
    ----------
    ends : tuple of int
        First and last pixel along x, first and last along y, counted from 1.
    origin_px : tuple of float
        Pixel (x, y) of the frame that its distance is counted at.
    distance_mm : float
        How far it is before the origin of the detector's system, along its own normal.
    x, y : ndarray, shape (3,)
        Its axes in the detector's system, of unit length.
    """

    ends: tuple[int, int, int, int]
    origin_px: tuple[float, float]
    distance_mm: float
    x: NDArray[np.float64]
    y: NDArray[np.float64]

    def module(
        self, name: str, axes: NDArray[np.float64], edges_m: list[float], zero: NDArray[np.float64]
    ) -> PlacedModule:
        """Place it in the lab.

        Parameters
        ----------
        name : str
            Its name.
        axes : ndarray, shape (3, 3)
            Axes x, y and normal of the detector in the lab, as columns.
        edges_m : list of float
            Edges of a pixel along x and y, in m.
        zero : ndarray, shape (3,)
            Origin of the detector's system in the lab, in m.
        """
        x1, x2, y1, y2 = self.ends
        fs, ss = axes @ self.x * edges_m[0], axes @ self.y * edges_m[1]
        corner = (x1 - 0.5 - self.origin_px[0]) * fs + (y1 - 0.5 - self.origin_px[1]) * ss
        corner = corner + 1e-3 * self.distance_mm * (axes @ np.cross(self.x, self.y)) + zero
        return PlacedModule(name, (y1 - 1, x1 - 1), (y2 - y1 + 1, x2 - x1 + 1), corner, fs, ss)


def is_xds(text: str) -> bool:
    """Whether a text is a file of XDS that describes a detector."""
    return _is_xparm(text) or (
        re.search(r"^[^!\n]*\bORGX\s*=", text, re.MULTILINE) is not None and "QX" in text
    )


def _is_xparm(text: str) -> bool:
    return re.match(r"\s*G?XPARM\.XDS", text) is not None


def read_xds(text: str, path: str) -> DescribedDetector:
    """Read a file of XDS that describes a detector.

    Parameters
    ----------
    text : str
        Its content.
    path : str
        Its name, for messages.

    Raises
    ------
    GeometryError
        If something is missing or makes no sense.
    """
    lines = re.sub(r"!.*", "", text)
    said, parts = _of_xparm(text, path) if _is_xparm(text) else _of_inp(lines, path)
    left = re.search(r"UNTRUSTED_(ELLIPSE|QUADRILATERAL)\s*=", lines) is not None
    n_fs, n_ss = (int(said[name][0]) for name in ("NX", "NY"))
    edges = [1e-3 * said[name][0] for name in ("QX", "QY")]
    origin = [said[name][0] for name in ("ORGX", "ORGY")]
    axes = [np.array(said[f"DIRECTION_OF_DETECTOR_{name}-AXIS"]) for name in "XY"]
    if min(n_fs, n_ss) < 1 or min(edges) <= 0:
        raise GeometryError("the detector has no pixels", path)
    x, y = _unit_axes(axes, path)
    try:
        turn = along_beam(said["INCIDENT_BEAM_DIRECTION"])
        energy = energy_from_wavelength(said["X-RAY_WAVELENGTH"][0])
    except ValueError as error:
        raise GeometryError(str(error), path) from None
    normal = np.cross(x, y)
    lab = turn @ np.array([x, y, normal]).T
    zero = lab @ [
        -origin[0] * edges[0],
        -origin[1] * edges[1],
        1e-3 * said["DETECTOR_DISTANCE"][0],
    ]
    segments = [_segment(part, (n_fs, n_ss), path) for part in parts] or [
        _Segment((1, n_fs, 1, n_ss), (0.0, 0.0), 0.0, *np.eye(3)[:2])
    ]
    modules = tuple(
        segment.module(f"p{number}", lab, edges, zero) for number, segment in enumerate(segments)
    )
    told = f"{path}: untrusted ellipses and quadrilaterals are not masked: give --mask"
    return DescribedDetector(
        path,
        lambda shape: modules,
        energy,
        rectangles=_rectangles(lines),
        warnings=(told,) if left else (),
        frame=(n_ss, n_fs),
        saturation=next(iter(_named(lines, "OVERLOAD", 1, path)), None),
    )


def _of_inp(lines: str, path: str) -> tuple[Values, list[list[float]]]:
    """Take the parameters of XDS.INP by their names; those of a segment follow ``SEGMENT=``."""
    said = dict(_DEFAULTS)
    for name, many in _KEYS.items():
        found = _named(lines, name, many, path)
        if found:
            said[name] = found
        elif name not in said:
            raise GeometryError(f"{name} is not told", path)
    parts = []
    for text in re.split(r"(?<![\w-])(?=SEGMENT\s*=)", lines)[1:]:
        part = _named(text, "SEGMENT", 4, path)
        if not part:
            raise GeometryError("SEGMENT is without its four pixels", path)
        for name, default in _SEGMENT_KEYS.items():
            part += _named(text, name, len(default), path) or default
        parts.append(part)
    return said, parts


def _named(lines: str, name: str, many: int, path: str) -> list[float]:
    """Return the numbers of the first line of a parameter; none if it has none."""
    found = re.search(rf"(?<![\w-]){name}\s*={_NUMBER * many}", lines)
    return _numbers(found.groups(), path) if found else []


def _of_xparm(text: str, path: str) -> tuple[Values, list[list[float]]]:
    """Take the numbers of XPARM.XDS by their order."""
    values = _numbers(text.partition("\n")[2].split(), path)
    if len(values) < _XPARM_NUMBERS:
        raise GeometryError("is no XPARM.XDS of a version that is known", path)
    n_segments, left = int(values[26]), values[_XPARM_NUMBERS:]
    if n_segments > 1 and len(left) < _SEGMENT_NUMBERS * n_segments:
        raise GeometryError(f"names {n_segments} segments, and does not describe them", path)
    said = {
        "X-RAY_WAVELENGTH": values[6:7],
        "INCIDENT_BEAM_DIRECTION": values[7:10],
        "NX": values[27:28],
        "NY": values[28:29],
        "QX": values[29:30],
        "QY": values[30:31],
        "ORGX": values[31:32],
        "ORGY": values[32:33],
        "DETECTOR_DISTANCE": values[33:34],
        "DIRECTION_OF_DETECTOR_X-AXIS": values[34:37],
        "DIRECTION_OF_DETECTOR_Y-AXIS": values[37:40],
    }
    # Each begins with its own number.
    parts = [
        left[first + 1 : first + _SEGMENT_NUMBERS]
        for first in range(0, len(left) - _SEGMENT_NUMBERS + 1, _SEGMENT_NUMBERS)
    ]
    return said, parts[:n_segments]


def _segment(part: list[float], frame: tuple[int, int], path: str) -> _Segment:
    """Make a segment of its numbers, in the order of XPARM.XDS without the first."""
    x1, x2, y1, y2 = (int(value) for value in part[:4])
    if not (1 <= x1 <= x2 <= frame[0] and 1 <= y1 <= y2 <= frame[1]):
        what = f"the segment {x1} {x2} {y1} {y2} is not within the {frame[0]} x {frame[1]} pixels"
        raise GeometryError(what, path)
    x, y = _unit_axes([np.array(part[7:10]), np.array(part[10:13])], path)
    return _Segment((x1, x2, y1, y2), (part[4], part[5]), part[6], x, y)


def _unit_axes(axes: list[NDArray[np.float64]], path: str) -> list[NDArray[np.float64]]:
    """Return two axes at unit length.

    Raises
    ------
    GeometryError
        If they are none, or not at right angles.
    """
    if not all(axis.any() for axis in axes):
        raise GeometryError("an axis of the detector has no direction", path)
    x, y = (axis / np.linalg.norm(axis) for axis in axes)
    if abs(x @ y) > _SKEW:
        raise GeometryError("the axes of the detector are not at right angles", path)
    return [x, y]


def _numbers(texts: object, path: str) -> list[float]:
    try:
        values = [float(text) for text in texts]  # type: ignore[attr-defined]
    except ValueError:
        values = [math.nan]
    if not all(map(math.isfinite, values)):
        raise GeometryError("holds something else where numbers should be", path)
    return values


def _rectangles(lines: str) -> tuple[tuple[int, int, int, int], ...]:
    """Return the untrusted rectangles; XDS states the pixels around them, counted from 1."""
    found = re.findall(rf"{_UNTRUSTED}\s*=\s*(\d+)\s+(\d+)\s+(\d+)\s+(\d+)", lines)
    return tuple((int(y1), int(y2) - 1, int(x1), int(x2) - 1) for x1, x2, y1, y2 in found)

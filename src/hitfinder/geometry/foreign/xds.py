"""XDS.INP, XPARM.XDS and GXPARM.XDS, https://xds.mr.mpg.de/html_doc/xds_parameters.html.

XDS counts pixels from 1, the first pixel's centre; ORGX and ORGY are where the normal from the
sample meets the detector.
"""

from __future__ import annotations

import math
import re

import numpy as np

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

_XPARM_NUMBERS = 43
"""Numbers of an XPARM.XDS with one segment, up to the detector's axes."""


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
        If something is missing or makes no sense, or the detector has segments.
    """
    lines = re.sub(r"!.*", "", text)
    said = _of_xparm(text, path) if _is_xparm(text) else _of_inp(lines, path)
    left = re.search(r"UNTRUSTED_(ELLIPSE|QUADRILATERAL)\s*=", lines) is not None
    n_fs, n_ss = (int(said[name][0]) for name in ("NX", "NY"))
    edges = [1e-3 * said[name][0] for name in ("QX", "QY")]
    origin = [said[name][0] for name in ("ORGX", "ORGY")]
    axes = [np.array(said[f"DIRECTION_OF_DETECTOR_{name}-AXIS"]) for name in "XY"]
    if min(n_fs, n_ss) < 1 or min(edges) <= 0 or not all(axis.any() for axis in axes):
        raise GeometryError("the detector has no pixels", path)
    x, y = (axis / np.linalg.norm(axis) for axis in axes)
    try:
        turn = along_beam(said["INCIDENT_BEAM_DIRECTION"])
        energy = energy_from_wavelength(said["X-RAY_WAVELENGTH"][0])
    except ValueError as error:
        raise GeometryError(str(error), path) from None
    fs, ss = turn @ x * edges[0], turn @ y * edges[1]
    corner = (0.5 - origin[0]) * fs + (0.5 - origin[1]) * ss
    corner = corner + 1e-3 * said["DETECTOR_DISTANCE"][0] * (turn @ np.cross(x, y))
    module = PlacedModule("p0", (0, 0), (n_ss, n_fs), corner, fs, ss)
    told = f"{path}: untrusted ellipses and quadrilaterals are not masked: give --mask"
    return DescribedDetector(
        path,
        lambda shape: (module,),
        energy,
        rectangles=_rectangles(lines),
        warnings=(told,) if left else (),
    )


def _of_inp(lines: str, path: str) -> Values:
    if re.search(r"\bSEGMENT\s*=", lines):
        raise _segments(path)
    said = dict(_DEFAULTS)
    for name, many in _KEYS.items():
        number = r"\s*([-+0-9.eE]+)"
        found = re.findall(rf"(?<![\w-]){name}\s*={number * many}", lines)
        if found:
            texts = (found[0],) if many == 1 else found[0]
            said[name] = _numbers(texts, path)
        elif name not in said:
            raise GeometryError(f"{name} is not told", path)
    return said


def _of_xparm(text: str, path: str) -> Values:
    """Take the numbers of XPARM.XDS by their order."""
    values = _numbers(text.partition("\n")[2].split(), path)
    if len(values) < _XPARM_NUMBERS:
        raise GeometryError("is no XPARM.XDS of a version that is known", path)
    if values[26] != 1:
        raise _segments(path)
    return {
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


def _segments(path: str) -> GeometryError:
    what = "the detector has segments, which are read from CrystFEL and DIALS files only"
    return GeometryError(what, path)


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

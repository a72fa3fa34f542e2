"""PONI files of pyFAI, https://www.silx.org/doc/pyFAI/latest/geometry.html.

pyFAI counts axis 1 upwards (slow), axis 2 to the right as seen from the sample (fast) and axis 3
along the beam; the normal from the sample meets the detector at (poni1, poni2).
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hitfinder.errors import GeometryError
from hitfinder.geometry.foreign.described import DescribedDetector, Shape
from hitfinder.geometry.named import named_detector
from hitfinder.geometry.placed import PlacedModule
from hitfinder.units import energy_from_wavelength

_LINE = re.compile(r"^\s*(\w+)\s*:(.*)$", re.MULTILINE)

_TO_LAB = np.array([[0.0, -1.0, 0.0], [1.0, 0.0, 0.0], [0.0, 0.0, 1.0]])
"""From pyFAI's axes 1, 2, 3 to x, y, z."""

_PIXEL_M = (1e-7, 1e-2)
"""Least and most that the edge of a pixel can be, in m."""

_ALIKE = 0.01
"""Relative difference up to which pixels are those of the detector that is named."""

_WAVELENGTH_M = (1e-12, 1e-7)
"""Least and most that a wavelength can be, in m."""

_ORIENTATIONS = {0: (1, 1), 1: (-1, -1), 2: (-1, 1), 3: (1, 1), 4: (1, -1)}
"""Whether axes 1 and 2 count pixels upwards, by pyFAI's number of the orientation (0: not set)."""

_MIRRORED = (
    "by pyFAI's orientation {} its frames are mirrored against those of most detectors, which "
    "store the top row first, seen from the sample (orientation 2): resolutions are the same, but "
    "the hand of a crystal would be the other"
)


def is_poni(text: str) -> bool:
    """Whether a text is a PONI file."""
    return re.search(r"^\s*poni1\s*:", text, re.MULTILINE | re.IGNORECASE) is not None


def read_poni(text: str, path: str) -> DescribedDetector:
    """Read a PONI file of any version; of a key that is there several times the last counts.

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
    said = {key.lower(): value.strip() for key, value in _LINE.findall(text)}
    config = _config(said.get("detector_config", ""), path)
    pixel1, pixel2, size = _pixels(said, config, path)
    number = config.get("orientation") or 0
    if number not in _ORIENTATIONS:
        raise GeometryError(f"orientation {number!r} of the detector is not supported", path)
    signs = _ORIENTATIONS[number]
    poni = [_number(said, name, path) for name in ("poni1", "poni2")]
    turn = _TO_LAB @ _rotation(*(_number(said, f"rot{n}", path, 0.0) for n in (1, 2, 3)))
    distance = _number(said, "distance" if "distance" in said else "dist", path)

    def modules(shape: Shape) -> tuple[PlacedModule, ...]:
        n_ss, n_fs = size or shape
        ends = n_ss if signs[0] < 0 else 0, n_fs if signs[1] < 0 else 0
        corner = turn @ [ends[0] * pixel1 - poni[0], ends[1] * pixel2 - poni[1], distance]
        ss, fs = turn[:, 0] * signs[0] * pixel1, turn[:, 1] * signs[1] * pixel2
        return (PlacedModule("p0", (0, 0), (n_ss, n_fs), corner, fs, ss),)

    warnings = (f"{path}: {_MIRRORED.format(number or 3)}",) if signs[0] * signs[1] > 0 else ()
    return DescribedDetector(path, modules, _energy(said, path), warnings=warnings)


def _config(text: str, path: str) -> dict[str, Any]:
    try:
        found = json.loads(text) if text else {}
    except (ValueError, RecursionError):
        raise GeometryError("the detector_config is no JSON", path) from None
    return found if isinstance(found, dict) else {}


def _pixels(
    said: dict[str, str], config: dict[str, Any], path: str
) -> tuple[float, float, Shape | None]:
    """Return the edges of a pixel along axes 1 and 2, in m, and the frame's shape if it is told."""
    edges = [
        _number(config, f"pixel{n}", path, math.nan)
        if config.get(f"pixel{n}")
        else _number(said, f"pixelsize{n}", path, math.nan)
        for n in (1, 2)
    ]
    name = said.get("detector", "")
    stated = config.get("max_shape")
    size = tuple(stated) if isinstance(stated, list) and len(stated) == 2 else None
    if name.lower() not in ("", "detector", "none"):
        try:
            known = named_detector(name)
        except GeometryError as error:
            if not min(edges) > 0:
                what = f"no detector is called {name!r}, and the pixel size is not told"
                raise GeometryError(what, path, error.hint) from None
        else:
            native = known.panels[0].pixel_edges_m[::-1]
            edges = [edge if edge > 0 else own for edge, own in zip(edges, native, strict=True)]
            # Other pixels than its own are binned ones, of frames of another size.
            size = size or (known.shape if np.allclose(edges, native, rtol=_ALIKE) else None)
    if not all(_PIXEL_M[0] < edge < _PIXEL_M[1] for edge in edges):
        raise GeometryError("tells no pixel size, in m, that a detector has", path)
    if size is not None and not all(isinstance(n, int) and n > 0 for n in size):
        raise GeometryError(f"max_shape {stated} is no shape of a frame", path)
    return edges[0], edges[1], size


def _number(said: Mapping[str, Any], name: str, path: str, default: float | None = None) -> float:
    text = said.get(name, "None")
    if text == "None" and default is not None:
        return default
    try:
        value = float(text)
    except (TypeError, ValueError):
        value = math.nan
    if not math.isfinite(value):
        raise GeometryError(f"{name} is no number: {text!r}", path)
    return value


def _energy(said: dict[str, str], path: str) -> float | None:
    wavelength = _number(said, "wavelength", path, 0.0)
    if not wavelength:
        return None
    if not _WAVELENGTH_M[0] < wavelength < _WAVELENGTH_M[1]:
        raise GeometryError(f"the wavelength {wavelength:g} m is none of X-rays", path)
    return energy_from_wavelength(1e10 * wavelength)


def _rotation(rot1: float, rot2: float, rot3: float) -> NDArray[np.float64]:
    """Return pyFAI's rotation: left-handed about axes 1 and 2, then right-handed about axis 3."""
    (c1, c2, c3), (s1, s2, s3) = np.cos([rot1, rot2, rot3]), np.sin([rot1, rot2, rot3])
    about1 = np.array([[1, 0, 0], [0, c1, s1], [0, -s1, c1]])
    about2 = np.array([[c2, 0, -s2], [0, 1, 0], [s2, 0, c2]])
    about3 = np.array([[c3, -s3, 0], [s3, c3, 0], [0, 0, 1]])
    return about3 @ about2 @ about1

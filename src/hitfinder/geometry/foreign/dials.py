"""Experiment lists of DIALS (``.expt``, ``.json``), as dxtbx writes them.

Panels have an origin, the outer corner of their first pixel, and axes in a lab of any orientation,
in mm; in a hierarchy they are given in the frame of the group above.
"""

from __future__ import annotations

import json
import math
import statistics
from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hitfinder.errors import GeometryError
from hitfinder.geometry.foreign.described import DescribedDetector, along_beam
from hitfinder.geometry.placed import PlacedModule, panel_name
from hitfinder.units import energy_from_wavelength

_LISTS = ("ExperimentList", "DataBlock", "ImageSet", "ImageSequence")

_SPREAD = 0.01
"""Relative difference of wavelengths that is worth a word."""

_TURNED_RAD = 2.5e-4
"""Angle between beams that is worth a word: half a pixel of 75 µm at 0.15 m."""

_PARALLAX_PX = 1.0
"""Shift of spots by parallax that is worth a word; one of less than a pixel moves no spot away."""

_BESIDE = {
    "mask": "give it as an image with --mask",
    "gain": "the gain of the panels is taken for all their pixels",
    "pedestal": "it is not taken away",
    "dx": "distortion is not corrected",
    "dy": "distortion is not corrected",
}
"""Maps of pixels that an image set can name, and what becomes of frames without them."""

_DEPTH = 32
"""Groups of panels in one another."""


def read_dials(text: str, path: str) -> DescribedDetector:
    """Read the detector and the beam of an experiment list.

    Parameters
    ----------
    text : str
        Its content, JSON.
    path : str
        Its name, for messages.

    Raises
    ------
    GeometryError
        If it holds no detector or several, or something makes no sense.
    """
    try:
        said = json.loads(text)
        said = said[0] if isinstance(said, list) and len(said) == 1 else said
        if not isinstance(said, dict) or said.get("__id__") not in _LISTS:
            raise GeometryError("is JSON, but no experiment list of DIALS", path)
        return _described(said, path)
    except RecursionError:
        raise GeometryError("is no experiment list of DIALS", path) from None
    except (AttributeError, KeyError, IndexError, TypeError, ValueError) as error:
        reason = f"{type(error).__name__}: {error}"
        raise GeometryError(f"is an experiment list that cannot be used ({reason})", path) from None


def _described(said: dict[str, Any], path: str) -> DescribedDetector:
    detectors, beams = said["detector"], said["beam"]
    if not detectors or not beams:
        raise GeometryError("holds no detector, or no beam", path)
    if any(other != detectors[0] for other in detectors):
        what = f"holds {len(detectors)} detectors that differ"
        raise GeometryError(what, path, "Give one that fits all frames, or run them separately.")
    directions = _directions(beams)
    turn = along_beam(_middle(directions))
    panels = detectors[0]["panels"]
    flat = {"children": [{"panel": number} for number in range(len(panels))]}
    frames = dict(_frames(detectors[0].get("hierarchy", flat), panels, np.eye(4)))
    offsets = [tuple(panel.get("raw_image_offset", (0, 0))) for panel in panels]
    # Modules that are kept apart have no place in a common image.
    apart = len(panels) > 1 and not any(map(any, offsets))
    rows = max(int(panel["image_size"][1]) for panel in panels)
    modules, rectangles = [], []
    for number, (panel, (fs, ss)) in enumerate(zip(panels, offsets, strict=True)):
        size = int(panel["image_size"][1]), int(panel["image_size"][0])
        lab = turn @ frames[number][:3]
        edges = 1e-3 * np.asarray(panel["pixel_size"], float)
        if not ((edges > 0).all() and min(size) > 0):
            raise ValueError(f"panel {number} has no pixels")
        name = panel_name(str(panel.get("name", "")).rpartition("/")[2] or "p")
        name += f"_{number}" if len(panels) > 1 else ""
        origin = (number, 0, 0) if apart else (int(ss), int(fs))
        corner = 1e-3 * lab[:, 3]
        modules.append(
            PlacedModule(name, origin, size, corner, lab[:, 0] * edges[0], lab[:, 1] * edges[1])
        )
        top, left = (number * rows, 0) if apart else (int(ss), int(fs))
        for f0, s0, f1, s1 in panel.get("mask", ()):
            rectangles.append((top + int(s0), top + int(s1), left + int(f0), left + int(f1)))
    placed = tuple(modules)
    return DescribedDetector(
        path,
        lambda shape: placed,
        _energy(beams),
        _polarisation(beams[0], turn),
        _gain(panels),
        tuple(rectangles),
        (
            *_doubts(path, panels, beams, directions),
            *_maps_beside(path, said),
            *_parallax(path, panels, frames),
        ),
        saturation=_saturation(panels),
    )


def _directions(beams: list[dict[str, Any]]) -> NDArray[np.float64]:
    """Return which way each beam travels, shape (n, 3), at unit length; DIALS has it to the source.

    Raises
    ------
    ValueError
        If a beam has none.
    """
    to_source = np.array([beam["direction"] for beam in beams], float)
    lengths = np.linalg.norm(to_source, axis=1, keepdims=True)
    if not (lengths > 0).all():
        raise ValueError("the beam has no direction")
    return -to_source / lengths


def _middle(directions: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.median(directions, axis=0)


def _frames(
    node: dict[str, Any], panels: list[dict[str, Any]], above: NDArray[np.float64], depth: int = 0
) -> Iterator[tuple[int, NDArray[np.float64]]]:
    """Yield the number of each panel of a group, and what takes a point of its frame to the lab."""
    if depth > _DEPTH:
        raise ValueError("groups of panels without end")
    if "panel" in node:
        yield int(node["panel"]), above @ _frame(panels[node["panel"]])
        return
    here = above @ _frame(node)
    for child in node["children"]:
        yield from _frames(child, panels, here, depth + 1)


def _frame(node: dict[str, Any]) -> NDArray[np.float64]:
    """Return what takes a point of a panel's or group's own frame to that of the group above."""
    if "fast_axis" not in node:
        return np.eye(4)
    fast, slow = (np.asarray(node[f"{name}_axis"], float) for name in ("fast", "slow"))
    fast, slow = fast / np.linalg.norm(fast), slow / np.linalg.norm(slow)
    matrix = np.eye(4)
    matrix[:3] = np.array([fast, slow, np.cross(fast, slow), node["origin"]]).T
    if not np.isfinite(matrix).all():
        raise ValueError("a panel has no place")
    return matrix


def _energy(beams: list[dict[str, Any]]) -> float | None:
    known = [float(beam["wavelength"]) for beam in beams if "wavelength" in beam]
    return energy_from_wavelength(statistics.median(known)) if known else None


def _polarisation(beam: dict[str, Any], turn: NDArray[np.float64]) -> float | None:
    """Return the fraction polarised along x; DIALS states that across a normal."""
    fraction, normal = beam.get("polarization_fraction"), beam.get("polarization_normal")
    if fraction is None or normal is None or not 0 <= fraction <= 1:
        return None
    x, y, _ = turn @ np.asarray(normal, float)
    share = y * y / (x * x + y * y) if x or y else 1.0
    return float(fraction * share + (1 - fraction) * (1 - share))


def _gain(panels: list[dict[str, Any]]) -> float | None:
    """Return the stored value of one photon, if the panels have one other than 1."""
    gains = {float(panel.get("gain") or 1.0) for panel in panels}
    if len(gains) > 1:
        raise ValueError("the panels differ in their gain")
    gain = gains.pop()
    if not 0 < gain < math.inf:
        raise ValueError(f"the gain is {gain}")
    return None if gain == 1 else gain


def _doubts(
    path: str,
    panels: list[dict[str, Any]],
    beams: list[dict[str, Any]],
    directions: NDArray[np.float64],
) -> Iterator[str]:
    known = [float(beam["wavelength"]) for beam in beams if "wavelength" in beam]
    if known and max(known) - min(known) > _SPREAD * min(known):
        yield (
            f"{path}: wavelengths differ, {min(known):.5g} to {max(known):.5g} A; all frames get "
            "the median"
        )
    middle = _middle(directions) / np.linalg.norm(_middle(directions))
    turned = float(np.linalg.norm(directions - middle, axis=1).max())
    if turned > _TURNED_RAD:
        yield (
            f"{path}: directions of the beam differ, by up to {1e3 * turned:.2g} mrad from their "
            "median, which all frames get"
        )
    if any(panel.get("pedestal") for panel in panels):
        yield f"{path}: the pedestal of the panels is not taken away"


def _saturation(panels: list[dict[str, Any]]) -> float | None:
    """Return the largest value that is trusted in all panels; None if that is not told."""
    largest = [float(panel["trusted_range"][1]) for panel in panels if panel.get("trusted_range")]
    return min((most for most in largest if 0 < most < math.inf), default=None)


def _maps_beside(path: str, said: dict[str, Any]) -> Iterator[str]:
    """Say of maps of pixels that are kept in files of their own, pickled, which are not read."""
    sets = said.get("imageset") or []
    for kind, instead in _BESIDE.items():
        names = dict.fromkeys(str(one[kind]) for one in sets if one.get(kind))
        for name in list(names)[:1]:
            yield f"{path}: the {kind} map in {name} is not read: {instead}"


def _parallax(
    path: str, panels: list[dict[str, Any]], frames: dict[int, NDArray[np.float64]]
) -> Iterator[str]:
    """Say of parallax that DIALS corrects for, if it moves spots."""
    shifts = [
        _parallax_px(panel, frames[number])
        for number, panel in enumerate(panels)
        if "Parallax" in str((panel.get("px_mm_strategy") or {}).get("type"))
    ]
    if shifts and max(shifts) > _PARALLAX_PX:
        yield (
            f"{path}: DIALS corrects for parallax, by up to {max(shifts):.2g} pixels; "
            "here spots are taken to be where they are seen"
        )


def _parallax_px(panel: dict[str, Any], frame: NDArray[np.float64]) -> float:
    """Return how far parallax moves spots at the corners of a panel, in pixels, at most.

    Rays are absorbed at a mean depth of 1/µ − (L + 1/µ) exp(−µL), L being their way through the
    sensor.
    """
    mu, thickness = float(panel.get("mu") or 0), float(panel.get("thickness") or 0)
    if not (mu > 0 and thickness > 0):
        return 0.0
    pixel, size = np.asarray(panel["pixel_size"], float), np.asarray(panel["image_size"], float)
    corners = [(fs, ss, 0.0, 1.0) for fs in (0, size[0]) for ss in (0, size[1])]
    places = np.array(corners) * [*pixel, 1.0, 1.0] @ frame.T
    rays = places[:, :3] / np.linalg.norm(places[:, :3], axis=1, keepdims=True)
    cosine = np.abs(rays @ frame[:3, 2])
    way = thickness / np.maximum(cosine, 1e-3)
    depth = 1 / mu - (way + 1 / mu) * np.exp(-mu * way)
    return float((depth * np.sqrt(1 - np.minimum(cosine, 1) ** 2)).max() / pixel.min())

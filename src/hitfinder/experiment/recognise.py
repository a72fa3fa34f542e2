"""The detector of frames that no setting and no geometry file tells of."""

from __future__ import annotations

import math

from hitfinder.errors import GeometryError
from hitfinder.experiment.beam import FROM_FILE, GIVEN
from hitfinder.geometry.detector import Detector
from hitfinder.geometry.named import detector_shape, detectors, named_detector
from hitfinder.io.source import Metadata

_NEAR_PX = 50.0
"""Difference in rows and columns up to which a detector is worth naming."""


def recognise(
    shape: tuple[int, int], said: Metadata, pixel_size_um: float | None = None
) -> tuple[Detector, str]:
    """Tell a detector by the shape of its frames and its description.

    Parameters
    ----------
    shape : tuple of int
        Rows and columns of a frame.
    said : Metadata
        What the files say.
    pixel_size_um : float, optional
        Pixel edge, in µm, as the user says it; a named detector must have it.

    Returns
    -------
    detector : Detector
        A named one of this shape and pixel size, preferring one that the description names; else
        one flat panel with the pixel size of the files. Where the files place the modules, they
        are placed so, and the mask is that of the named one.
    origin : str
        How it was recognised.

    Raises
    ------
    GeometryError
        If no detector is known by this shape and the files give no pixel size.
    """
    named = [named_detector(name) for name in detectors() if detector_shape(name) == shape]
    given_m = None if pixel_size_um is None else 1e-6 * pixel_size_um
    pixel_m = given_m or said.pixel_size_m
    if pixel_m is not None:
        named = [d for d in named if math.isclose(d.panels[0].pixel_size_m, pixel_m, rel_tol=0.01)]
    if said.pixel_height_m is not None and given_m is None:
        named = []
    words = _plain(said.detector)
    named.sort(key=lambda d: _plain(d.name) not in words)
    if said.panels and given_m is None:
        mask = named[0].full_mask if named else None
        name = named[0].name if named else said.detector or "unnamed detector"
        return Detector(name, shape, said.panels, mask), f"the transformations in {FROM_FILE}"
    if named:
        return named[0], "recognised by the shape of the frames"
    if pixel_m is None:
        rows, columns = shape
        raise GeometryError(
            f"no detector is known with frames of {rows} x {columns} pixels", hint=closest(shape)
        )
    edges = (pixel_m if given_m else said.pixel_height_m or pixel_m), pixel_m
    detector = Detector.flat(shape, edges, name=said.detector or "unnamed detector")
    return detector, "shape and pixel size: " + (FROM_FILE if given_m is None else GIVEN)


def closest(shape: tuple[int, int]) -> str:
    """Say which named detectors have frames of a shape, or nearly, and what else can be done."""
    shapes = {name: detector_shape(name) for name in detectors()}
    away = {name: math.dist(shape, other) for name, other in shapes.items()}
    near = sorted((name for name in away if away[name] <= _NEAR_PX), key=away.__getitem__)
    told = ", ".join(f"{name} {shapes[name][0]} x {shapes[name][1]}" for name in near[:3])
    others = (
        "Give --pixel-size-um for one flat panel, --detector with another name ('hitfinder "
        "detectors' lists them), or --geometry FILE.geom ('hitfinder geometry-template' writes "
        "one to start from)."
    )
    return f"Close are {told}. {others}" if told else others


def _plain(text: str) -> str:
    return "".join(c for c in text.lower() if c.isalnum())

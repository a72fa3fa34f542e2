"""Where an NXmx file places the modules of its detector.

Each ``NXdetector_module`` tells which pixels of the frame it holds and, by chains of
transformations, where in the lab they are. The lab is that of CrystFEL (see `hitfinder.io.nxmx`),
and the origin of a module the outer corner of its first pixel, as DIALS has it.
"""

from __future__ import annotations

import math

import h5py
import numpy as np

from hitfinder.errors import SourceError
from hitfinder.geometry.crystfel.text import are_parallel
from hitfinder.geometry.placed import (
    DetectorPlacement,
    PlacedModule,
    angle_to_beam,
    panel_name,
    place,
    vector,
)
from hitfinder.io.links import NOT_THERE, opened
from hitfinder.io.nexus import Fields, as_text
from hitfinder.io.numbers import first_values
from hitfinder.io.quantities import swung
from hitfinder.io.transformations import Chains, axis_at, direction, length_m, offset_m

MOST_MODULES = 1024
"""Modules that a detector may have."""


def modules_apart(fields: Fields, n_modules: int) -> bool:
    """Whether the file says that its data have an axis of modules, of this length."""
    try:
        origins = [tuple(np.ravel(m["data_origin"][()])) for m in _groups(fields)]
    except NOT_THERE:
        return False
    apart = {int(origin[0]) for origin in origins if len(origin) == 3}
    return bool(apart) and max(apart) == n_modules - 1


def read_placement(
    fields: Fields, shape: tuple[int, int]
) -> tuple[DetectorPlacement | None, list[str]]:
    """Read where the modules of a detector are.

    Parameters
    ----------
    fields : Fields
        The fields of a file.
    shape : tuple of int
        Rows and columns of a frame.

    Returns
    -------
    DetectorPlacement or None
        None if the file has no modules, or they do not fit the frame or cannot be understood.
    list of str
        Why they cannot, or that the detector moves.
    """
    groups = _groups(fields)
    if not groups:
        return None, _turned_without_modules(fields)
    where = f"the modules at {groups[0].parent.name}"
    try:
        chains = Chains(fields.file)
        modules = [_module(group, chains) for group in groups]
        placement = place(modules, shape)
    except (ValueError, SourceError, *NOT_THERE) as error:
        reason = " ".join(str(error).split())
        return None, [f"{where} are not used: {reason}"]
    return placement, chains.moved


def _groups(fields: Fields) -> list[h5py.Group]:
    for path in fields.places(("{detector}",)):
        try:
            detector = opened(fields.file, path)
        except NOT_THERE:
            continue
        if not isinstance(detector, h5py.Group):
            continue
        names = [name for name in sorted(detector) if _is_module(detector, name)]
        if names:
            return [opened(detector, name) for name in names[:MOST_MODULES]]
    return []


def _is_module(detector: h5py.Group, name: str) -> bool:
    try:
        kind = h5py.h5g.get_objinfo(detector.id, name.encode()).type
        return kind == h5py.h5g.GROUP and "fast_pixel_direction" in opened(detector, name)
    except NOT_THERE:
        return False


def _turned_without_modules(fields: Fields) -> list[str]:
    """Say of a detector that is turned, but does not tell the directions of its pixels."""
    for path in fields.places(("{detector}",)):
        try:
            detector = fields.file[path]
            axis = axis_at(detector, as_text(detector["depends_on"][()]), fields.file)
            turned = Chains(fields.file).to_lab(axis)[:3, :3]
        except (ValueError, *NOT_THERE):
            continue
        angle = angle_to_beam(turned[2, 2])
        if angle > math.radians(0.05):
            return [
                f"the detector at /{path} is turned by {math.degrees(angle):.3g} degrees, but no "
                "module tells the directions of its pixels: it is taken as across the beam"
            ]
    for name in ("two_theta", "two_theta_start"):
        arm = first_values(fields, (f"{{detector}}/goniometer/{name}",), least=-math.inf)
        if arm is not None:
            return swung(float(np.median(arm.values)), arm.place)
    return []


def _module(group: h5py.Group, chains: Chains) -> PlacedModule:
    fast, slow = (opened(group, f"{way}_pixel_direction") for way in ("fast", "slow"))
    steps = [
        chains.to_lab(chains.parent(axis))[:3, :3] @ direction(axis) * length_m(axis)
        for axis in (fast, slow)
    ]
    if are_parallel(vector(steps[0]), vector(steps[1])):
        raise ValueError(f"fast and slow direction of {group.name} are parallel")
    origin, size = (
        tuple(int(n) for n in np.ravel(opened(group, name)[()]))
        for name in ("data_origin", "data_size")
    )
    if not 2 <= len(origin) == len(size) or min(origin) < 0 or min(size) < 1:
        raise ValueError(f"{group.name} has the data origin {origin} and size {size}")
    if "module_offset" in group:
        corner = chains.to_lab(opened(group, "module_offset"))[:3, 3]
    else:
        corner = (chains.to_lab(chains.parent(fast)) @ [*offset_m(fast), 1.0])[:3]
    name = panel_name(group.name.rpartition("/")[2])
    return PlacedModule(name, origin[-3:], size[-3:], corner, *steps)

"""Where an NXmx file places the modules of its detector.

Each ``NXdetector_module`` tells which pixels of the frame it holds and, by chains of
transformations, where in the lab they are. The lab is that of CrystFEL (see `hitfinder.io.nxmx`),
and the origin of a module the outer corner of its first pixel, as DIALS has it.
"""

from __future__ import annotations

import dataclasses
import math
import re

import h5py
import numpy as np
from numpy.typing import NDArray

from hitfinder.errors import SourceError
from hitfinder.geometry.crystfel.text import are_parallel
from hitfinder.geometry.detector import Detector, Panel, Vector
from hitfinder.io.links import NOT_THERE
from hitfinder.io.nexus import Fields, as_text
from hitfinder.io.numbers import first_values
from hitfinder.io.quantities import swung
from hitfinder.io.transformations import axis_at, direction, length_m, offset_m, to_lab

MOST_MODULES = 1024
"""Modules that a detector may have."""

_FLAT_PX = 0.5
"""Distance from where a flat detector across the beam would have a pixel, up to which it is one."""


@dataclasses.dataclass(frozen=True)
class PlacedModule:
    """One module: its place in the stored data, and in the lab.

    Parameters
    ----------
    name : str
        Its group's name.
    origin, size : tuple of int
        First index and number of indices along each axis of a frame's data.
    corner_m : ndarray, shape (3,)
        Outer corner of the first pixel, in m.
    fs_m, ss_m : ndarray, shape (3,)
        One step along fs and ss, in m.
    """

    name: str
    origin: tuple[int, ...]
    size: tuple[int, ...]
    corner_m: NDArray[np.float64]
    fs_m: NDArray[np.float64]
    ss_m: NDArray[np.float64]

    def panel(self, camera_length_m: float, n_ss_of_module: int) -> Panel:
        """Return it as a panel; modules kept apart follow one another along ss."""
        pixel = float(np.linalg.norm(self.fs_m))
        apart = self.origin[0] * n_ss_of_module if len(self.origin) == 3 else 0
        fs, ss = (_vector(step / pixel) for step in (self.fs_m, self.ss_m))
        return Panel(
            self.name,
            fs_start=self.origin[-1],
            ss_start=apart + self.origin[-2],
            n_fs=self.size[-1],
            n_ss=self.size[-2],
            corner_x=float(self.corner_m[0] / pixel),
            corner_y=float(self.corner_m[1] / pixel),
            fs_vector=fs,
            ss_vector=ss,
            pixel_size_m=pixel,
            coffset_m=float(self.corner_m[2] - camera_length_m),
        )


@dataclasses.dataclass(frozen=True)
class DetectorPlacement:
    """A detector as the transformations of its file place it.

    Parameters
    ----------
    panels : tuple of Panel
        Its modules; the camera length is added to their `coffset_m`.
    camera_length_m : float
        Distance along the beam to the plane of the panel that the beam meets, or passes nearest.
    beam_center : tuple of float
        Where the beam meets that panel (fs, ss), in pixels of the frame, corner convention.
    tilt_deg : float
        Largest angle between the beam and the normal of a panel.
    is_flat : bool
        Whether it is one flat detector across the beam, with fs along ±x and ss along ±y, to half
        a pixel.
    """

    panels: tuple[Panel, ...]
    camera_length_m: float
    beam_center: tuple[float, float]
    tilt_deg: float
    is_flat: bool

    def at(self, camera_length_m: float) -> tuple[Panel, ...]:
        """Return the panels with their offsets counted from another camera length."""
        back = self.camera_length_m - camera_length_m
        return tuple(dataclasses.replace(p, coffset_m=p.coffset_m + back) for p in self.panels)


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
        Why they cannot.
    """
    groups = _groups(fields)
    if not groups:
        return None, _turned_without_modules(fields)
    where = f"the modules at {groups[0].parent.name}"
    try:
        modules = [_module(group, fields.file) for group in groups]
        placement = _placement(modules, shape)
    except (ValueError, SourceError, *NOT_THERE) as error:
        reason = " ".join(str(error).split())
        return None, [f"{where} are not used: {reason}"]
    return placement, []


def _groups(fields: Fields) -> list[h5py.Group]:
    for path in fields.places(("{detector}",)):
        try:
            detector = fields.file[path]
        except NOT_THERE:
            continue
        if not isinstance(detector, h5py.Group):
            continue
        names = [name for name in sorted(detector) if _is_module(detector, name)]
        if names:
            return [detector[name] for name in names[:MOST_MODULES]]
    return []


def _is_module(detector: h5py.Group, name: str) -> bool:
    try:
        found = detector[name]
    except NOT_THERE:
        return False
    return isinstance(found, h5py.Group) and "fast_pixel_direction" in found


def _turned_without_modules(fields: Fields) -> list[str]:
    """Say of a detector that is turned, but does not tell the directions of its pixels."""
    for path in fields.places(("{detector}",)):
        try:
            detector = fields.file[path]
            axis = axis_at(detector, as_text(detector["depends_on"][()]), fields.file)
            turned = to_lab(axis, fields.file)[:3, :3]
        except (ValueError, *NOT_THERE):
            continue
        angle = _angle(turned[2, 2])
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


def _module(group: h5py.Group, master: h5py.File) -> PlacedModule:
    fast, slow = group["fast_pixel_direction"], group["slow_pixel_direction"]
    steps = [
        _frame(axis, master)[:3, :3] @ direction(axis) * length_m(axis) for axis in (fast, slow)
    ]
    if are_parallel(_vector(steps[0]), _vector(steps[1])):
        raise ValueError(f"fast and slow direction of {group.name} are parallel")
    origin, size = (
        tuple(int(n) for n in np.ravel(group[name][()])) for name in ("data_origin", "data_size")
    )
    if not 2 <= len(origin) == len(size) or min(origin) < 0 or min(size) < 1:
        raise ValueError(f"{group.name} has the data origin {origin} and size {size}")
    if "module_offset" in group:
        corner = to_lab(group["module_offset"], master)[:3, 3]
    else:
        corner = (_frame(fast, master) @ [*offset_m(fast), 1.0])[:3]
    name = re.sub(r"[^\w.-]", "_", group.name.rpartition("/")[2])
    # CrystFEL takes lines that begin so for something else than a panel.
    name = f"m_{name}" if re.match("bad|group|rigid_group", name) else name
    return PlacedModule(name, origin[-3:], size[-3:], corner, *steps)


def _frame(axis: h5py.Dataset, master: h5py.File) -> NDArray[np.float64]:
    """Return what takes a point of the frame that an axis is given in to the lab."""
    return to_lab(axis_at(axis, as_text(axis.attrs.get("depends_on")), master), master)


def _vector(values: NDArray[np.float64]) -> Vector:
    return float(values[0]), float(values[1]), float(values[2])


def _placement(modules: list[PlacedModule], shape: tuple[int, int]) -> DetectorPlacement | None:
    if len(modules) == 1 and modules[0].size[-2:] == shape[::-1] != shape:
        # Some writers give the size as columns and rows.
        modules = [dataclasses.replace(modules[0], size=shape)]
    rows = max(module.size[-2] for module in modules)
    panels = tuple(module.panel(0.0, rows) for module in modules)
    detector = Detector("placed", shape, panels)
    center = detector.beam_center
    if center is None:
        raise ValueError("all of them are parallel to the beam")
    hit = min(
        (p for p in panels if p.beam_position()), key=lambda p: (p.beam_position() or ((), 0.0))[1]
    )
    length = float(hit.positions(np.array(center[0]), np.array(center[1]), 0.0)[2])
    if not length:
        return None  # it was never set
    if not 0 < length < math.inf:
        raise ValueError(f"the beam meets the detector {1e3 * length:g} mm behind the sample")
    normals = [np.cross(module.fs_m, module.ss_m) for module in modules]
    tilt = max(_angle(float(n[2] / np.linalg.norm(n))) for n in normals)
    panels = tuple(dataclasses.replace(p, coffset_m=p.coffset_m - length) for p in panels)
    flat = _departs_px(panels, length, center) <= _FLAT_PX
    return DetectorPlacement(panels, length, center, math.degrees(tilt), flat)


def _angle(cosine: float) -> float:
    """Return the angle between an axis and the beam, whichever way either goes."""
    return math.acos(min(abs(cosine), 1.0))


def _departs_px(panels: tuple[Panel, ...], length: float, center: tuple[float, float]) -> float:
    """Return how far pixels are seen from where a flat detector across the beam has them.

    fs and ss both turned round change nothing of what the frames mean.
    """
    pixel, worst = panels[0].pixel_size_m, 0.0
    sign = 1.0 if panels[0].fs_vector[0] >= 0 else -1.0
    for panel in panels:
        ends = [
            (panel.fs_start + fs, panel.ss_start + ss)
            for fs in (0, panel.n_fs)
            for ss in (0, panel.n_ss)
        ]
        fs, ss = np.array(ends, float).T
        x, y, z = panel.positions(fs, ss, length)
        if z.min() <= 0:
            return math.inf
        seen = np.hypot(
            x * length / z - sign * pixel * (fs - center[0]),
            y * length / z - sign * pixel * (ss - center[1]),
        )
        worst = max(worst, float(seen.max()) / pixel)
    return worst

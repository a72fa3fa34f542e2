"""Detectors whose modules are placed in the lab, as files of many programs have it.

The lab is that of CrystFEL: z along the beam, y up, x completing a right-handed system.
"""

from __future__ import annotations

import dataclasses
import math
import re
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from hitfinder.geometry.detector import Detector, Panel, Vector

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
        fs, ss = (vector(step / pixel) for step in (self.fs_m, self.ss_m))
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


def place(modules: Sequence[PlacedModule], shape: tuple[int, int]) -> DetectorPlacement | None:
    """Make one detector of its modules.

    Parameters
    ----------
    modules : sequence of PlacedModule
        All of them.
    shape : tuple of int
        Rows and columns of a frame.

    Returns
    -------
    DetectorPlacement or None
        None if the distance is 0: it was never set.

    Raises
    ------
    ValueError
        If they do not fit the frame, or the beam does not meet their planes behind the sample.
    """
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
        return None
    if not 0 < length < math.inf:
        raise ValueError(f"the beam meets the detector {1e3 * length:g} mm behind the sample")
    normals = [np.cross(module.fs_m, module.ss_m) for module in modules]
    tilt = max(angle_to_beam(float(n[2] / np.linalg.norm(n))) for n in normals)
    panels = tuple(dataclasses.replace(p, coffset_m=p.coffset_m - length) for p in panels)
    flat = _departs_px(panels, length, center) <= _FLAT_PX
    return DetectorPlacement(panels, length, center, math.degrees(tilt), flat)


def angle_to_beam(cosine: float) -> float:
    """Return the angle between an axis and the beam, whichever way either goes."""
    return math.acos(min(abs(cosine), 1.0))


def panel_name(text: str) -> str:
    """Return a module's name as one that a panel of a CrystFEL geometry file can have."""
    name = re.sub(r"[^\w.-]", "_", text)
    # CrystFEL takes lines that begin so for something else than a panel.
    return f"m_{name}" if re.match("bad|group|rigid_group", name) else name


def vector(values: NDArray[np.float64]) -> Vector:
    """Return an array of three numbers as what panels have."""
    return float(values[0]), float(values[1]), float(values[2])


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

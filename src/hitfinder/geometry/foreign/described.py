"""What a geometry file says that is not CrystFEL's, whatever program it is for."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable
from typing import ClassVar

import numpy as np
from numpy.typing import ArrayLike, NDArray

from hitfinder.errors import GeometryError
from hitfinder.geometry.placed import DetectorPlacement, PlacedModule, place

Shape = tuple[int, int]


@dataclasses.dataclass(frozen=True)
class DescribedDetector:
    """A detector in the lab, as a geometry file of pyFAI, DIALS or XDS has it.

    Parameters
    ----------
    path : str
        The file.
    modules : callable
        Takes rows and columns of a frame, gives its modules, in the lab of `hitfinder.geometry`.
    photon_energy_ev : float, optional
        Photon energy, in eV.
    polarisation : float, optional
        Fraction of the beam polarised along x.
    adu_per_photon : float, optional
        Stored value of one photon.
    rectangles : tuple of tuple of int
        Pixels to be ignored: first and end row, first and end column of the stored frame.
    warnings : tuple of str
        What should be said of it.
    frame : tuple of int, optional
        Rows and columns of a frame, if the file tells them.
    saturation : float, optional
        Stored value from which on pixels are saturated.
    """

    path: str
    modules: Callable[[Shape], tuple[PlacedModule, ...]]
    photon_energy_ev: float | None = None
    polarisation: float | None = None
    adu_per_photon: float | None = None
    rectangles: tuple[tuple[int, int, int, int], ...] = ()
    warnings: tuple[str, ...] = ()
    frame: Shape | None = None
    saturation: float | None = None
    layout: ClassVar[None] = None
    """Where the frames are in their files: of that these programs tell nothing."""

    def placement(self, shape: Shape) -> DetectorPlacement:
        """Place the detector whose frames have a shape.

        Raises
        ------
        GeometryError
            If they do not fit, or the beam does not meet the detector.
        """
        modules = self.modules(shape)
        rows = max(module.size[0] for module in modules)
        ends = [
            (module.origin[0] * rows if len(module.origin) == 3 else 0)
            + module.origin[-2]
            + module.size[0]
            for module in modules
        ]
        reached = max(ends), max(module.origin[-1] + module.size[1] for module in modules)
        told = self.frame or (reached if len(modules) == 1 else None)
        needed = told or reached
        if needed[0] > shape[0] or needed[1] > shape[1] or (told is not None and told != shape):
            what = (
                f"its frames have {needed[0]} x {needed[1]} pixels, these {shape[0]} x {shape[1]}"
            )
            raise GeometryError(what, self.path)
        try:
            placed = place(modules, shape)
        except ValueError as error:
            raise GeometryError(str(error), self.path) from None
        if placed is None:
            raise GeometryError("the distance of the detector is 0", self.path)
        return placed

    def mask(self, shape: Shape) -> NDArray[np.bool_]:
        """Return True where a pixel is to be ignored, shape of a frame."""
        bad = np.zeros(shape, bool)
        for first_ss, end_ss, first_fs, end_fs in self.rectangles:
            bad[max(first_ss, 0) : max(end_ss, 0), max(first_fs, 0) : max(end_fs, 0)] = True
        return bad


def along_beam(beam: ArrayLike) -> NDArray[np.float64]:
    """Return the rotation from a lab of any orientation to the one whose z is the beam.

    Its second axis stays up, as far as the beam lets it.

    Parameters
    ----------
    beam : array-like, shape (3,)
        The way the beam travels.

    Raises
    ------
    ValueError
        If it is no direction.
    """
    z = np.asarray(beam, float)
    length = np.linalg.norm(z)
    if not 0 < length < math.inf:
        raise ValueError("the beam has no direction")
    z = z / length
    up = np.array([0.0, 1.0, 0.0]) if abs(z[1]) < 0.9 else np.array([0.0, 0.0, 1.0])
    y = up - (up @ z) * z
    y /= np.linalg.norm(y)
    return np.array([np.cross(y, z), y, z])

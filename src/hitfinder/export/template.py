"""A CrystFEL geometry file to start from, for a detector that nobody has described yet."""

from __future__ import annotations

import dataclasses
import os
import re
from pathlib import Path

from hitfinder.atomic import replacing
from hitfinder.errors import OutputError
from hitfinder.geometry.crystfel.writer import geom_lines
from hitfinder.geometry.detector import Detector
from hitfinder.geometry.geometry import Geometry
from hitfinder.geometry.layout import Dim

CHANGE = "CHANGE"
"""What is written beside values that are not known."""

_STACK: tuple[Dim, ...] = ("%", "ss", "fs")


@dataclasses.dataclass(frozen=True, eq=False)
class Template:
    """What is known of a detector and its files, as far as it is.

    Parameters
    ----------
    detector : Detector
        Frame, panels, gaps; the beam where it is known to be.
    photon_energy_ev, camera_length_m : float, optional
        Photon energy in eV, distance in m.
    beam_is_known : bool
        Whether the beam centre is; the middle of the frame otherwise.
    data_path : str
        HDF5 path of the frames.
    dims : tuple
        Axes of that dataset.
    mask_path : str, optional
        HDF5 path of a mask.
    mask_good_bits : int
        Bits of it that do not mark a bad pixel; all others do.
    are_photons : bool
        Whether the stored values are known to count photons.
    """

    detector: Detector
    photon_energy_ev: float | None = None
    camera_length_m: float | None = None
    beam_is_known: bool = False
    data_path: str = "/entry/data/data"
    dims: tuple[Dim, ...] = _STACK
    mask_path: str | None = None
    mask_good_bits: int = 0
    are_photons: bool = True

    def text(self) -> str:
        """Return the geometry file; what is not known is left out, with a remark."""
        geometry = Geometry(
            self.detector, self.camera_length_m or 0.1, self.photon_energy_ev or 10_000.0
        )
        lines = geom_lines(geometry, data_path=self.data_path, dims=self.dims, mask_path=None)
        if self.mask_path:
            at = next(i for i, line in enumerate(lines) if line.startswith("dim0"))
            bad = 0xFFFFFFFF & ~self.mask_good_bits
            mask = [f"mask = {self.mask_path}", "mask_good = 0x0", f"mask_bad = {bad:#x}"]
            lines[at:at] = mask
        told = [self._remarked(line) for line in lines]
        name = self.detector.name
        head = [
            f"; {name}: a geometry file to start from, written by hitfinder.",
            f"; Lines with {CHANGE} need a look; take the leading ; off to use one.",
            "; corner_x, corner_y: from the beam to the first pixel's outer corner, in pixels.",
            "; Add panels, bad regions (bad...) and flags as crystfel_geometry(5) describes.",
        ]
        return "\n".join([*head, *told]).rstrip() + "\n"

    def _remarked(self, line: str) -> str:
        if line.startswith("photon_energy = ") and self.photon_energy_ev is None:
            return f"; photon_energy = 10000  ; {CHANGE}: eV"
        if line.startswith("clen = ") and self.camera_length_m is None:
            return f"; clen = 0.1  ; {CHANGE}: camera length in m"
        if line.startswith("adu_per_photon"):
            remark = f"{line}  ; {CHANGE}"
            return f"{remark} if not" if self.are_photons else f"; {remark}: stored units"
        if re.match(r"\S+/corner_[xy] = ", line) and not self.beam_is_known:
            return f"{line}  ; {CHANGE}: the middle of the frame is assumed"
        return line

    def write(self, path: str | os.PathLike[str], overwrite: bool = False) -> None:
        """Write the file.

        Raises
        ------
        OutputError
            If it exists and may not be replaced, or cannot be written.
        """
        if Path(path).exists() and not overwrite:
            raise OutputError("the file exists", str(path), "Use --overwrite to replace it.")
        with replacing(path) as part:
            part.write_text(self.text(), encoding="utf-8")

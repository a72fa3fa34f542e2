"""What the headers of image files say of beam and detector, as Pilatus and Eiger write them."""

from __future__ import annotations

import math
import re

from hitfinder.io.quantities import LENGTHS_M, PIXELS, WAVELENGTHS_A, normal, swung
from hitfinder.io.source import Metadata
from hitfinder.units import energy_from_wavelength

NUMBER = r"([-+0-9.eE]+)"
_HEIGHT = r"Pixel_size[ \t:=]+[-+0-9.eE]+[ \t]*[^\W\d_]*[ \t]*x"
"""What stands before the edge of a pixel along ss: that along fs."""


class ImageHeader:
    """The lines of a header, such as ``# Wavelength 0.97625 A``; an equals sign may stand in them.

    Parameters
    ----------
    text : str
        The header.
    """

    def __init__(self, text: str) -> None:
        self._text = text

    def metadata(self, underload: float | None) -> Metadata:
        """Return what the header says.

        Parameters
        ----------
        underload : float, optional
            Counts below which a pixel has no value.
        """
        wavelength = self._positive("Wavelength", WAVELENGTHS_A) or self._tagged_wavelength()
        pixel = self._positive("Pixel_size", LENGTHS_M)
        height = self._positive(_HEIGHT, LENGTHS_M) or pixel
        swing = self._said("Detector_2theta", {"": 1.0, "deg": 1.0, "degree": 1.0})
        named = re.search(r"# Detector:? ([^\r\n]*)", self._text)
        return Metadata(
            photon_energy_ev=energy_from_wavelength(wavelength) if wavelength else None,
            camera_length_m=self._positive("Detector_distance", LENGTHS_M),
            beam_center=self._beam_center(pixel, height),
            pixel_size_m=pixel,
            pixel_height_m=height if height != pixel else None,
            saturation=self._positive("Count_cutoff", {"": 1.0, "counts": 1.0}),
            underload=underload,
            detector=named[1].strip() if named else "",
            notes=tuple(swung(next(iter(swing), None), "Detector_2theta of the header")),
        )

    def _said(self, field: str, units: dict[str, float], values: str = NUMBER) -> list[float]:
        """Return the numbers of a line, in base units; none if it is not understood.

        Parameters
        ----------
        field : str
            Name of the line.
        units : dict
            Worth of each unit that the line may have.
        values : str
            Pattern of the numbers.
        """
        line = rf"# {field}[ \t:=]+{values}[ \t]*([^\W\d_]*)"
        found = re.search(line, self._text)
        unit = "" if found is None else normal(found[found.re.groups])
        if found is None or unit not in units:
            return []
        try:
            numbers = [float(text) for text in found.groups()[:-1]]
        except ValueError:
            return []
        return [number * units[unit] for number in numbers]

    def _positive(self, field: str, units: dict[str, float]) -> float | None:
        """Return a quantity that has to be positive; None if it is not."""
        value = next(iter(self._said(field, units)), math.nan)
        return value if 0 < value < math.inf else None

    def _tagged_wavelength(self) -> float | None:
        """Return the wavelength in Å from where a full imgCIF header has it."""
        tag = rf"_diffrn_radiation_wavelength\.wavelength\s+{NUMBER}"
        found = re.search(tag, self._text)
        try:
            value = float(found[1]) if found else math.nan
        except ValueError:
            return None
        return value if 0 < value < math.inf else None

    def _beam_center(
        self, pixel_size_m: float | None, pixel_height_m: float | None
    ) -> tuple[float, float] | None:
        """Return where the beam meets the frame, (fs, ss) in pixels; (0, 0) was never set."""
        pair = rf"\(?{NUMBER},\s*{NUMBER}\)?"
        center = self._said("Beam_xy", {"": 1.0, **PIXELS}, pair)
        if not center and pixel_size_m is not None and pixel_height_m is not None:
            lengths = self._said("Beam_xy", LENGTHS_M, pair)
            edges = (pixel_size_m, pixel_height_m)
            center = [m / edge for m, edge in zip(lengths, edges, strict=False)]
        if not center or not any(center) or not all(map(math.isfinite, center)):
            return None
        return center[0], center[1]

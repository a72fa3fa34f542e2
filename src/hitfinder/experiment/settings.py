"""Where the pixels of a job are, as the user says it."""

from __future__ import annotations

import dataclasses
import math

_USUAL = {
    "photon_energy_ev": (100.0, 1e6, "eV", 1e3),
    "camera_length_m": (1e-3, 20.0, "m", 1e3),
    "pixel_size_um": (1.0, 2000.0, "µm", 1e3),
}
"""What values are taken for: least, most, unit, and how much the next unit in use differs."""


def _doubt(name: str, value: float) -> str:
    """Ask about a value that is most likely in another unit; empty if it is not."""
    low, high, unit, step = _USUAL.get(name, (0.0, math.inf, "", 1.0))
    if low <= value <= high:
        return ""
    meant = next((v for v in (value / step, value * step) if low <= v <= high), None)
    asked = "" if meant is None else f"; did you mean {meant:g}?"
    return f"{name} {value:g} {unit} is out of the ordinary{asked}"


@dataclasses.dataclass(frozen=True)
class GeometrySettings:
    """Where the pixels are. What is left out is taken from the geometry file or the frames' files.

    Parameters
    ----------
    file : str, optional
        CrystFEL geometry file.
    detector : str, optional
        Name of a detector, if there is no geometry file.
    photon_energy_ev : float, optional
        Photon energy, in eV.
    camera_length_m : float, optional
        Distance from sample to detector, in m.
    beam_center : tuple of float, optional
        Where the beam meets the frame (fs, ss), in pixels, first pixel's centre at 0.5.
    polarisation : float, optional
        Fraction of the beam polarised along x: 1 horizontal, 0.5 none.
    pixel_size_um : float, optional
        Pixel edge, in µm, of one flat panel, if neither a geometry file nor a detector is named.
    adu_per_photon : float, optional
        Stored value of one photon.
    mask : str, optional
        File of a mask to add.
    """

    file: str | None = None
    detector: str | None = None
    photon_energy_ev: float | None = None
    camera_length_m: float | None = None
    beam_center: tuple[float, float] | None = None
    polarisation: float | None = None
    pixel_size_um: float | None = None
    adu_per_photon: float | None = None
    mask: str | None = None

    def __post_init__(self) -> None:
        if self.file is not None and self.detector is not None:
            raise ValueError("give a geometry file or a detector's name, not both")
        if self.pixel_size_um is not None and (self.file or self.detector):
            raise ValueError("a pixel size goes with neither a geometry file nor a detector")
        for name in ("photon_energy_ev", "camera_length_m", "pixel_size_um", "adu_per_photon"):
            value = getattr(self, name)
            if value is not None and not 0 < value < math.inf:
                raise ValueError(f"{name} must be positive and finite, got {value}")
            doubt = "" if value is None else _doubt(name, value)
            if doubt:
                raise ValueError(doubt)
        if self.beam_center is not None and not all(map(math.isfinite, self.beam_center)):
            raise ValueError(f"beam_center must be finite, got {self.beam_center}")
        if self.polarisation is not None and not 0 <= self.polarisation <= 1:
            raise ValueError(f"polarisation must be in 0..1, got {self.polarisation}")

"""Where the pixels of a job are, as the user says it."""

from __future__ import annotations

import dataclasses
import math

from hitfinder.units import unusual


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
        File of a mask to add; ``good:`` and the file if values other than 0 are good there.
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
            doubt = "" if value is None else unusual(name, value)
            if doubt:
                raise ValueError(doubt)
        if self.beam_center is not None and not all(map(math.isfinite, self.beam_center)):
            raise ValueError(f"beam_center must be finite, got {self.beam_center}")
        if self.beam_center is not None and all(0 < value < 1 for value in self.beam_center):
            raise ValueError(
                f"beam_center {self.beam_center} is in the frame's first pixel; it is counted in "
                "pixels, not in a unit of length"
            )
        if self.polarisation is not None and not 0 <= self.polarisation <= 1:
            raise ValueError(f"polarisation must be in 0..1, got {self.polarisation}")

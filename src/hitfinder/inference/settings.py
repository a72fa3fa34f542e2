"""Settings of a job, as a TOML file has them."""

from __future__ import annotations

import dataclasses

from hitfinder.inference.finder import FinderSettings


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
    mask : str, optional
        File of a mask to add.
    """

    file: str | None = None
    detector: str | None = None
    photon_energy_ev: float | None = None
    camera_length_m: float | None = None
    beam_center: tuple[float, float] | None = None
    polarisation: float | None = None
    mask: str | None = None

    def __post_init__(self) -> None:
        if self.file is not None and self.detector is not None:
            raise ValueError("give a geometry file or a detector's name, not both")
        for name in ("photon_energy_ev", "camera_length_m"):
            value = getattr(self, name)
            if value is not None and not value > 0:
                raise ValueError(f"{name} must be positive, got {value}")
        if self.polarisation is not None and not 0 <= self.polarisation <= 1:
            raise ValueError(f"polarisation must be in 0..1, got {self.polarisation}")


@dataclasses.dataclass(frozen=True)
class OutputSettings:
    """What is written besides the tables.

    Parameters
    ----------
    csv : bool
        Write the tables as CSV too.
    copy_frames : bool
        Copy the hits into ``hits.cxi`` instead of pointing to the source files.
    gallery : int
        Best hits, and nearest misses, shown in the report.
    """

    csv: bool = False
    copy_frames: bool = False
    gallery: int = 12

    def __post_init__(self) -> None:
        if self.gallery < 0:
            raise ValueError(f"gallery must not be negative, got {self.gallery}")


@dataclasses.dataclass(frozen=True)
class JobSettings:
    """Everything that can be set about a job.

    Parameters
    ----------
    geometry : GeometrySettings
        Where the pixels are.
    finder : FinderSettings
        How peaks are found and hits decided.
    output : OutputSettings
        What is written.
    workers : int, optional
        Processes; as many as there are cores if None.
    hot_pixel_frames : int
        Frames from which hot pixels are learnt; 0 to learn none.
    estimate : bool
        Estimate photon energy and camera length from the frames.
    """

    geometry: GeometrySettings = dataclasses.field(default_factory=GeometrySettings)
    finder: FinderSettings = dataclasses.field(default_factory=FinderSettings)
    output: OutputSettings = dataclasses.field(default_factory=OutputSettings)
    workers: int | None = None
    hot_pixel_frames: int = 64
    estimate: bool = True

    def __post_init__(self) -> None:
        if self.workers is not None and self.workers < 1:
            raise ValueError(f"workers must be at least 1, got {self.workers}")
        if self.hot_pixel_frames < 0:
            raise ValueError(f"hot_pixel_frames must not be negative, got {self.hot_pixel_frames}")

"""Settings of a job, as a TOML file has them."""

from __future__ import annotations

import dataclasses
import math
from typing import Literal


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
            if value is not None and not 0 < value < math.inf:
                raise ValueError(f"{name} must be positive and finite, got {value}")
        if self.beam_center is not None and not all(map(math.isfinite, self.beam_center)):
            raise ValueError(f"beam_center must be finite, got {self.beam_center}")
        if self.polarisation is not None and not 0 <= self.polarisation <= 1:
            raise ValueError(f"polarisation must be in 0..1, got {self.polarisation}")


@dataclasses.dataclass(frozen=True)
class FinderSettings:
    """What the user may choose; the defaults suit every background and flux.

    Parameters
    ----------
    false_peaks : float
        False peaks allowed per blank frame; of the likelihood finder also their share in any frame.
    peak_probability : float
        Probability from which peaks are kept in a hit (network). One with three to five of these is
        filled up to six with the likeliest others, down to a third of it.
    false_hits : float
        Share of blank frames that may be called hits.
    hit_threshold : float, optional
        Least score of a hit; by default minus log10 of `false_hits`.
    min_peaks : int
        Least number of peaks of a hit.
    finder : {"network", "likelihood"}
        Whether candidates are judged by a trained network, or by their likelihood alone.
    model : str
        Trained model: name of one that comes with the package, or a folder.
    device : str
        Where the network runs: ``cpu``, on the candidates; any other of PyTorch's devices, such
        as ``cuda``, on every pixel besides.
    """

    false_peaks: float = 0.02
    peak_probability: float = 0.3
    false_hits: float = 0.01
    hit_threshold: float | None = None
    min_peaks: int = 0
    finder: Literal["network", "likelihood"] = "network"
    model: str = "low-flux"
    device: str = "cpu"

    def __post_init__(self) -> None:
        for name in ("false_peaks", "peak_probability", "false_hits"):
            if not 0 < getattr(self, name) < 1:
                raise ValueError(f"{name} must be between 0 and 1, got {getattr(self, name)}")
        if self.hit_threshold is not None and not math.isfinite(self.hit_threshold):
            raise ValueError(f"hit_threshold must be finite, got {self.hit_threshold}")
        if self.min_peaks < 0:
            raise ValueError(f"min_peaks must not be negative, got {self.min_peaks}")

    @property
    def least_score(self) -> float:
        """Score a frame needs to be a hit."""
        return -math.log10(self.false_hits) if self.hit_threshold is None else self.hit_threshold


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

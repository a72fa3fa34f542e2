"""Settings of a job, as a TOML file has them."""

from __future__ import annotations

import dataclasses

from hitfinder.experiment.settings import GeometrySettings
from hitfinder.finding.settings import FinderSettings


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

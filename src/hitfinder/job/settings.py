"""Settings of a job, as a TOML file has them, and as keyword arguments."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Mapping, Sequence
from typing import Any, TypedDict

from hitfinder import config
from hitfinder.errors import ConfigError
from hitfinder.experiment.settings import GeometrySettings
from hitfinder.finding.settings import FinderSettings
from hitfinder.io.frame_choice import FrameChoice, choice_text, slices_of
from hitfinder.plugins import path_of

USUAL, TABLES = "usual", "tables"
USUAL_OUTPUTS = (TABLES, "lst", "cxi", "report")


@dataclasses.dataclass(frozen=True)
class OutputSettings:
    """What is written.

    Parameters
    ----------
    outputs : tuple of str
        Outputs to write: names of `hitfinder.outputs`, or ``module:Class``; ``usual`` stands for
        all that come with hitfinder. The tables are written in any case.
    csv : bool
        Write the tables as CSV too.
    copy_frames : bool
        Copy the hits into ``hits.cxi`` instead of pointing to the source files.
    all_peaks : bool
        Put peaks that are likelier false than true into ``hits.cxi`` too.
    gallery : int
        Best hits, and nearest misses, shown in the report.
    """

    outputs: tuple[str, ...] = (USUAL,)
    csv: bool = False
    copy_frames: bool = False
    all_peaks: bool = False
    gallery: int = 12

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the outputs, each once, the tables first."""
        chosen = [TABLES]
        for name in self.outputs:
            chosen += USUAL_OUTPUTS if name == USUAL else [name]
        return tuple(dict.fromkeys(chosen))

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
    frames : str, optional
        Frames to take: numbers and slices as in Python, with commas between, such as
        ``0:2000:10``; all if None.
    limit : int, optional
        Take no more frames than so many, the first.
    reader : str, optional
        What opens the files: a name of `hitfinder.readers`, or ``module:Class``; the first that
        can if None.
    workers : int, optional
        Processes; as many as there are cores if None.
    hot_pixel_frames : int
        Frames from which it is learnt what is static; 0 to learn nothing.
    estimate : bool
        Estimate photon energy and camera length from the frames.
    """

    geometry: GeometrySettings = dataclasses.field(default_factory=GeometrySettings)
    finder: FinderSettings = dataclasses.field(default_factory=FinderSettings)
    output: OutputSettings = dataclasses.field(default_factory=OutputSettings)
    frames: str | None = None
    limit: int | None = None
    reader: str | None = None
    workers: int | None = None
    hot_pixel_frames: int = 64
    estimate: bool = True

    def __post_init__(self) -> None:
        if self.frames is not None:
            slices_of(self.frames)
        for name in ("limit", "workers"):
            value = getattr(self, name)
            if value is not None and value < 1:
                raise ValueError(f"{name} must be at least 1, got {value}")
        if self.hot_pixel_frames < 0:
            raise ValueError(f"hot_pixel_frames must not be negative, got {self.hot_pixel_frames}")


class RunOptions(TypedDict, total=False):
    """Settings of a job as keyword arguments of `hitfinder.run`; None leaves one as it is.

    `GeometrySettings`, `FinderSettings`, `OutputSettings` and `JobSettings` say what they mean.
    """

    detector: str | None
    photon_energy_ev: float | None
    camera_length_m: float | None
    beam_center: tuple[float, float] | None
    polarisation: float | None
    pixel_size_um: float | None
    adu_per_photon: float | None
    mask: str | os.PathLike[str] | None
    finder: str | type | None
    finder_options: Mapping[str, str] | None
    model: str | os.PathLike[str] | None
    false_hits: float | None
    false_peaks: float | None
    peak_probability: float | None
    fill_from: int | None
    fill_to: int | None
    fill_share: float | None
    hit_threshold: float | None
    min_peaks: int | None
    frames: FrameChoice | None
    limit: int | None
    reader: str | type | None
    outputs: Sequence[str | type] | None
    csv: bool | None
    copy_frames: bool | None
    all_peaks: bool | None
    gallery: int | None
    workers: int | None
    hot_pixel_frames: int | None
    estimate: bool | None


_ANOTHER_NAME = {("geometry", "file"): "geometry", ("finder", "options"): "finder_options"}
"""Settings, by table and name, whose options have another name."""


def _places() -> dict[str, tuple[str, str]]:
    """Return the table, empty for the outermost, and the name of the setting of each option."""
    places = {}
    for field in dataclasses.fields(JobSettings):
        table = getattr(JobSettings(), field.name)
        if not dataclasses.is_dataclass(table):
            places[field.name] = ("", field.name)
            continue
        for inner in dataclasses.fields(table):
            place = field.name, inner.name
            places[_ANOTHER_NAME.get(place, inner.name)] = place
    return places


def job_settings(
    settings: JobSettings | str | os.PathLike[str] | None, options: Mapping[str, Any]
) -> JobSettings:
    """Put settings together: an object or a TOML file, then single options.

    Parameters
    ----------
    settings : JobSettings or path-like, optional
        To start from; the defaults if not given.
    options : mapping
        As `RunOptions`, and the file of the geometry as ``geometry``.

    Raises
    ------
    ConfigError
        If an option is unknown, or a value is of the wrong type or impossible.
    """
    if settings is None:
        settings = JobSettings()
    elif not isinstance(settings, JobSettings):
        settings = config.load(settings, JobSettings)
    places, tables = _places(), dict[str, dict[str, Any]]()
    for name, value in options.items():
        if name not in places:
            raise ConfigError(f"unknown setting {name!r}", hint=config.suggestion(name, places))
        if name in ("finder", "reader"):
            value = path_of(value)
        elif name == "frames" and value is not None:
            value = choice_text(value)
        elif name == "outputs" and value is not None:
            value = [value] if isinstance(value, (str, type)) else list(value)
            value = [path_of(item) for item in value]
        elif name == "finder_options" and value is not None:
            value = {**settings.finder.options, **value}
        table, inner = places[name]
        tables.setdefault(table, {})[inner] = value
    outermost = tables.pop("", {})
    nested = {t: config.override(getattr(settings, t), **given) for t, given in tables.items()}
    return config.override(settings, **outermost, **nested)


def settings_of_run(flat: Mapping[str, Any], where: str) -> JobSettings:
    """Return the settings that ``run.json`` lists.

    Parameters
    ----------
    flat : mapping
        Settings by dotted name.
    where : str
        The file, for messages.

    Raises
    ------
    ConfigError
        If they are none.
    """
    tables: dict[str, Any] = {}
    for name, value in flat.items():
        *inner, last = name.split(".")
        table = tables
        for part in inner:
            table = table.setdefault(part, {})
        if value is not None:
            table[last] = value
    return config.build(JobSettings, tables, where)

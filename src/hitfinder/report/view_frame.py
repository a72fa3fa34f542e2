"""A frame of a file or of a run, with its peaks, as a picture."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hitfinder import config
from hitfinder.errors import ConfigError, OutputError, SourceError
from hitfinder.experiment.experiment import Experiment
from hitfinder.experiment.open import open_experiment
from hitfinder.experiment.settings import GeometrySettings
from hitfinder.finding.registry import find_peaks
from hitfinder.io.lst import parse_line
from hitfinder.io.source import FrameRef, FrameSource
from hitfinder.report import numbers
from hitfinder.report.frame_figure import Zoom, draw_frame
from hitfinder.report.peak_sheet import draw_sheet
from hitfinder.report.report import STATUS_MEANING
from hitfinder.results.chunk import OK
from hitfinder.results.run import Run


@dataclasses.dataclass(frozen=True)
class FrameView:
    """What was drawn.

    Attributes
    ----------
    path : Path
        The picture.
    found : str
        What is said of the peaks.
    n_shown : int
        Peaks in what is shown.
    """

    path: Path
    found: str
    n_shown: int


def view_frame(
    file: str | None,
    event: str | None = None,
    *,
    number: int | None = None,
    run: Path | None = None,
    zoom: tuple[float, float, float] | None = None,
    zoom_peak: tuple[int, float] | None = None,
    sheet: bool = False,
    out: Path | None = None,
    overwrite: bool = False,
    reader: str | None = None,
    geometry: Mapping[str, Any],
) -> FrameView:
    """Draw a frame of a file, or of a run, with its peaks circled.

    Parameters
    ----------
    file : str, optional
        The file, or a line of a CrystFEL list; needed unless `run` and `number` are given.
    event : str, optional
        The frame in the file, as in a CrystFEL list.
    number : int, optional
        The frame in the file, or without a file in the run.
    run : Path, optional
        Folder of a run, whose peaks and geometry are taken.
    zoom : tuple of float, optional
        The part to show: fs and ss of its centre, and its side, in pixels.
    zoom_peak : tuple of int and float, optional
        The part to show: number of the peak at its centre, from 0, and its side, in pixels.
    sheet : bool
        Show each peak by itself, with its number.
    out : Path, optional
        File to write, whose ending says the format; a PNG named after the file by default.
    overwrite : bool
        Replace the file.
    reader : str, optional
        Reader of the file.
    geometry : mapping
        Options that say where the pixels are, which come before those of the run; None where not
        given.

    Raises
    ------
    HitfinderError
        If there is no such frame, it cannot be read, or the picture cannot be written.
    """
    past = None if run is None else Run(run)
    row = number if file is None else None
    if file is not None:
        ref = FrameRef(file, event) if event is not None else parse_line(file)
    elif past is not None and row is not None:
        ref = past.ref(row)
    else:
        raise ConfigError("name a file, or a run and a frame")
    experiment = _opened(ref.file, past, geometry, reader)
    with experiment.stored as stored:
        index = _index(stored, ref, None if file is None else number)
        counts = np.asarray(experiment.source.read(index))
        ref = stored.ref(index)
    path = out or Path(f"{Path(ref.file).stem}_{index}.png")
    if path.exists() and not overwrite:
        raise OutputError("the file exists", str(path), "Use --overwrite, or --out FILE.")
    if past is not None:
        row = past.row(ref) if row is None else row
        peaks, found = past.peaks_of(row), _of(past, row)
    else:
        result = find_peaks(counts, experiment.geometry)
        peaks, score = result.peaks, numbers.number(result.score)
        found = f"{_counted(len(peaks))}, score {score}"
    title = f"{ref.file} {ref.event}".rstrip() + f"\n{found}"
    if zoom_peak is not None:
        zoom = _around(peaks, *zoom_peak)
    if sheet:
        shown = draw_sheet(path, counts, experiment.geometry, peaks, title)
        return FrameView(path, found, shown)
    try:
        area = Zoom(*zoom) if zoom else None
        shown = draw_frame(path, counts, experiment.geometry, peaks, title, area)
    except ValueError as error:
        raise ConfigError(str(error), "--zoom") from error
    return FrameView(path, found, shown)


def _counted(n: int) -> str:
    return "1 peak" if n == 1 else f"{n} peaks"


def _of(past: Run, row: int) -> str:
    """Say what a run has of a frame: its peaks, or why there are none."""
    status = past.frames["status"][row].as_py()
    if status != OK:
        why = STATUS_MEANING.get(status, status)
        return f"the run has no result for this frame ({status}: {why})"
    return f"{_counted(past.frames['n_peaks'][row].as_py())} of the run"


def _around(peaks: NDArray[np.void], number: int, side: float) -> tuple[float, float, float]:
    """Return the part of the frame around a peak."""
    if number >= len(peaks):
        what = f"there is no peak {number}: the frame has {_counted(len(peaks))}, counted from 0"
        raise ConfigError(what, "--zoom")
    if not side > 0:
        raise ConfigError("the size must be positive", "--zoom")
    return float(peaks["fs"][number]), float(peaks["ss"][number]), side


def _opened(
    file: str, past: Run | None, geometry: Mapping[str, Any], reader: str | None
) -> Experiment:
    """Open a file as the run had it, if there is one, but for what is given."""
    settings = GeometrySettings() if past is None else past.geometry_settings()
    if geometry.get("geometry") is not None:
        settings = config.override(GeometrySettings(mask=settings.mask), file=geometry["geometry"])
    others = {name: value for name, value in geometry.items() if name != "geometry"}
    settings = config.override(settings, **others)
    in_python = None
    if past is not None:
        reader = reader or past.settings.get("reader")
        if past.has_given_geometry and settings == past.geometry_settings():
            in_python = past.geometry
    return open_experiment(file, settings, in_python, reader=reader)


def _index(source: FrameSource, ref: FrameRef, number: int | None) -> int:
    if number is None:
        return source.index_of(ref.event) if ref.event else 0
    if number >= len(source):
        last = len(source) - 1
        raise SourceError("no-frames", f"there is no frame {number}, the last is {last}", ref.file)
    return number

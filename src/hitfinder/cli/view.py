"""`hitfinder view`: one frame with its peaks as a PNG."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from hitfinder.cli.options import FINITE, reader_option
from hitfinder.cli.run import geometry_options

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from hitfinder.experiment.settings import GeometrySettings
    from hitfinder.geometry.geometry import Geometry
    from hitfinder.io.source import FrameRef, FrameSource
    from hitfinder.results.run import Run

EPILOG = """\b
Examples:
  hitfinder view run7_master.h5 //12
  hitfinder view run7_master.h5 --frame 12 --zoom 850 1210 200 -o spots.png
  hitfinder view --run run7 --frame 12        (frame and peaks as in the run)
  hitfinder view "$(head -1 run7/hits.lst)"   (a line of a list)
"""


@click.command(epilog=EPILOG)
@click.argument("file", required=False)
@click.argument("event", required=False)
@click.option("-n", "--frame", type=click.IntRange(0), metavar="N", help="Frame number, from 0.")
@click.option(
    "--run",
    "run_dir",
    type=click.Path(path_type=Path),
    metavar="DIR",
    help="Take peaks and geometry from the results of a run.",
)
@click.option(
    "--zoom",
    type=FINITE,
    nargs=3,
    metavar="FS SS SIZE",
    help="Show a square of SIZE pixels around a place.",
)
@click.option("-o", "--out", type=click.Path(path_type=Path), metavar="PNG", help="File to write.")
@reader_option
@geometry_options
def view(
    file: str | None,
    event: str | None,
    frame: int | None,
    run_dir: Path | None,
    zoom: tuple[float, float, float] | None,
    out: Path | None,
    reader: str | None,
    **given: Any,
) -> None:
    """Draw a frame of FILE with its peaks circled, on a logarithmic colour scale.

    Peaks that are likelier false than true have dotted circles.

    The frame is that of EVENT ('//12', as in a CrystFEL list), of --frame, or the first one.
    """
    if file is None and (run_dir is None or frame is None):
        raise click.UsageError("name a file, or a run and a frame: --run DIR --frame N")
    if event is not None and frame is not None:
        raise click.UsageError("give an event or --frame, not both")
    if zoom is not None and not zoom[2] > 0:
        raise click.BadParameter("the size must be positive", param_hint="--zoom")
    if out is not None and out.suffix.lower() != ".png":
        raise click.BadParameter(
            f"a PNG is written: name it .png, not {out.name!r}", param_hint="--out"
        )
    import numpy as np

    from hitfinder.errors import ConfigError
    from hitfinder.experiment.experiment import open_experiment
    from hitfinder.report.frame_figure import Zoom, draw_frame
    from hitfinder.results.run import Run

    past = None if run_dir is None else Run(run_dir)
    settings = _geometry_settings(past, given)
    row = None
    if file is None:
        assert past is not None
        assert frame is not None
        row, ref = frame, past.ref(frame)
    else:
        ref = _ref_given(file, event)
    in_python = None
    if past is not None and past.has_given_geometry and settings == past.geometry_settings():
        in_python = past.geometry
    if reader is None and past is not None:
        reader = past.settings.get("reader")
    experiment = open_experiment(ref.file, settings, in_python, reader=reader)
    with experiment.stored as stored:
        index = _index(stored, ref, None if row is not None else frame)
        counts = experiment.source.read(index)
        ref = stored.ref(index)
    if past is not None:
        peaks = past.peaks_of(past.row(ref) if row is None else row)
        found = f"{len(peaks)} peaks of the run"
    else:
        peaks, found = _find(experiment.geometry, counts)
    name = f"{ref.file} {ref.event}".rstrip()
    out = out or Path(f"{Path(ref.file).stem}_{index}.png")
    try:
        area = Zoom(*zoom) if zoom else None
        n_shown = draw_frame(
            out, np.asarray(counts), experiment.geometry, peaks, f"{name}\n{found}", area
        )
    except ValueError as error:
        raise ConfigError(str(error), "--zoom") from error
    click.echo(f"{found}{f', {n_shown} of the peaks in this part' if zoom else ''}: {out}")


def _find(geometry: Geometry, counts: NDArray) -> tuple[NDArray[np.void], str]:
    """Find the peaks of a frame; return them, and what to say of them."""
    from hitfinder.finding.registry import make_finder
    from hitfinder.finding.settings import FinderSettings

    result = make_finder(geometry, FinderSettings())(counts)
    return result.peaks, f"{len(result.peaks)} peaks, score {result.score:.3g}"


def _ref_given(file: str, event: str | None) -> FrameRef:
    from hitfinder.io.lst import parse_line
    from hitfinder.io.source import FrameRef

    return FrameRef(file, event) if event is not None else parse_line(file)


def _index(source: FrameSource, ref: FrameRef, frame: int | None) -> int:
    from hitfinder.errors import SourceError

    if frame is None:
        return source.index_of(ref.event) if ref.event else 0
    if frame >= len(source):
        last = len(source) - 1
        raise SourceError("no-frames", f"there is no frame {frame}, the last is {last}", ref.file)
    return frame


def _geometry_settings(past: Run | None, given: dict[str, Any]) -> GeometrySettings:
    """Return the geometry settings of the run, if any, with those given in their place."""
    from hitfinder import config
    from hitfinder.experiment.settings import GeometrySettings

    settings = GeometrySettings() if past is None else past.geometry_settings()
    if given["geometry"] is not None:
        settings = config.override(GeometrySettings(mask=settings.mask), file=given["geometry"])
    given = {name: value for name, value in given.items() if name != "geometry"}
    return config.override(settings, **given)

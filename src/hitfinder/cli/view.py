"""`hitfinder view`: one frame with its peaks as a picture."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import click

from hitfinder.cli.monitor import HOST, show_page
from hitfinder.cli.options import FINITE, reader_option, refuse_all_but
from hitfinder.cli.run import geometry_options
from hitfinder.monitor.place import has_begun, has_run

EPILOG = """\b
Examples:
  hitfinder view run7_master.h5 //12
  hitfinder view run7_master.h5 --frame 12 --zoom 850 1210 200 -o spots.pdf
  hitfinder view --run run7 --frame 12        (frame and peaks as in the run)
  hitfinder view --run run7 --frame 12 --sheet -o peaks.png   (each peak, numbered)
  hitfinder view --run run7 --frame 12 --zoom peak:3 -o peak3.png
  hitfinder view run7                         (the page of a run, in the browser)
  hitfinder view "$(head -1 run7/hits.lst)"   (a line of a list)
"""

FORMATS = (".png", ".pdf", ".svg")
PEAK = re.compile(r"peak:(\d+)(?::(\d+(?:\.\d+)?))?")
ZOOM_PX = 60.0
"""Side of the part around a peak, in pixels, if none is given."""


class ViewCommand(click.Command):
    """A command whose ``--zoom`` takes one word, ``peak:N``, besides three numbers."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Turn ``--zoom peak:N`` into the option of its own that it stands for."""
        given = [part for word in args for part in _split(word)]
        for k, word in enumerate(given[:-1]):
            if word == "--zoom" and given[k + 1].startswith("peak"):
                given[k] = "--zoom-peak"
        return super().parse_args(ctx, given)


def _split(word: str) -> list[str]:
    return word.split("=", 1) if word.startswith("--zoom=peak") else [word]


def _peak(
    ctx: click.Context, param: click.Parameter, value: str | None
) -> tuple[int, float] | None:
    """Return number and side of ``peak:N`` or ``peak:N:SIZE``."""
    if value is None:
        return None
    found = PEAK.fullmatch(value)
    if not found:
        text = f"{value!r} is not peak:N or peak:N:SIZE"
        raise click.BadParameter(text, param_hint="--zoom")
    return int(found[1]), float(found[2] or ZOOM_PX)


@click.command(cls=ViewCommand, epilog=EPILOG)
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
    help="Show a square of SIZE pixels around a place; or peak:N[:SIZE], around a peak of the"
    " sheet.",
)
@click.option("--zoom-peak", callback=_peak, hidden=True)
@click.option("--sheet", is_flag=True, help="Show each peak of the frame by itself, numbered.")
@click.option(
    "-o",
    "--out",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="File to write: .png, .pdf or .svg.",
)
@click.option("--overwrite", is_flag=True, help="Replace the file.")
@reader_option
@geometry_options
@click.pass_context
def view(
    ctx: click.Context,
    file: str | None,
    event: str | None,
    frame: int | None,
    run_dir: Path | None,
    zoom: tuple[float, float, float] | None,
    zoom_peak: tuple[int, float] | None,
    sheet: bool,
    out: Path | None,
    overwrite: bool,
    reader: str | None,
    **given: Any,
) -> None:
    """Draw a frame of FILE with its peaks circled, on a logarithmic colour scale.

    Peaks that are likelier false than true have dotted circles.

    A folder of a run is opened as a page in the browser, as `hitfinder monitor` does; with --frame
    it is taken for --run.

    The frame is that of EVENT ('//12', as in a CrystFEL list, or 12), of --frame, or the first one.
    """
    if file is not None and run_dir is None and (has_run(Path(file)) or has_begun(Path(file))):
        if frame is None:
            refuse_all_but(ctx, ("file",), "the page of a run")
            show_page(Path(file), HOST, 0, in_browser=True)
            return
        run_dir = Path(file)
        file = None
    if file is None and (run_dir is None or frame is None):
        raise click.UsageError("name a file, or a run and a frame: --run DIR --frame N")
    if event is not None and frame is not None:
        raise click.UsageError("give an event or --frame, not both")
    if event is not None and event.isdecimal():
        frame = int(event)
        event = None
    if zoom is not None and not zoom[2] > 0:
        raise click.BadParameter("the size must be positive", param_hint="--zoom")
    if sum((zoom is not None, zoom_peak is not None, sheet)) > 1:
        raise click.UsageError("give one of --zoom and --sheet, once")
    if out is not None and out.suffix.lower() not in FORMATS:
        text = f"name it {', '.join(FORMATS[:-1])} or {FORMATS[-1]}, not {out.name!r}"
        raise click.BadParameter(text, param_hint="--out")
    from hitfinder.report import view_frame

    shown = view_frame.view_frame(
        file,
        event,
        number=frame,
        run=run_dir,
        zoom=zoom,
        zoom_peak=zoom_peak,
        sheet=sheet,
        out=out,
        overwrite=overwrite,
        reader=reader,
        geometry=given,
    )
    part = f", {shown.n_shown} of the peaks in this part" if zoom or zoom_peak else ""
    part = f", {shown.n_shown} of them shown" if sheet else part
    click.echo(f"{shown.found}{part}: {shown.path}")

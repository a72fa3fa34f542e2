"""`hitfinder view`: one frame with its peaks as a PNG."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from hitfinder.cli.monitor import HOST, is_of_run, show_page
from hitfinder.cli.options import FINITE, reader_option, refuse_all_but
from hitfinder.cli.run import geometry_options

EPILOG = """\b
Examples:
  hitfinder view run7_master.h5 //12
  hitfinder view run7_master.h5 --frame 12 --zoom 850 1210 200 -o spots.png
  hitfinder view --run run7 --frame 12        (frame and peaks as in the run)
  hitfinder view run7                         (the page of a run, in the browser)
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
@click.pass_context
def view(
    ctx: click.Context,
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

    A folder of a run is opened as a page in the browser, as `hitfinder monitor` does.

    The frame is that of EVENT ('//12', as in a CrystFEL list), of --frame, or the first one.
    """
    if file is not None and run_dir is None and is_of_run(Path(file)):
        refuse_all_but(ctx, ("file",), "the page of a run")
        show_page(Path(file), HOST, 0, in_browser=True)
        return
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
    from hitfinder.report import view_frame

    shown = view_frame.view_frame(
        file,
        event,
        number=frame,
        run=run_dir,
        zoom=zoom,
        out=out,
        reader=reader,
        geometry=given,
    )
    part = f", {shown.n_shown} of the peaks in this part" if zoom else ""
    click.echo(f"{shown.found}{part}: {shown.path}")

"""`hitfinder live`: hits and peaks in frames while they come."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click

from hitfinder.cli.monitor import HOST
from hitfinder.cli.optional import require_live_extra, require_monitor_extra
from hitfinder.cli.options import POSITIVE, bandwidth_option, reader_option, refuse
from hitfinder.cli.run import exit_code, finder_options, geometry_options, settings_of, tell

_LAST_PORT = 65535

EPILOG = """\b
Examples:
  hitfinder live tcp://detector:31001 --protocol stream2 --out shift3 --page 8421
  hitfinder live tcp://detector:9999 --protocol v1 --out run7 --stop-at-end
  hitfinder live /data/run7_master.h5 --out run7
  hitfinder live tcp://detector:31001 --out shift3 --cell lysozyme.cell
  hitfinder live tcp://detector:31001 --out shift3 --offer tcp://127.0.0.1:5555

\b
Try it without a detector, in two terminals:
  hitfinder live tcp://127.0.0.1:31001 --out try --stop-at-end
  hitfinder stream-sim run7_master.h5 --bind tcp://127.0.0.1:31001

Ctrl-C ends it, and writes what was found. Exit codes are those of run.
"""


class PageAddress(click.ParamType):
    """A port, or an address and a port."""

    name = "address"

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> tuple[str, int]:
        """Return address and port of ``[HOST:]PORT``."""
        host, _, port = str(value).rpartition(":")
        if not port.isdecimal() or int(port) > _LAST_PORT:
            self.fail(f"{value!r} is not PORT or HOST:PORT", param, ctx)
        return host.strip("[]") or HOST, int(port)


@click.command(epilog=EPILOG)
@click.argument("source")
@click.option(
    "-o", "--out", required=True, type=click.Path(path_type=Path), help="Folder for the results."
)
@click.option(
    "--protocol",
    type=click.Choice(("v1", "stream2")),
    help="What the detector speaks.  [default: what comes]",
)
@click.option("--channel", metavar="NAME", help="Threshold to search.  [default: the first]")
@click.option(
    "--stop-at-end",
    is_flag=True,
    help="Stop after the first series; its results go to the folder itself.",
)
@click.option(
    "--max-delay",
    type=POSITIVE,
    default=2.0,
    show_default=True,
    metavar="S",
    help="Pass frames over that have waited longer, for newer ones.",
)
@click.option(
    "--memory",
    type=click.IntRange(1),
    default=512,
    show_default=True,
    metavar="MB",
    help="Keep so much of frames that wait, at most.",
)
@click.option("--timeout", type=POSITIVE, metavar="S", help="End when nothing comes for so long.")
@reader_option
@geometry_options
@finder_options
@click.option("-j", "--workers", type=click.IntRange(1), metavar="N", help="Processes; all cores.")
@click.option(
    "--no-estimate", is_flag=True, help="Do not estimate photon energy and camera length."
)
@click.option(
    "--output",
    "outputs",
    multiple=True,
    metavar="NAME",
    help="Write this, as for run; once for each.",
)
@click.option("--csv", is_flag=True, help="Write the tables as CSV too.")
@click.option(
    "--page",
    type=PageAddress(),
    metavar="[HOST:]PORT",
    help="Serve the page of the run there meanwhile, as hitfinder monitor does.",
)
@click.option(
    "--offer",
    metavar="ADDRESS",
    help="Listen there, at tcp://HOST:PORT, for CrystFEL to ask for hits.",
)
@click.option(
    "--publish",
    metavar="ADDRESS",
    help="Listen there, at tcp://HOST:PORT, for programs that subscribe to the hits.",
)
@click.option(
    "--cell",
    metavar="CELL",
    help="Index hits on the way, for the index rate: file or numbers, as for index.",
)
@click.option("--space-group", metavar="NAME", help="Space group, before what the file says.")
@bandwidth_option(default=0.01)
@click.option(
    "--index-workers",
    type=click.IntRange(1),
    default=1,
    show_default=True,
    metavar="N",
    help="Processes that index; hits that come while they are busy are skipped.",
)
@click.option("-c", "--config", "config_file", metavar="FILE", help="Settings in TOML.")
@click.option("--overwrite", is_flag=True, help="Replace the results in the folder.")
@click.pass_context
def live(
    ctx: click.Context,
    source: str,
    out: Path,
    protocol: str | None,
    channel: str | None,
    stop_at_end: bool,
    max_delay: float,
    memory: int,
    timeout: float | None,
    page: tuple[str, int] | None,
    offer: str | None,
    publish: str | None,
    cell: str | None,
    space_group: str | None,
    bandwidth: float,
    index_workers: int,
    config_file: str | None,
    overwrite: bool,
    **given: Any,
) -> None:
    """Find hits and Bragg peaks in frames while they come from SOURCE.

    SOURCE is the address of a DECTRIS detector's stream, tcp://HOST:PORT, a folder into which files
    are written, or a master that is still being written. Each series gets a folder of its own.
    """
    if cell is None:
        refuse(ctx, ("space_group", "bandwidth", "index_workers"), "a live run without --cell")
    require_live_extra()
    if page is not None:
        require_monitor_extra()
    from hitfinder.job.live.live import live as live_runs

    code = 0
    runs = live_runs(
        source,
        out,
        config_file,
        protocol=protocol,
        channel=channel,
        stop_at_end=stop_at_end,
        overwrite=overwrite,
        longest_wait_s=max_delay,
        timeout_s=timeout,
        most_bytes=memory * 1_000_000,
        offer=offer,
        publish=publish,
        cell=cell,
        space_group=space_group,
        bandwidth=bandwidth,
        index_workers=index_workers,
        beside=_page(out, page),
        **settings_of(given),
    )
    for run in runs:
        tell(run, "interrupted: these are the frames that were done until then")
        code = max(code, exit_code(run))
    ctx.exit(code)


@contextlib.contextmanager
def _page(out: Path, page: tuple[str, int] | None) -> Iterator[None]:
    """Serve the page of a folder during a block, if it is asked for."""
    if page is None:
        yield
        return
    from hitfinder.monitor.beside import page_beside

    with page_beside(out, *page) as address:
        click.echo(f"{out}: {address}")
        yield

"""`hitfinder monitor`: the page of a run in a browser."""

from __future__ import annotations

import webbrowser
from pathlib import Path

import click

from hitfinder.cli.optional import require_monitor_extra

HOST, PORT = "127.0.0.1", 8421

EPILOG = """\b
Examples:
  hitfinder monitor run7
  hitfinder monitor run7 --port 0 --open
  hitfinder monitor run7 --host 0.0.0.0       (for other machines, with a token)
  hitfinder monitor shift3 --wait             (each series of hitfinder live, as it begins)

The page is served until Ctrl-C. It follows a run that is still being worked on, and shows the
newest series of a folder of hitfinder live.
"""


@click.command(epilog=EPILOG)
@click.argument("run", type=click.Path(path_type=Path))
@click.option(
    "--host",
    default=HOST,
    show_default=True,
    metavar="ADDRESS",
    help="Address to listen at. One that other machines reach needs the token in the address that"
    " is printed.",
)
@click.option(
    "--port",
    type=click.IntRange(0, 65535),
    default=PORT,
    show_default=True,
    metavar="N",
    help="Port; 0 for any that is free.",
)
@click.option("--wait", is_flag=True, help="Wait for the run if it has not begun.")
@click.option("--open", "in_browser", is_flag=True, help="Open the page in the browser.")
def monitor(run: Path, host: str, port: int, wait: bool, in_browser: bool) -> None:
    """Show a run, finished or not, on a page in the browser.

    RUN is the folder that `hitfinder run` or `hitfinder live` wrote, or writes.
    """
    show_page(run, host, port, in_browser, wait)


def show_page(run: Path, host: str, port: int, in_browser: bool, wait: bool = False) -> None:
    """Serve the page of a run until Ctrl-C."""
    require_monitor_extra()
    from hitfinder.monitor.serve import serve

    def ready(address: str) -> None:
        click.echo(f"{run}: {address}  (Ctrl-C ends it)")
        if in_browser:
            webbrowser.open(address)

    serve(run, host, port, ready, wait)

"""`hitfinder demo`: simulate frames, find the hits, compare with what was put in."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING

import click

from hitfinder.errors import harmless

if TYPE_CHECKING:
    from hitfinder.suite.demo import Demo, Tally

EPILOG = """\b
Example:
  hitfinder demo --out demo-output
"""


@click.command(epilog=EPILOG)
@click.option(
    "-o",
    "--out",
    type=click.Path(path_type=Path),
    default="demo-output",
    show_default=True,
    help="Folder for frames and results.",
)
@click.option(
    "-n", "--frames", type=click.IntRange(12), default=200, show_default=True, help="Frames."
)
@click.option("-j", "--workers", type=click.IntRange(1), metavar="N", help="Processes; all cores.")
@click.option("--overwrite", is_flag=True, help="Replace an earlier demo.")
def demo(out: Path, frames: int, workers: int | None, overwrite: bool) -> None:
    """Simulate frames of proteinase K, find and index the hits, and compare with the truth.

    Half of the frames are blank; the others have crystals at full flux, 30 % and 10 % of it, over
    the water of one pulse and of 100. Written as an Eiger detector would, run as `hitfinder run`
    and `hitfinder index` would.
    """
    from hitfinder.results.run import Run
    from hitfinder.suite.demo import RIGHT_DEG, show

    began = time.perf_counter()
    shown = show(out, frames, workers=workers, overwrite=overwrite)
    _tell(shown)
    if shown.indexed is not None:
        click.echo(
            f"indexed: {shown.indexed.n_indexed} of {shown.indexed.n_hits} hits, the unit cell "
            f"being known; {shown.n_right} within {RIGHT_DEG:g}° of the truth"
        )
    if verdict := Run(shown.run.folder).verdict:
        click.echo(harmless(verdict))
    click.echo(f"\nreport: {shown.run.report}\ntruth:  {shown.truth}")
    click.echo(f"{time.perf_counter() - began:.0f} s in all")


def _tell(shown: Demo) -> None:
    from hitfinder.suite.demo import BLANK, CONDITIONS, LEAST_PHOTONS, Tally

    click.echo(
        f"\nspots of {LEAST_PHOTONS} photons and more\n"
        f"{'frames':34}{'hits':>8}{'spots':>8}{'found':>8}{'missed':>8}{'false/frame':>13}"
    )
    total = Tally()
    for number, (shots, flux) in enumerate(CONDITIONS):
        water = "1 pulse" if shots == 1 else f"{shots} pulses"
        _line(f"{100 * flux:3.0f} % flux, water of {water}", shown.tallies[number])
        total.add(shown.tallies[number])
    _line("all with a crystal", total)
    blank = shown.tallies[BLANK]
    _line("blank", blank)
    click.echo(
        f"\nhit efficiency {100 * total.hits / total.frames:.1f} %; "
        f"{blank.hits} of {blank.frames} blank frames called hits\n"
        f"false peaks: {100 * total.false / max(1, total.peaks):.1f} % of the peaks in frames with "
        "a crystal"
    )


def _line(name: str, tally: Tally) -> None:
    hits = f"{tally.hits}/{tally.frames}"
    false = tally.false / tally.frames if tally.frames else 0.0
    missed = tally.spots - tally.found
    click.echo(
        f"{name:34}{hits:>8}{tally.spots:>8}{tally.found:>8}{missed:>8}{false:>13.3f}".rstrip()
    )

"""`hitfinder demo`: simulate frames, find the hits, compare with what was put in."""

from __future__ import annotations

import dataclasses
import itertools
import time
from pathlib import Path
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from hitfinder.cli.demo_frames import Truth
    from hitfinder.crystal.lattice import Lattice

EPILOG = """\b
Example:
  hitfinder demo --out demo-output
"""

FLUXES = (1.0, 0.3, 0.1)
"""Share of the Bragg photons of a crystal that is hit in full."""

SHOTS = (1, 100)
"""Pulses whose water background is in a frame."""

LEAST_PHOTONS = 8
"""Photons of a spot that should be found; weaker ones count neither as missed nor as false."""

TOLERANCE_PX = 3.0
RIGHT_DEG = 0.5


@dataclasses.dataclass
class Tally:
    """What became of the frames of one condition."""

    frames: int = 0
    hits: int = 0
    peaks: int = 0
    spots: int = 0
    found: int = 0
    false: int = 0

    def add(self, other: Tally) -> None:
        """Add the numbers of another tally."""
        for field in dataclasses.fields(self):
            mine, theirs = getattr(self, field.name), getattr(other, field.name)
            setattr(self, field.name, mine + theirs)


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
    from hitfinder.cli.demo_frames import simulate
    from hitfinder.crystal.lattice import lattice_of
    from hitfinder.crystal.tables import packaged_structure_factors
    from hitfinder.run import index as indexing
    from hitfinder.run import job

    began = time.perf_counter()
    conditions = list(itertools.product(SHOTS, FLUXES))
    master = out / "frames" / "demo_master.h5"
    click.echo(f"simulating {frames} frames: {master}")
    truth = simulate(master, frames, conditions, overwrite=overwrite)
    click.echo(f"simulated in {time.perf_counter() - began:.0f} s")
    result = job.run(master, out / "run", workers=workers, overwrite=overwrite)
    if not result.summary.complete:
        click.get_current_context().exit(130)
    _tell(out / "run", truth, conditions)
    if result.summary.hits:
        factors = packaged_structure_factors()
        lattice = lattice_of(factors.cell, factors.space_group_name)
        indexed = indexing.index(result, lattice, workers=workers)
        right = right_orientations(out / "run", truth, lattice)
        click.echo(
            f"indexed: {indexed.n_indexed} of {indexed.n_hits} hits, the unit cell being known; "
            f"{right} within {RIGHT_DEG:g}° of the truth"
        )
    click.echo(f"\nreport: {result.report}\ntruth:  {out / 'truth.parquet'}")
    click.echo(f"{time.perf_counter() - began:.0f} s in all")


def _tell(run_dir: Path, truth: Truth, conditions: list[tuple[int, float]]) -> None:
    tallies = judge(run_dir, truth)
    click.echo(
        f"\nspots of {LEAST_PHOTONS} photons and more\n"
        f"{'frames':34}{'hits':>8}{'spots':>8}{'found':>8}{'missed':>8}{'false/frame':>13}"
    )
    total = Tally()
    for number, (shots, flux) in enumerate(conditions):
        water = "1 pulse" if shots == 1 else f"{shots} pulses"
        _line(f"{100 * flux:3.0f} % flux, water of {water}", tallies[number])
        total.add(tallies[number])
    _line("all with a crystal", total)
    blank = tallies[-1]
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


def judge(run_dir: Path, truth: Truth) -> dict[int, Tally]:
    """Compare the results of a run with the truth.

    Parameters
    ----------
    run_dir : Path
        Folder of the run.
    truth : Truth
        What was put into the frames.

    Returns
    -------
    dict of int to Tally
        By condition; -1 are the blank frames.
    """
    import numpy as np
    import pyarrow.parquet

    hit = pyarrow.parquet.read_table(run_dir / "frames.parquet", columns=["hit"])["hit"]
    table = pyarrow.parquet.read_table(run_dir / "peaks.parquet", columns=["frame", "fs", "ss"])
    frame, fs, ss = (table[name].to_numpy() for name in ("frame", "fs", "ss"))
    is_hit = np.asarray(hit)
    tallies = {int(condition): Tally() for condition in (-1, *np.unique(truth.condition))}
    for index, condition in enumerate(truth.condition):
        found = np.stack([fs[frame == index], ss[frame == index]], 1)
        n_spots, n_found, n_false = _compare(found, truth.spots[truth.spots["frame"] == index])
        tally = Tally(1, int(is_hit[index]), len(found), n_spots, n_found, n_false)
        tallies[int(condition)].add(tally)
    return tallies


def right_orientations(run_dir: Path, truth: Truth, lattice: Lattice) -> int:
    """Count the indexed hits whose crystal was simulated in that orientation."""
    import pyarrow.parquet

    from hitfinder.cli.demo_frames import axes_of
    from hitfinder.crystal.orientation import from_columns

    right = 0
    for row in pyarrow.parquet.read_table(run_dir / "indexed.parquet").to_pylist():
        if row["indexed"] and truth.condition[row["frame"]] >= 0:
            off = lattice.angle_deg(from_columns(row), axes_of(row["frame"]))
            right += off < RIGHT_DEG
    return right


def _compare(found: NDArray[np.float64], spots: NDArray[np.void]) -> tuple[int, int, int]:
    """Count the spots that should be found, those that were, and the false peaks of a frame."""
    import numpy as np

    from hitfinder.metrics.matching import match_peaks

    xy = np.stack([spots["fs"], spots["ss"]], 1)
    bright = spots["photons"] >= LEAST_PHOTONS
    matches = match_peaks(found, xy[bright], TOLERANCE_PX)
    rest = match_peaks(found[matches.false], xy, TOLERANCE_PX)
    return int(bright.sum()), len(matches.true), len(rest.false)

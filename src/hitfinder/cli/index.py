"""`hitfinder index`: the orientations of the crystals in a run's hits."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Literal

import click

from hitfinder.cli.cluster import chosen_executor, cluster_options
from hitfinder.cli.options import POSITIVE, FiniteRange, bandwidth_option
from hitfinder.errors import harmless
from hitfinder.report.numbers import number

if TYPE_CHECKING:
    from hitfinder.job.indexing.indexed import IndexedRun

EPILOG = """\b
Examples:
  hitfinder index run7 --cell proteinase.cell
  hitfinder index run7 --cell 1ic6.pdb --crystals 2
  hitfinder index run7 --structure 1ic6.pdb --frames all
  hitfinder index run7 --cell 68.3,68.3,108.5 --space-group P43212

\b
What is written to the folder of the run:
  indexed.parquet            every crystal: score, reciprocal axes
  indexed.lst, indexed.sol   the indexed hits and their orientations, for CrystFEL
  indexed.cell               the unit cell, for CrystFEL
  reflections.parquet        every reflection: photons, standard deviation, background
  indexed.stream             the same for CrystFEL, to be merged
  indexed.json               lattice, settings, counts
  report.html, run.json      get the index rate, and the verdict that follows from it

\b
Merge the intensities with CrystFEL:
  process_hkl -i run7/indexed.stream -y 4/mmm -o run7.hkl

\b
Or have it integrate, from the orientations:
  indexamajig -i run7/indexed.lst -g run7/hits.geom --peaks=cxi -p run7/indexed.cell \\
      --indexing=file --fromfile-input-file=$PWD/run7/indexed.sol \\
      --no-check-peaks --no-retry -o run7.stream

\b
Exit codes: 0 done; 1 done, but some frames could not be searched or measured; 2 wrong
usage or bad input; 70 an error in hitfinder, please report it; 130 interrupted.
"""


@click.command(epilog=EPILOG)
@click.argument("run", metavar="RUN", type=click.Path(path_type=Path))
@click.option(
    "--cell",
    metavar="CELL",
    help="PDB, CIF, MTZ or CrystFEL .cell file, or A,B,C[,AL,BE,GA] in Å and degrees.",
)
@click.option(
    "--structure",
    metavar="FILE",
    help="PDB, mmCIF, MTZ or .hkl file of the crystal: search all pixels, also below any peak.",
)
@click.option("--pixels", is_flag=True, help="Search all pixels though only the cell is known.")
@click.option(
    "--frames",
    type=click.Choice(["near", "hits", "all"]),
    help="Frames whose pixels are searched: hits and what is nearly one, hits, or all.  "
    "[default: near]",
)
@click.option(
    "--false-hits",
    type=FiniteRange(0, 1, min_open=True, max_open=True),
    metavar="SHARE",
    help="Share of frames without a crystal that may count as indexed, by their pixels.  "
    "[default: 0.01]",
)
@click.option("--space-group", metavar="NAME", help="Space group, before what the file says.")
@bandwidth_option()
@click.option(
    "--mosaicity",
    "mosaicity_deg",
    type=FiniteRange(0, 1),
    metavar="DEG",
    help="Mosaicity with which pixels are searched (standard deviation).  [default: the likeliest"
    " for the brightest hits]",
)
@click.option(
    "--crystals",
    type=click.IntRange(1, 16),
    default=1,
    show_default=True,
    metavar="N",
    help="Crystals to look for in a frame.",
)
@click.option(
    "--least-score",
    type=POSITIVE,
    metavar="SCORE",
    help="Score from which a crystal counts as indexed, by its peaks.  [default: 22]",
)
@click.option(
    "--refine-cell",
    is_flag=True,
    help="Index with the cell that the peaks fit best, if it is not the given one.",
)
@click.option(
    "--intensities/--no-intensities",
    default=True,
    show_default=True,
    help="Measure the reflections of every crystal.",
)
@click.option("-j", "--workers", type=click.IntRange(1), metavar="N", help="Processes; all cores.")
@cluster_options
@click.option("--csv", is_flag=True, help="Write the table as CSV too.")
@click.option("--overwrite", is_flag=True, help="Replace what was indexed before.")
@click.pass_context
def index(
    ctx: click.Context,
    run: Path,
    cell: str | None,
    structure: str | None,
    pixels: bool,
    frames: Literal["near", "hits", "all"] | None,
    false_hits: float | None,
    space_group: str | None,
    bandwidth: float | None,
    mosaicity_deg: float | None,
    crystals: int,
    least_score: float | None,
    refine_cell: bool,
    intensities: bool,
    workers: int | None,
    cluster: str | None,
    cluster_given: tuple[str, ...],
    csv: bool,
    overwrite: bool,
) -> None:
    """Find the orientation of the crystal in every hit of RUN, a folder of 'hitfinder run'.

    The unit cell must be known. Every peak counts by its probability, so that few and doubtful
    peaks are enough: often five.

    With --structure all pixels of a frame are searched instead of its peaks, also in frames that
    show no peak.
    """
    from hitfinder.job.indexing import index as indexing
    from hitfinder.results.run import Run

    with chosen_executor(cluster, cluster_given, workers) as executor:
        found = indexing.index(
            run,
            cell,
            structure=structure,
            pixels=pixels,
            frames=frames,
            false_hits=false_hits,
            space_group=space_group,
            bandwidth=bandwidth,
            mosaicity_deg=mosaicity_deg,
            crystals=crystals,
            least_score=least_score,
            intensities=intensities,
            refine_cell=refine_cell,
            workers=workers,
            executor=executor,
            csv=csv,
            overwrite=overwrite,
        )
    tell_indexed(found, structure is not None or pixels)
    if verdict := Run(run).verdict:
        click.echo(harmless(verdict))
    ctx.exit(exit_code(found))


def exit_code(found: IndexedRun) -> int:
    """Return what the command ends with."""
    return 1 if found.n_wanting else 0


def tell_indexed(found: IndexedRun, by_pixels: bool) -> None:
    """Print what indexing has found."""
    click.echo(f"{found.lattice}\n{_told(found, by_pixels)}")
    if found.n_reflections:
        click.echo(f"{found.n_reflections} reflections measured, to be merged: {found.stream}")


def _told(found: IndexedRun, by_pixels: bool) -> str:
    """Say how many frames are indexed, and how many would be by chance."""
    n, total = found.n_indexed, found.n_hits
    more = f", {found.n_crystals} crystals" if found.n_crystals > n else ""
    if by_pixels:
        hits = ""
        if joint := found.joint_hits:
            hits = (
                f"\nhits by peaks and crystal: {joint.by_peaks + joint.more - joint.fewer}, "
                f"{joint.more} more and {joint.fewer} fewer than by peaks alone; of frames without "
                f"a crystal {number(joint.false_hits, 2)} would be"
            )
        return (
            f"{n} of {total} frames indexed{more}; of as many without a crystal "
            f"{number(found.n_by_chance, 2)} would be{hits}\n"
            f"for CrystFEL: {found.solutions}"
        )
    return (
        f"{n} of {total} hits indexed ({100 * n / total:.1f} %){more}; "
        f"with their peaks turned at random {found.n_by_chance}\n"
        f"for CrystFEL: {found.solutions}"
    )

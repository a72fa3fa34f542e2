"""`hitfinder index`: the orientations of the crystals in a run's hits."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from hitfinder.cli.options import POSITIVE, FiniteRange

if TYPE_CHECKING:
    from collections.abc import Iterator

    from hitfinder.crystal.lattice import Lattice
    from hitfinder.indexing.batch import FramePeaks, IndexedFrame
    from hitfinder.indexing.indexer import Indexer
    from hitfinder.results.run import RunHits

EPILOG = """\b
Examples:
  hitfinder index run7 --cell proteinase.cell
  hitfinder index run7 --cell 1ic6.pdb --crystals 2
  hitfinder index run7 --cell 68.3,68.3,108.5 --space-group P43212

\b
What is written to the folder of the run:
  indexed.parquet            every crystal: score, reciprocal axes
  indexed.lst, indexed.sol   the indexed hits and their orientations, for CrystFEL
  indexed.json               lattice, settings, counts

\b
Hand them to CrystFEL, which integrates:
  indexamajig -i run7/indexed.lst -g run7/hits.geom --peaks=cxi -p proteinase.cell \\
      --indexing=file --fromfile-input-file=run7/indexed.sol \\
      --no-check-peaks --no-retry -o run7.stream
"""


@click.command(epilog=EPILOG)
@click.argument("run", metavar="RUN", type=click.Path(path_type=Path))
@click.option(
    "--cell",
    required=True,
    metavar="CELL",
    help="PDB, mmCIF, MTZ or CrystFEL .cell file, or A,B,C[,AL,BE,GA] in Å and degrees.",
)
@click.option("--space-group", metavar="NAME", help="Space group, before what the file says.")
@click.option(
    "--bandwidth",
    type=FiniteRange(0, 0.2),
    default=0.01,
    show_default=True,
    metavar="SHARE",
    help="Relative bandwidth of the beam, full width.",
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
    help="Score from which a crystal counts as indexed.  [default: 22]",
)
@click.option("-j", "--workers", type=click.IntRange(1), metavar="N", help="Threads; all cores.")
@click.option("--csv", is_flag=True, help="Write the table as CSV too.")
@click.option("--overwrite", is_flag=True, help="Replace what was indexed before.")
def index(
    run: Path,
    cell: str,
    space_group: str | None,
    bandwidth: float,
    crystals: int,
    least_score: float | None,
    workers: int | None,
    csv: bool,
    overwrite: bool,
) -> None:
    """Find the orientation of the crystal in every hit of RUN, a folder of 'hitfinder run'.

    The unit cell must be known. Every peak counts by its probability, so that few and doubtful
    peaks are enough: often five.
    """
    from hitfinder.crystal.lattice import read_lattice
    from hitfinder.errors import OutputError

    lattice = read_lattice(cell, space_group)
    if (run / "indexed.json").exists() and not overwrite:
        hint = "Use --overwrite to replace it."
        raise OutputError("the run has been indexed before", str(run / "indexed.json"), hint)
    counts = index_run(
        run,
        lattice,
        bandwidth=bandwidth,
        crystals=crystals,
        least_score=least_score,
        workers=workers,
        csv=csv,
    )
    n, total, found = counts["indexed"], counts["hits"], counts["crystals"]
    more = f", {found} crystals" if found > n else ""
    click.echo(
        f"{lattice}\n{n} of {total} hits indexed ({100 * n / total:.1f} %){more}; "
        f"with their peaks turned at random {counts['by_chance']}\n"
        f"for CrystFEL: {run / 'indexed.sol'}"
    )


def index_run(
    run: Path,
    lattice: Lattice,
    *,
    bandwidth: float = 0.01,
    crystals: int = 1,
    least_score: float | None = None,
    workers: int | None = None,
    csv: bool = False,
) -> dict[str, int]:
    """Index the hits of a run and write the results to its folder.

    Parameters
    ----------
    run : Path
        The folder.
    lattice : Lattice
        Of the crystals.
    bandwidth, crystals, least_score, workers, csv
        As the options of the command.

    Returns
    -------
    dict of str to int
        Hits, those that are indexed, crystals in them, and hits that would be with their peaks
        turned at random.

    Raises
    ------
    HitfinderError
        If the folder holds no hits, or cannot be written to.
    """
    from hitfinder.executors.processes import available_cores
    from hitfinder.indexing.batch import LEAST_SCORE, index_frames
    from hitfinder.progress import counting
    from hitfinder.results.run import Run

    hits = Run(run).hits()
    least = LEAST_SCORE if least_score is None else least_score
    indexer, peaks = _prepared(hits, lattice, bandwidth)
    found = []
    with counting("indexing", len(hits)) as advance:
        for one in index_frames(
            indexer,
            peaks,
            least_score=least,
            most_crystals=crystals,
            threads=workers or available_cores(),
        ):
            found.append(one)
            advance(1)
    settings = {"bandwidth": bandwidth, "crystals": crystals, "least_score": least}
    return _write(run, hits, lattice, found, settings, csv)


def _prepared(
    hits: RunHits, lattice: Lattice, bandwidth: float
) -> tuple[Indexer, list[FramePeaks]]:
    """Return the indexer and the hits' peaks in reciprocal space."""
    import numpy as np

    from hitfinder.indexing.batch import FramePeaks
    from hitfinder.indexing.indexer import Indexer

    frames, longest, pixel = [], 0.0, 0.0
    for number, geometry in enumerate(hits.geometries()):
        fs, ss, probability = hits.peaks(number).T
        q = geometry.scattering_vectors(fs, ss)
        known = np.isfinite(q).all(axis=1) & q.any(axis=1)
        frames.append(FramePeaks(int(hits.rows[number]), q[known], probability[known]))
        longest = max(longest, float(np.linalg.norm(q[known], axis=1).max(initial=0)))
        pixel = max(pixel, geometry.pixel_inv_a)
    return Indexer(lattice, longest, pixel, bandwidth), frames


def _write(
    run: Path,
    hits: RunHits,
    lattice: Lattice,
    found: list[IndexedFrame],
    settings: dict[str, Any],
    csv: bool,
) -> dict[str, int]:
    """Write the outputs, ``indexed.json`` last, and return what was found."""
    import json

    import hitfinder
    from hitfinder.atomic import replacing
    from hitfinder.export import tables
    from hitfinder.export.solutions import write_solutions
    from hitfinder.io.lst import write_lst
    from hitfinder.io.source import FrameRef

    least = settings["least_score"]
    cxi = str(hits.cxi.resolve())
    solved = [
        (FrameRef(cxi, f"//{number}"), crystal.axes)
        for number, frame in enumerate(found)
        for crystal in frame.crystals
        if crystal.score >= least
    ]
    refs = list(dict.fromkeys(ref for ref, _ in solved))
    by_chance = sum(frame.chance >= least for frame in found)
    counts = {
        "hits": len(found),
        "indexed": len(refs),
        "crystals": len(solved),
        "by_chance": by_chance,
    }
    for old in ("indexed.json", "indexed.csv"):
        (run / old).unlink(missing_ok=True)
    write_solutions(run / "indexed.sol", lattice, solved)
    write_lst(run / "indexed.lst", refs)
    rows = _rows(hits, found, least)
    tables.write_table(run / "indexed.parquet", tables.index_schema(), rows, csv=csv)
    told = {
        "hitfinder": hitfinder.__version__,
        "lattice": {"code": lattice.code, "cell": str(lattice.cell)},
        "settings": settings,
        "counts": counts,
    }
    with replacing(run / "indexed.json") as part:
        part.write_text(json.dumps(told, indent=1) + "\n", encoding="utf-8")
    return counts


def _rows(hits: RunHits, found: list[IndexedFrame], least: float) -> Iterator[dict[str, Any]]:
    """Columns of the table of crystals, a frame at a time."""
    from hitfinder.crystal.orientation import to_columns

    for number, frame in enumerate(found):
        for k, crystal in enumerate(frame.crystals):
            row = {
                "frame": frame.frame,
                "crystal": k,
                "indexed": crystal.score >= least,
                "score": crystal.score,
                "chance": frame.chance,
                "n_peaks": len(hits.peaks(number)),
                "n_indexed": crystal.belongs.sum(),
            }
            yield {name: [value] for name, value in (row | to_columns(crystal.axes)).items()}

"""`hitfinder rehit`: decide anew which frames of a run are hits."""

from __future__ import annotations

from pathlib import Path

import click

from hitfinder.cli.options import FINITE, FiniteRange

EPILOG = """\b
Examples:
  hitfinder rehit run7 --false-hits 0.05
  hitfinder rehit run7 --hit-threshold 3 --min-peaks 4

Scores are those of the run; frames that become hits, or are none any more, are
searched again. `hitfinder monitor` shows beforehand what a threshold gives.
"""


@click.command(epilog=EPILOG)
@click.argument("run", type=click.Path(path_type=Path))
@click.option(
    "--false-hits",
    type=FiniteRange(0, 1, min_open=True, max_open=True),
    metavar="SHARE",
    help="Share of blank frames that may be called hits.",
)
@click.option(
    "--hit-threshold",
    type=FINITE,
    metavar="SCORE",
    help="Least score of a hit, before --false-hits.",
)
@click.option("--min-peaks", type=click.IntRange(0), metavar="N", help="Least number of its peaks.")
def rehit(
    run: Path, false_hits: float | None, hit_threshold: float | None, min_peaks: int | None
) -> None:
    """Decide anew which frames of a finished RUN are hits, without running again.

    The files in the folder become those that `hitfinder run` would have written with these
    settings.
    """
    from hitfinder.job import rehit as job

    result = job.rehit(run, false_hits=false_hits, hit_threshold=hit_threshold, min_peaks=min_peaks)
    click.echo(result.summary)

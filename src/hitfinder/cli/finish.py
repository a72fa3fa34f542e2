"""`hitfinder finish`: the results of a live run that was killed."""

from __future__ import annotations

from pathlib import Path

import click

from hitfinder.cli.run import tell

EPILOG = """\b
Examples:
  hitfinder finish run7
  hitfinder finish shift3/series_000007
"""


@click.command(epilog=EPILOG)
@click.argument("run", type=click.Path(path_type=Path))
def finish(run: Path) -> None:
    """Write the results of a live RUN that was killed: a folder of one series.

    All frames whose results were on disk are in them; frames that came later are lost. It does
    nothing to a run that has ended.
    """
    from hitfinder.job.live.finish import finish as finish_live

    tell(finish_live(run), "the run was killed: these are the frames that were done until then")

"""`hitfinder compile`: what the first run would compile, compiled at installation."""

from __future__ import annotations

import time

import click

EPILOG = """\b
Examples:
  hitfinder compile
  NUMBA_CACHE_DIR=/scratch/me/compiled hitfinder compile

\b
Compiled code holds for one kind of processor, and for the versions of Python and
Numba: compile on a machine like those that will run it. It is kept beside the
package if that can be written to, else in your cache folder; NUMBA_CACHE_DIR
names another folder, for this command and for all that are to find it there.
Numba reads it only where it may write: compile as the user who will run.
"""


@click.command(name="compile", epilog=EPILOG)
@click.option(
    "--workers",
    type=click.IntRange(1),
    help="Processes that compile. [default: one a core, three at most]",
)
def compile_code(workers: int | None) -> None:
    """Compile the code that finds hits, indexes them and simulates frames, so that no run needs to.

    For the recipe of a container, or a shared installation. Without it the first run takes a
    minute longer, and so does the first indexing. It keeps the bytecode of Python modules, too,
    where PYTHONDONTWRITEBYTECODE forbids other commands to.
    """
    from hitfinder.compilecache import keep_bytecode
    from hitfinder.executors.processes import Processes, available_cores
    from hitfinder.job.compiling import STEPS, compile_ahead
    from hitfinder.progress import counting

    began = time.monotonic()
    keep_bytecode()
    with (
        Processes(workers or min(available_cores(), 3)) as executor,
        counting("steps", len(STEPS)) as advance,
    ):
        compile_ahead(executor, advance)
    click.echo(f"compiled in {time.monotonic() - began:.0f} s")

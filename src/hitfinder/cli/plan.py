"""`hitfinder plan`: how many pulses an experiment needs."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from hitfinder.cli.options import POSITIVE, FiniteRange
from hitfinder.cli.simulate import changes_of, experiment_options

EPILOG = """\b
The experiment is described as for 'hitfinder simulate', whose help says what
values and presets there are. A share of --blank-fraction of the pulses meets no
crystal.

\b
Examples:
  hitfinder plan --crystal-size-um 5 --flux 1e9 --blank-fraction 0.9
  hitfinder plan --structure lysozyme.pdb --detector eiger2-x-1m \\
      --camera-length-m 0.1 --water-um 20 --indexed 5000 --out lyso-plan

\b
What is written to the folder of --out:
  plan.json, plan.png, plan.html   the numbers, their picture, both as a page

Exit codes: 0 done; 2 wrong usage or bad input; 70 an error in hitfinder,
please report it; 130 interrupted.
"""


def _pulses(ctx: click.Context, param: click.Parameter, value: str) -> tuple[int, ...]:
    """Return the whole numbers of a list such as ``1e3,1e5``."""
    try:
        numbers = sorted({int(float(text)) for text in value.split(",")})
    except (ValueError, OverflowError):
        raise click.BadParameter(f"{value!r} is not a list of numbers such as 1e3,1e5") from None
    if numbers[0] < 1 or numbers[-1] > 1e15:
        raise click.BadParameter("numbers of pulses must be in 1 to 1e15")
    return tuple(numbers)


@click.command(epilog=EPILOG)
@click.option("--n", type=click.IntRange(1), metavar="N", default=100, show_default=True,
              help="Pulses to try.")  # fmt: skip
@click.option(
    "--pulses",
    default="1e3,1e4,1e5,1e6",
    show_default=True,
    callback=_pulses,
    metavar="N,...",
    help="Numbers of pulses to say the outcome of.",
)
@click.option(
    "--indexed",
    type=POSITIVE,
    default=1000,
    show_default=True,
    metavar="N",
    help="Indexed frames that are wanted.",
)
@click.option(
    "--completeness",
    type=FiniteRange(0, 1, min_open=True, max_open=True),
    default=0.99,
    show_default=True,
    metavar="SHARE",
    help="Share of the unique reflections that is wanted.",
)
@click.option(
    "--resolution-a",
    type=POSITIVE,
    metavar="A",
    help="Resolution of the data that are wanted, in Å.  [default: of the median hit]",
)
@experiment_options
@click.option(
    "--false-hits",
    type=FiniteRange(0, 1, min_open=True, max_open=True),
    default=0.01,
    show_default=True,
    metavar="SHARE",
    help="Share of blank frames that may be called hits.",
)
@click.option("--finder", metavar="NAME", default="network", show_default=True,
              help="As for 'hitfinder run'.")  # fmt: skip
@click.option("-j", "--workers", type=click.IntRange(1), metavar="N", help="Processes; all cores.")
@click.option(
    "-o", "--out", type=click.Path(path_type=Path), metavar="DIR", help="Folder to write to, too."
)
@click.option("--overwrite", is_flag=True, help="Replace the plan in the folder.")
def plan(
    n: int,
    pulses: tuple[int, ...],
    indexed: float,
    completeness: float,
    resolution_a: float | None,
    preset: str | None,
    config_file: str | None,
    settings_given: tuple[str, ...],
    false_hits: float,
    finder: str,
    workers: int | None,
    out: Path | None,
    overwrite: bool,
    **given: Any,
) -> None:
    """Say how many pulses an experiment needs: hits, indexed frames and completeness.

    Some pulses that meet a crystal are simulated, searched and indexed as real frames are; what
    more pulses give is extrapolated, with errors.
    """
    from hitfinder.finding.settings import FinderSettings
    from hitfinder.simulation.presets import dotted, load_settings
    from hitfinder.suite import plan as planning
    from hitfinder.suite import plan_page

    settings = load_settings(config_file, preset, dotted(changes_of(settings_given, given)))
    if out is not None:
        plan_page.check_folder(out, overwrite=overwrite)
    chosen = FinderSettings(false_hits=false_hits, finder=finder)
    made = planning.plan(settings, n, finder=chosen, resolution_a=resolution_a, workers=workers)
    told = made.told(pulses, indexed, completeness)
    click.echo(plan_page.text(made, told))
    if out is not None:
        plan_page.write(made, told, out, overwrite=overwrite)
        click.echo(f"\nplan: {out / plan_page.PAGE}")

"""`hitfinder reproduce`: the CXLS report's study, beside ours."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from hitfinder.study.assess.reproduce import Study

EPILOG = """\b
Examples:
  hitfinder reproduce --out study
  hitfinder reproduce --out study --list
  hitfinder reproduce --out study --only paper-normal/peak-binary
  hitfinder reproduce --out study --only 'realistic-low/*' --dry-run
  hitfinder reproduce --out study-full --scale full --workers 8 --devices 4 --strategy ddp

\b
The folder holds the data, every trained network with its evaluation, results.json and
study.html. A run that was cut short goes on with the same command.
"""


@click.command(epilog=EPILOG)
@click.option("--out", required=True, metavar="DIR", help="Folder for data, networks and page.")
@click.option(
    "--scale",
    type=click.Choice(["small", "full"]),
    default="small",
    show_default=True,
    help="Binned frames and few of them, or the study's own size (for a GPU).",
)
@click.option("--seed", type=click.IntRange(0), default=0, show_default=True)
@click.option("--workers", type=click.IntRange(0), default=0, show_default=True, metavar="N")
@click.option("--accelerator", default="auto", show_default=True, help="cpu, gpu, ...")
@click.option("--devices", default="auto", show_default=True, help="Devices in each node.")
@click.option("--nodes", type=click.IntRange(1), default=1, show_default=True, metavar="N")
@click.option("--strategy", default="auto", show_default=True, help="ddp, ...")
@click.option("--precision", default="32-true", show_default=True, help="16-mixed, ...")
@click.option("--list", "list_steps", is_flag=True, help="Name all steps, and stop.")
@click.option(
    "--only",
    multiple=True,
    metavar="STEP",
    help="Do this step and what it needs: a name of --list, or a pattern; once for each.",
)
@click.option(
    "--dry-run", is_flag=True, help="Say what would be done, and what it costs, and stop."
)
def reproduce(
    out: str,
    scale: str,
    seed: int,
    workers: int,
    list_steps: bool,
    only: tuple[str, ...],
    dry_run: bool,
    **given: Any,
) -> None:
    """Build the report's data, train its networks in two protocols, and compare.

    Each step can be done by itself: the data of a protocol and flux, a network, which gets a page
    of its own, or what `hitfinder run` answers on the same shots. The page of the study comes last.
    """
    from hitfinder.cli.optional import require_train_extra

    require_train_extra()
    from pathlib import Path

    from hitfinder.study.assess import assess, steps, study_page
    from hitfinder.study.assess.plan import SCALES
    from hitfinder.study.assess.reproduce import Study
    from hitfinder.study.training.settings import Devices

    count = given["devices"]
    devices = Devices(
        given["accelerator"],
        int(count) if count.isdigit() else count,
        given["nodes"],
        given["strategy"],
        given["precision"],
    )
    size = SCALES[scale]
    study = Study(Path(out), size, seed, devices, workers, lambda text: click.echo(text, err=True))
    if list_steps or dry_run:
        _tell(study, only, costs=dry_run)
        return
    results = study.run(only)
    if results is not None:
        click.echo(f"study: {study_page.write(out, results, size)}")
        return
    for step, _, _ in study.costs(only):
        if step.job is not None:
            click.echo(f"{step.name}: {study.network(step.job) / 'evaluation' / assess.PAGE}")
        elif step.name.startswith(steps.OWN):
            click.echo(f"{step.name}: {study.own(step.name.removeprefix(steps.OWN))}")


def _tell(study: Study, only: tuple[str, ...], *, costs: bool) -> None:
    """Print the steps, those that are done marked, and what the others cost."""
    for step, is_done, seconds in study.costs(only):
        words = [f"{'done' if is_done else 'to do':6}", f"{step.name:48}"]
        if costs and not is_done:
            words.append(_cost(step.frames, step.passes, seconds))
        click.echo(" ".join(words).rstrip())


def _cost(frames: int, passes: int, seconds: float | None) -> str:
    if frames:
        return f"simulates {frames} frames"
    if not passes:
        return ""
    time = "" if seconds is None else f", about {max(seconds / 60, 0.1):.1f} min"
    return f"trains on {passes} frames, epochs counted{time}"

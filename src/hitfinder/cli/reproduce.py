"""`hitfinder reproduce`: the CXLS report's study, beside ours."""

from __future__ import annotations

from typing import Any

import click

EPILOG = """\b
Examples:
  hitfinder reproduce --out study
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
def reproduce(out: str, scale: str, seed: int, workers: int, **given: Any) -> None:
    """Build the report's data, train its networks in two protocols, and compare."""
    from hitfinder.cli.optional import require_train_extra

    require_train_extra()
    from pathlib import Path

    from hitfinder.study.assess import study_page
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
    results = study.run()
    click.echo(f"study: {study_page.write(out, results, size)}")

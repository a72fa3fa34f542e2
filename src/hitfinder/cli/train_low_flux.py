"""`hitfinder train low-flux`: the network that `hitfinder run` judges peaks by."""

from __future__ import annotations

import shlex
import sys

import click

from hitfinder.cli.optional import require_train_extra
from hitfinder.cli.options import refuse_all_but
from hitfinder.progress import counting

TAKEN = {
    *("attribute", "out", "experiments", "epochs", "batch_size", "learning_rate", "seed"),
    *("workers", "accelerator", "resume", "overwrite", "recalibrate"),
}
"""Options of `hitfinder train` that have a meaning here."""

HELP = """Train the network that hitfinder run judges peaks by.

It simulates the frames it learns from."""

EPILOG = """\b
Examples:
  hitfinder train low-flux --out mine
  hitfinder train low-flux --out again --recalibrate mine

\b
A training that was cut short goes on with the same command and --resume.
"""


def train_low_flux(ctx: click.Context) -> None:
    """Train the network from what the command line says."""
    given = ctx.params
    refuse_all_but(ctx, TAKEN, "low-flux")
    if not given["out"]:
        raise click.UsageError("Missing option '--out'.")
    require_train_extra()
    from hitfinder import config
    from hitfinder.network.model import load
    from hitfinder.network.training.fit import FitSettings
    from hitfinder.network.training.train import PeakTraining, Plan

    fit = config.override(
        FitSettings(),
        epochs=given["epochs"],
        batch_size=given["batch_size"],
        learning_rate=given["learning_rate"],
    )
    plan = config.override(Plan(given["seed"], fit=fit), experiments=given["experiments"])
    training = PeakTraining(
        given["out"],
        plan,
        command=shlex.join(["hitfinder", *sys.argv[1:]]),
        workers=max(1, given["workers"]),
        resume=given["resume"],
        overwrite=given["overwrite"],
        progress=counting,
        say=lambda text: click.echo(text, err=True),
    )
    kept = given["recalibrate"]
    made = training.recalibrate(load(kept)) if kept else training.run(given["accelerator"])
    for name, value in made.metrics.items():
        click.echo(f"{name.replace('_', ' ')}: {value:g}")
    click.echo(f"trained model: {made.path}")

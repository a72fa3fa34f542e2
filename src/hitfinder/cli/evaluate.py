"""`hitfinder evaluate`: how well a trained network does on a tree of frames."""

from __future__ import annotations

from typing import Any

import click

from hitfinder.cli.selection import selection_from, selection_options

EPILOG = """\b
Examples:
  hitfinder evaluate peak/ --data images/
  hitfinder evaluate peak/ --data other/ --part all --out peak-on-other

\b
What is written to the folder: evaluation.html, metrics.json, and each figure as PNG.
"""


@click.command(epilog=EPILOG)
@click.argument("bundle", metavar="BUNDLE")
@click.option("--data", required=True, metavar="DIR", help="Tree of frames.")
@click.option(
    "--part",
    type=click.Choice(["test", "train", "all"]),
    default="test",
    show_default=True,
    help="Part of the tree to judge by.",
)
@click.option("--out", metavar="DIR", help="Folder to write to.  [default: BUNDLE/evaluation]")
@click.option(
    "--tolerance-px",
    type=click.FloatRange(0, min_open=True),
    default=3.0,
    show_default=True,
    metavar="PX",
    help="Largest distance of a found peak from the true one.",
)
@click.option("--overwrite", is_flag=True, help="Replace an evaluation that is there.")
@click.option("--device", default="auto", show_default=True, help="cpu, cuda, cuda:1, ...")
@click.option("--workers", type=click.IntRange(0), default=2, show_default=True, metavar="N")
@selection_options
def evaluate(bundle: str, **given: Any) -> None:
    """Judge the trained network BUNDLE by the frames of a tree."""
    from hitfinder.cli.extras import require_train_extra

    require_train_extra()
    from hitfinder.cli.bars import counting
    from hitfinder.evaluate.study import assess
    from hitfinder.inference.study import Predictor
    from hitfinder.models.bundle import load

    out = given["out"] or f"{bundle}/evaluation"
    selection = selection_from(
        given["settings"], given["photon_energy_ev"], given["camera_length_m"]
    )
    made = load(bundle)
    tree = assess.open_part(made, given["data"], given["part"], selection)
    predictor = Predictor(made, given["device"])
    with counting("frames", len(tree)) as progress:
        found = assess.assess(
            predictor,
            tree,
            tolerance_px=given["tolerance_px"],
            workers=given["workers"],
            progress=progress,
        )
    path = assess.write(found, out, overwrite=given["overwrite"])
    numbers = found.metrics
    for name in ("accuracy", "recall", "precision"):
        if name in numbers:
            value = numbers[name]
            interval = f"{100 * value['low']:.1f} to {100 * value['high']:.1f}"
            click.echo(f"{name}: {assess.percent(value)} ({interval} %)")
    click.echo(f"evaluation: {path}")

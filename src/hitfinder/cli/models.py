"""`hitfinder models`: networks and trained bundles."""

from __future__ import annotations

import click


@click.group()
def models() -> None:
    """List networks that can be trained, and say what a trained one is."""


@models.command()
@click.option(
    "--shape",
    type=click.IntRange(1),
    nargs=2,
    default=(2163, 2069),
    show_default=True,
    metavar="ROWS COLUMNS",
    help="Frame to size the networks for.",
)
@click.option("--batch-size", type=click.IntRange(1), default=16, show_default=True, metavar="N")
def networks(shape: tuple[int, int], batch_size: int) -> None:
    """List the networks, with their parameters and memory for a frame size."""
    from hitfinder.cli.extras import require_train_extra

    require_train_extra()
    from hitfinder.errors import ConfigError
    from hitfinder.models.registry import NETWORKS
    from hitfinder.models.summary import summarise

    click.echo(f"frames of {shape[0]} x {shape[1]} pixels, single precision, memory in GB")
    click.echo(f"{'network':<18}{'parameters':>14}{'weights':>9}{'predict':>9}{'train':>9}  ")
    for name, spec in NETWORKS.items():
        n_outputs = 3 if name == "linear" else 1
        try:
            needs = summarise(name, shape, n_outputs)
        except ConfigError as error:
            click.echo(f"{name:<18}{error.what}")
            continue
        sizes = (needs.weights_bytes, needs.prediction_bytes(1), needs.training_bytes(batch_size))
        memory = "".join(f"{size / 1e9:>9.3g}" for size in sizes)
        click.echo(f"{name:<18}{needs.n_parameters:>14,}{memory}  {spec.about}")
    click.echo(f"predict: one frame; train: Adam, {batch_size} frames in a step")


@models.command()
@click.argument("bundle")
def show(bundle: str) -> None:
    """Say what the trained network BUNDLE is and where it comes from."""
    import json

    from hitfinder.models.bundle import load

    made = load(bundle)
    config = made.config
    click.echo(f"{config.attribute} by network {config.network}")
    click.echo(f"frames: {made.frame_shape[0]} x {made.frame_shape[1]} pixels")
    click.echo(f"classes: {', '.join(config.class_names)}")
    if made.threshold is not None:
        click.echo(f"threshold: {made.threshold:g}")
    for heading, table in (("metrics", made.metrics), ("provenance", made.provenance)):
        click.echo(f"{heading}:")
        for name, value in table.items():
            click.echo(f"  {name}: {json.dumps(value)}")

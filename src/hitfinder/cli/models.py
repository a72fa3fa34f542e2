"""`hitfinder models`: networks and trained bundles."""

from __future__ import annotations

from pathlib import Path

import click


@click.group()
def models() -> None:
    """List trained networks and those that can be trained, and say what they are."""


@models.command(name="list")
def list_models() -> None:
    """List the trained models that come with hitfinder."""
    from hitfinder.network.model import DEFAULT, load, shipped

    for name in shipped():
        made = load(name)
        note = " (used by hitfinder run)" if name == DEFAULT else ""
        click.echo(f"{name}{note}: made by {made.provenance['made_by']}, seed "
                   f"{made.provenance['seed']}")  # fmt: skip
        for metric, value in made.metrics.items():
            click.echo(f"  {metric.replace('_', ' ')}: {value:g}")


@models.command()
@click.argument("model")
@click.option("-o", "--out", required=True, metavar="FILE", help="File to write.")
@click.option(
    "--format",
    "kind",
    type=click.Choice(["onnx", "safetensors"]),
    default="onnx",
    show_default=True,
    help="For an ONNX runtime, or for hitfinder.network.training.architecture.Locator in PyTorch.",
)
@click.option("--overwrite", is_flag=True, help="Replace the file.")
def export(model: str, out: str, kind: str, overwrite: bool) -> None:
    """Write the network of MODEL to a file.

    Where PyTorch is installed, the two forms are first checked to give the same numbers.
    """
    import importlib.util

    from hitfinder.atomic import replacing
    from hitfinder.errors import OutputError
    from hitfinder.network.model import NETWORK, WEIGHTS, load

    made = load(model)
    assert made.path is not None
    if Path(out).exists() and not overwrite:
        raise OutputError("the file is there already", out, "Give --overwrite to replace it.")
    if importlib.util.find_spec("torch"):
        from hitfinder.network.training.agreement import largest_difference

        click.echo(f"largest difference between PyTorch and ONNX: {largest_difference(made):.2g}")
    with replacing(out) as part:
        part.write_bytes((made.path / (NETWORK if kind == "onnx" else WEIGHTS)).read_bytes())
    click.echo(f"written: {out}")


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
    from hitfinder.cli.optional import require_train_extra

    require_train_extra()
    from hitfinder.errors import ConfigError
    from hitfinder.study.networks.registry import NETWORKS, network
    from hitfinder.study.networks.summary import summarise

    click.echo(f"frames of {shape[0]} x {shape[1]} pixels, single precision, memory in GB")
    click.echo(f"{'network':<18}{'parameters':>14}{'weights':>9}{'predict':>9}{'train':>9}  ")
    for name in NETWORKS.known():
        n_outputs = 3 if name == "linear" else 1
        try:
            spec, needs = network(name), summarise(name, shape, n_outputs)
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
    """Say what the trained network BUNDLE is and where it comes from.

    BUNDLE is a folder written by hitfinder train, or a name of hitfinder models list.
    """
    import json

    from hitfinder.network import model as peak_model
    from hitfinder.study.networks.bundle import load

    if bundle in peak_model.shipped() or (Path(bundle) / peak_model.INFO).is_file():
        click.echo(peak_model.load(bundle).card())
        return

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

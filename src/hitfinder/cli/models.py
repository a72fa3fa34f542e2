"""`hitfinder models`: trained models, and the networks that can be trained."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from hitfinder.network.model import PeakModel
    from hitfinder.study.networks.trained import TrainedNetwork


@click.group()
def models() -> None:
    """List trained networks and those that can be trained, and say what they are."""


@models.command(name="list")
@click.argument("folders", nargs=-1, metavar="[FOLDER]...")
def list_models(folders: tuple[str, ...]) -> None:
    """List the trained models that come with hitfinder, and those in FOLDERs."""
    from hitfinder.network.folder import DEFAULT, INFO, read, shipped

    names = list(shipped())
    for folder in folders:
        inside = sorted(str(path.parent) for path in Path(folder).rglob(INFO))
        if not inside:
            click.echo(f"{folder}: no model in it", err=True)
        names += inside
    for name in names:
        made = read(name)
        note = " (used by hitfinder run)" if name == DEFAULT else ""
        by = made.provenance.get("made_by", "an unknown program")
        seed = f", seed {made.provenance['seed']}" if "seed" in made.provenance else ""
        click.echo(f"{name}{note}: for {made.kind}, made by {by}{seed}")
        for metric, value in made.metrics.items():
            click.echo(f"  {metric.replace('_', ' ')}: {_shown(value)}")


@models.command()
@click.argument("models", nargs=-1, required=True, metavar="MODEL...")
def check(models: tuple[str, ...]) -> None:
    """See whether each MODEL is whole and can be used.

    Its files are compared with their hashes, its weights have to be finite, and its network is
    built. Where PyTorch is installed, both forms of a network for peaks must give the same numbers.
    """
    for name in models:
        click.echo(f"{name}: {_checked(name)}")


def _checked(name: str) -> str:
    """Return what was found right about a model.

    Raises
    ------
    HitfinderError
        For what is wrong.
    """
    import importlib.util

    from hitfinder.network.model import PeakModel

    with_torch = importlib.util.find_spec("torch") is not None
    made = _load(name)
    made.weights()
    if isinstance(made, PeakModel):
        made.session()
        if not with_torch:
            return "whole, its network answers"
        from hitfinder.network.training.agreement import largest_difference

        off = largest_difference(made)
        return f"whole, its network answers; PyTorch and ONNX differ by {off:.2g}"
    if not with_torch:
        return "whole; PyTorch, which its network needs, is not installed"
    made.network()
    return "whole, its network can be built"


def _load(name: str) -> PeakModel | TrainedNetwork:
    """Read a model of any kind.

    Raises
    ------
    ModelError
        If it cannot be used.
    """
    from hitfinder.network import model
    from hitfinder.network.folder import ModelError, read
    from hitfinder.study.networks import trained

    loaders = {model.KIND: model.load, trained.KIND: trained.load}
    kind = read(name).kind
    if kind not in loaders:
        known = ", ".join(loaders)
        raise ModelError(f"a model for {kind!r} is not known here", name, f"Known: {known}.")
    return loaders[kind](name)  # type: ignore[operator]


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
    from hitfinder.network.folder import WEIGHTS
    from hitfinder.network.model import NETWORK, load

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
@click.argument("model")
def show(model: str) -> None:
    """Say what MODEL is and where it comes from.

    MODEL is a folder written by hitfinder train, or a name of hitfinder models list.
    """
    from hitfinder.network.folder import read
    from hitfinder.study.networks.trained import TrainedNetwork

    made, folder = _load(model), read(model)
    if folder.card:
        click.echo(folder.card)
        return
    if isinstance(made, TrainedNetwork):
        config = made.config
        click.echo(f"{config.attribute} by network {config.network}")
        click.echo(f"frames: {made.frame_shape[0]} x {made.frame_shape[1]} pixels")
        click.echo(f"classes: {', '.join(config.class_names)}")
        if made.threshold is not None:
            click.echo(f"threshold: {made.threshold:g}")
    for heading, table in (("metrics", folder.metrics), ("provenance", folder.provenance)):
        click.echo(f"{heading}:")
        for name, value in table.items():
            click.echo(f"  {name}: {_shown(value)}")


def _shown(value: Any) -> str:
    import json

    return f"{value:g}" if type(value) is float else json.dumps(value)

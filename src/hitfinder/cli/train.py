"""`hitfinder train`: learn an attribute from a tree of frames."""

from __future__ import annotations

import copy
from typing import TYPE_CHECKING, Any

import click

from hitfinder.cli.options import FINITE, FiniteRange
from hitfinder.cli.selection import numbers, selection_from, selection_options

if TYPE_CHECKING:
    from hitfinder.study.networks.attribute import AttributeConfig

ATTRIBUTES = ("peak", "photon_energy", "camera_length", "peak_location")
LOW_FLUX = "low-flux"

EPILOG = """\b
Examples:
  hitfinder train peak --data images/ --out peak
  hitfinder train peak --model base --data images/ --out base --settings 01,02
  hitfinder train peak --show-config > mine.toml
  hitfinder train peak --config mine.toml --data images/ --out mine
  hitfinder train photon_energy --classes 5000:12000:1000 --nearest --data wide/ --out energy

  hitfinder train low-flux --out mine     (the network of hitfinder run)

\b
A training that was cut short goes on with the same command and --resume, and
ends with the same weights. What is written to the folder:
  model.json, config.toml, weights.safetensors, history.csv  the trained network
  training/                              checkpoints, curves, TensorBoard events

\b
Several GPUs: --devices 4 --strategy ddp. Slurm: start it by srun with one task for
each device, --devices and --nodes as in the job.
"""


class _Train(click.Command):
    """The command; the help of low-flux says what low-flux takes."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Parse, having looked for whose help may be asked for."""
        if LOW_FLUX in args and not any(name in args for name in ATTRIBUTES):
            self._about_low_flux(ctx)
        return super().parse_args(ctx, args)

    @staticmethod
    def _about_low_flux(ctx: click.Context) -> None:
        from hitfinder.cli import train_low_flux

        ctx.command = copy.copy(ctx.command)
        ctx.command.help, ctx.command.epilog = train_low_flux.HELP, train_low_flux.EPILOG
        ctx.command.params = [copy.copy(param) for param in ctx.command.params]
        for param in ctx.command.params:
            if isinstance(param, click.Option) and param.name not in train_low_flux.TAKEN:
                param.hidden = True


@click.command(cls=_Train, epilog=EPILOG)
@click.argument("attribute", type=click.Choice([*ATTRIBUTES, LOW_FLUX]))
@click.option("--data", metavar="DIR", help="Tree of frames.")
@click.option("--out", metavar="DIR", help="Folder for the trained network.")
@click.option(
    "--model",
    metavar="NAME",
    help="Network: a name of 'hitfinder models networks', or module:Class.",
)
@click.option("--config", "config_file", metavar="FILE", help="Configuration (TOML).")
@click.option("--show-config", is_flag=True, help="Print the configuration and stop.")
@click.option("--epochs", type=click.IntRange(1), metavar="N", help="Epochs.")
@click.option("--batch-size", type=click.IntRange(1), metavar="N", help="Frames in a step.")
@click.option("--learning-rate", type=FINITE, metavar="RATE", help="Learning rate.")
@click.option("--classes", metavar="LIST", help="Class values, e.g. 6000,7000 or 0.1:0.5:0.01.")
@click.option("--nearest", is_flag=True, help="Frames between two classes belong to the nearest.")
@click.option("--seed", type=click.IntRange(0), default=0, show_default=True, metavar="N")
@click.option(
    "--validation",
    "validation_fraction",
    type=FiniteRange(0, 1, max_open=True),
    default=0.125,
    show_default=True,
    metavar="SHARE",
    help="Part of the training frames to watch; 0 watches the test frames, as the report did.",
)
@click.option(
    "--limit", type=click.IntRange(0), default=0, metavar="N", help="Use at most N frames a part."
)
@click.option("--pretrained", metavar="FILE", help="Weights to start from (safetensors).")
@click.option("--resume", is_flag=True, help="Go on with a training that was cut short.")
@click.option("--workers", type=click.IntRange(0), default=2, show_default=True, metavar="N")
@click.option("--accelerator", default="auto", show_default=True, help="cpu, gpu, ...")
@click.option("--devices", default="auto", show_default=True, help="Devices in each node.")
@click.option("--nodes", type=click.IntRange(1), default=1, show_default=True, metavar="N")
@click.option("--strategy", default="auto", show_default=True, help="ddp, fsdp, ...")
@click.option(
    "--precision", default="32-true", show_default=True, help="32-true, 16-mixed, bf16-mixed, ..."
)
@click.option(
    "--experiments",
    type=click.IntRange(2),
    metavar="N",
    help="low-flux: imaginary experiments of 12 frames to learn from.  [default: 1800]",
)
@click.option(
    "--recalibrate",
    metavar="MODEL",
    help="low-flux: keep the weights of MODEL, measure anew what its answers are worth.",
)
@click.option("--overwrite", is_flag=True, help="low-flux: replace what is in the folder.")
@selection_options
@click.pass_context
def train(ctx: click.Context, attribute: str, **given: Any) -> None:
    """Train a network to learn ATTRIBUTE of the frames of a tree.

    low-flux is the network that hitfinder run judges peaks by: it simulates the frames it learns
    from, and has options of its own (hitfinder train low-flux --help).
    """
    if attribute == LOW_FLUX:
        from hitfinder.cli.train_low_flux import train_low_flux

        train_low_flux(ctx)
        return
    for name in ("experiments", "recalibrate", "overwrite"):
        if given.pop(name):
            raise click.UsageError(f"--{name} goes with low-flux")
    config = _config(attribute, given)
    if given["show_config"]:
        from hitfinder.config import to_toml
        from hitfinder.study.networks import attribute as attributes

        changed = config != attributes.packaged(attribute)
        text = to_toml(config) if changed else attributes.packaged_text(attribute)
        click.echo(text, nl=False)
        return
    for name in ("data", "out"):
        if not given[name]:
            raise click.UsageError(f"Missing option '--{name}'.")
    from hitfinder.cli.optional import require_train_extra

    require_train_extra()
    from hitfinder.study.training.run import train as run
    from hitfinder.study.training.settings import Devices, Training

    selection = selection_from(
        given["settings"], given["photon_energy_ev"], given["camera_length_m"]
    )
    devices = given["devices"]
    made = run(
        config,
        Training(
            given["data"],
            selection,
            given["seed"],
            given["validation_fraction"],
            given["limit"],
        ),
        given["out"],
        devices=Devices(
            given["accelerator"],
            int(devices) if devices.isdigit() else devices,
            given["nodes"],
            given["strategy"],
            given["precision"],
        ),
        workers=given["workers"],
        resume=given["resume"],
        pretrained=given["pretrained"],
    )
    if made.path is None:
        return  # not the first of several processes
    shown = {k: v for k, v in made.metrics.items() if not k.startswith("train")}
    click.echo(", ".join(f"{name.replace('_', ' ')} {value:.4g}" for name, value in shown.items()))
    click.echo(f"trained network: {made.path}")


def _config(attribute: str, given: dict[str, Any]) -> AttributeConfig:
    """Return the configuration with what the options change."""
    from hitfinder import config
    from hitfinder.errors import ConfigError
    from hitfinder.study.networks import attribute as attributes
    from hitfinder.study.networks.recipe import Adam, Optimiser

    file = given["config_file"]
    settings = attributes.load(file) if file else attributes.packaged(attribute)
    if settings.attribute != attribute:
        raise ConfigError(f"this is a configuration of {settings.attribute}", file)
    optimiser = None
    if given["learning_rate"] is not None:
        chosen = config.override(settings.optimiser.chosen, learning_rate=given["learning_rate"])
        optimiser = Optimiser(adam=chosen) if isinstance(chosen, Adam) else Optimiser(sgd=chosen)
    return config.override(
        settings,
        network=given["model"],
        epochs=given["epochs"],
        batch_size=given["batch_size"],
        class_values=numbers(given["classes"], "--classes") or None,
        matching="nearest" if given["nearest"] else None,
        optimiser=optimiser,
    )

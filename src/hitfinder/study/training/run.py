"""Train one network on a tree and keep it as a model."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import logging
import signal
import time
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import lightning
import torch
from lightning.pytorch.loggers import TensorBoardLogger
from lightning.pytorch.utilities import rank_zero_only

import hitfinder
from hitfinder.atomic import clear_unfinished, make_folder, replacing
from hitfinder.config import to_toml
from hitfinder.errors import ConfigError, OutputError
from hitfinder.locks import locked
from hitfinder.network.folder import INFO
from hitfinder.network.training.unfinished import check_same
from hitfinder.study.dataset import manifest
from hitfinder.study.dataset.torch import readers_watched
from hitfinder.study.networks import trained
from hitfinder.study.networks.attribute import AttributeConfig
from hitfinder.study.networks.trained import TrainedNetwork
from hitfinder.study.training import checkpoint
from hitfinder.study.training.checkpoint import SafeCheckpointIO
from hitfinder.study.training.data import Parts, PartsModule, open_parts, targets
from hitfinder.study.training.epochs import BEST, LAST, EpochBar, EpochEnd, curves
from hitfinder.study.training.losses import loss_weights
from hitfinder.study.training.memory import memory_kept
from hitfinder.study.training.module import AttributeModule
from hitfinder.study.training.settings import Devices, Training

log = logging.getLogger(__name__)

WORK, SETTINGS = "training", "settings.json"
NOTICES = (
    ".*does not have many workers.*",
    ".*The number of training batches.*",
    ".*treespec, LeafSpec.*is deprecated.*",
    ".*`srun` command is available.*",
)
"""Warnings that tell the user nothing: our loaders are chosen, the third is Lightning's own, and a
training on one machine of a cluster needs no ``srun``."""


def train(
    config: AttributeConfig,
    training: Training,
    out: str | Path,
    *,
    devices: Devices | None = None,
    workers: int = 0,
    resume: bool = False,
    pretrained: str | Path | None = None,
    progress_bar: bool = True,
) -> TrainedNetwork:
    """Train a network.

    Parameters
    ----------
    config : AttributeConfig
        What is learnt, and how.
    training : Training
        Data and seed.
    out : path-like
        Folder for the model. Its folder ``training`` holds checkpoints and curves.
    devices : Devices, optional
        Where to train.
    workers : int
        Processes that read frames.
    resume : bool
        Go on with a training in `out` that was cut short; it ends as it would have.
    pretrained : path-like, optional
        Weights to start from (safetensors), for networks that take them.
    progress_bar : bool
        Show the progress of each epoch.

    Returns
    -------
    TrainedNetwork
        The network of the epoch with the lowest validation loss, or of the last epoch if nothing
        was set aside for validation.

    Raises
    ------
    HitfinderError
        Before any training if data, classes, settings or `out` do not fit; later if the loss
        diverges.
    """
    out = Path(out)
    parts = open_parts(
        config,
        training.data,
        training.selection,
        training.validation_fraction,
        training.seed,
    ).limited(training.limit, training.seed)
    weights = loss_weights(config, targets(config, parts.train))
    for tree in parts.others().values():
        targets(config, tree)
    lightning.seed_everything(training.seed, workers=True, verbose=False)
    module = AttributeModule(config, parts.train.shape, weights, tuple(parts.others()))
    if pretrained is not None:
        _start_from(module, pretrained)
    with _prepared(out, config, training, resume) as work:
        end = EpochEnd(config, work, parts.watched, training.seed)
        last = work / LAST if (work / LAST).is_file() else None
        started = time.monotonic()
        if last is not None and _is_finished(last, config, end):
            log.info("the training had come to its end")
        else:
            with warnings.catch_warnings():
                for text in NOTICES:
                    warnings.filterwarnings("ignore", text)
                trainer = _trainer(config, work, end, devices or Devices(), progress_bar)
                data = PartsModule(config, parts, workers, training.seed)
                with memory_kept():
                    _fit(trainer, module, data, last)
            if not trainer.is_global_zero:
                return TrainedNetwork(config, parts.train.shape)
        seconds = time.monotonic() - started
        return _finish(out, config, training, parts, end, seconds)


def _start_from(module: AttributeModule, path: str | Path) -> None:
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    load = getattr(module.network, "load_pretrained", None)
    if load is None:
        name = module.config.network
        raise ConfigError(f"network {name!r} does not start from given weights", str(path))
    try:
        load(load_file(path))
    except (OSError, SafetensorError, ValueError) as error:
        raise ConfigError(f"the weights cannot be used: {error}", str(path)) from error


def is_first_process() -> bool:
    """Return whether this is the first of the processes of a training, which alone writes."""
    return int(getattr(rank_zero_only, "rank", 0)) == 0


@contextlib.contextmanager
def _prepared(
    out: Path, config: AttributeConfig, training: Training, resume: bool
) -> Iterator[Path]:
    """Keep the working folder for this training, made or seen to be the same training's."""
    work = out / WORK
    if not is_first_process():
        yield work  # the first has seen to it
        return
    if (out / INFO).exists():
        raise OutputError("there is a trained network already", str(out), "Choose another folder.")
    # What was killed before it began leaves an empty folder.
    is_begun = (work / SETTINGS).exists()
    if not is_begun and out.exists() and any(path != work for path in out.iterdir()):
        raise OutputError("something else is there already", str(out), "Choose another folder.")
    make_folder(work)
    with locked(work, "training"):
        clear_unfinished(work)
        _settle(work / SETTINGS, config, training, resume)
        yield work


def _settle(path: Path, config: AttributeConfig, training: Training, resume: bool) -> None:
    """Write what is trained, or see that what is to be gone on with is the same."""
    asked = {"config": to_toml(config), "training": dataclasses.asdict(training)}
    if not path.exists():
        with replacing(path) as part:
            part.write_text(json.dumps(asked, indent=1) + "\n", encoding="utf-8")
        return
    if not resume:
        hint = "Go on with it by --resume, or choose another folder."
        raise OutputError("there is a training already", str(path.parent.parent), hint)
    check_same(path, asked, "Choose another folder.")


def _is_finished(last: Path, config: AttributeConfig, end: EpochEnd) -> bool:
    """Whether a checkpoint is that of a training that had ended; `end` is filled from it."""
    state = checkpoint.read(last)["callbacks"][end.state_key]
    if not (state["stopped"] or len(state["rows"]) >= config.epochs):
        return False
    end.load_state_dict(state)
    return True


def _trainer(
    config: AttributeConfig, work: Path, end: EpochEnd, devices: Devices, progress_bar: bool
) -> lightning.Trainer:
    _be_quiet()
    return lightning.Trainer(
        accelerator=devices.accelerator,
        devices=devices.devices,
        num_nodes=devices.nodes,
        strategy=devices.strategy,
        precision=devices.precision,  # type: ignore[arg-type]
        max_epochs=config.epochs,
        callbacks=[end, *([EpochBar()] if progress_bar else [])],
        plugins=[SafeCheckpointIO()],
        logger=TensorBoardLogger(str(work), name="", version="tensorboard"),
        default_root_dir=str(work),
        enable_progress_bar=progress_bar,
        enable_model_summary=False,
        enable_checkpointing=True,
        num_sanity_val_steps=0,
        log_every_n_steps=1,
        # The sampler shares out the frames itself, by seed and epoch.
        use_distributed_sampler=False,
        deterministic="warn",
    )


def _fit(
    trainer: lightning.Trainer, module: AttributeModule, data: PartsModule, last: Path | None
) -> None:
    """Train, from a checkpoint if there is one; Ctrl-C is raised as everywhere else."""
    before = signal.getsignal(signal.SIGINT)
    hint = "Memory may be short: use fewer --workers, and go on with --resume."
    try:
        with readers_watched(hint):
            trainer.fit(module, data, ckpt_path=last, weights_only=True)
    except SystemExit:
        # Lightning turns Ctrl-C into an exit and goes deaf to further ones.
        if not trainer.interrupted:
            raise
    finally:
        with contextlib.suppress(ValueError):  # outside the main thread there are no signals
            signal.signal(signal.SIGINT, before)
    if trainer.interrupted:
        raise KeyboardInterrupt


def _be_quiet() -> None:
    """Leave Lightning's notices out, not its warnings."""
    for name in ("lightning.pytorch", "lightning.fabric"):
        logging.getLogger(name).setLevel(logging.WARNING)


def _finish(
    out: Path,
    config: AttributeConfig,
    training: Training,
    parts: Parts,
    end: EpochEnd,
    seconds: float,
) -> TrainedNetwork:
    """Make the model from the checkpoint that is kept."""
    keeps_best = parts.validation is not None
    kept = end.best_epoch if keeps_best else len(end.rows) - 1
    state = checkpoint.read(out / WORK / (BEST if keeps_best else LAST))["state_dict"]
    prefix = "network."
    weights = {k.removeprefix(prefix): v for k, v in state.items() if k.startswith(prefix)}
    made = manifest.read(parts.train.root)
    provenance: dict[str, Any] = {
        "made_by": f"hitfinder {hitfinder.__version__}",
        "torch": torch.__version__,
        "lightning": lightning.__version__,
        "training": json.loads(json.dumps(dataclasses.asdict(training))),
        "data_recipe": None if made is None else made.recipe,
        "train_frames": len(parts.train),
        "watched": parts.watched,
        "epochs_run": len(end.rows),
        "epoch_kept": kept,
        "seconds": round(seconds, 1),
    }
    metrics = {k: v for k, v in end.rows[kept].items() if k not in ("epoch", "learning_rate")}
    info = TrainedNetwork(config, parts.train.shape, config.threshold, provenance, metrics)
    arrays = {name: value.numpy() for name, value in weights.items()}
    return trained.save(out, info, arrays, curves(end.rows))

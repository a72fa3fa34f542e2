"""What happens at the end of each epoch: curves, learning rate, stopping, checkpoints."""

from __future__ import annotations

import csv
import io
import math
from pathlib import Path
from typing import Any

import lightning
import numpy as np
import torch
from lightning.pytorch.callbacks import Checkpoint, TQDMProgressBar
from torch.optim.lr_scheduler import ReduceLROnPlateau

from hitfinder.atomic import replacing
from hitfinder.errors import HitfinderError
from hitfinder.study.networks.attribute import AttributeConfig

LAST, BEST, CURVES = "last.safetensors", "best.safetensors", "history.csv"


class DivergedError(HitfinderError):
    """A training whose loss is no longer a finite number."""


class EpochEnd(Checkpoint):
    """Ends each epoch in one fixed order, so that a resumed training is the same training.

    The metrics are noted, the learning rate is lowered if the watched loss has stopped falling,
    it is decided whether to stop, and only then is everything written. (Lightning steps such
    schedulers after its checkpoints are written, so a resumed training would miss a step.)

    Parameters
    ----------
    config : AttributeConfig
        With scheduler and early stopping.
    folder : Path
        Where checkpoints and the curves go.
    watched : str
        Part of the data whose loss decides.
    seed : int
        What each epoch's random numbers are derived from.
    """

    def __init__(self, config: AttributeConfig, folder: Path, watched: str, seed: int) -> None:
        self.config, self.folder, self.watched, self.seed = config, folder, watched, seed
        self.rows: list[dict[str, float]] = []
        self.best = math.inf
        self.best_epoch = -1
        self.lowest, self.waited = math.inf, 0
        self.stopped = False
        self._plateau: ReduceLROnPlateau | None = None
        self._plateau_state: dict[str, Any] | None = None

    def state_dict(self) -> dict[str, Any]:
        """Return what a resumed training has to know."""
        plateau = None
        if self._plateau is not None:
            plain = (bool, int, float, str)
            state = self._plateau.state_dict()
            plateau = {k: v for k, v in state.items() if type(v) in plain}
        return {
            "rows": self.rows,
            "best": self.best,
            "best_epoch": self.best_epoch,
            "lowest": self.lowest,
            "waited": self.waited,
            "stopped": self.stopped,
            "plateau": plateau,
        }

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Go on from what `state_dict` gave."""
        state = dict(state_dict)
        self._plateau_state = state.pop("plateau")
        vars(self).update(state)

    def on_train_start(
        self, trainer: lightning.Trainer, pl_module: lightning.LightningModule
    ) -> None:
        """Set up the scheduler, now that the optimiser is there."""
        settings = self.config.scheduler
        if settings is None:
            return
        self._plateau = ReduceLROnPlateau(
            trainer.optimizers[0],
            factor=settings.factor,
            patience=settings.patience,
            threshold=settings.threshold,
        )
        if self._plateau_state is not None:
            self._plateau.load_state_dict(self._plateau_state)

    def on_train_epoch_start(
        self, trainer: lightning.Trainer, pl_module: lightning.LightningModule
    ) -> None:
        """Seed dropout and the like by epoch, so that they do not depend on what went before."""
        key = [self.seed, trainer.current_epoch, trainer.global_rank]
        torch.manual_seed(int(np.random.SeedSequence(key).generate_state(1)[0]))

    def on_train_epoch_end(
        self, trainer: lightning.Trainer, pl_module: lightning.LightningModule
    ) -> None:
        """Note, schedule, decide, write."""
        row = {name: float(value) for name, value in trainer.callback_metrics.items()}
        rate = float(trainer.optimizers[0].param_groups[0]["lr"])
        self.rows.append({"epoch": trainer.current_epoch, "learning_rate": rate, **row})
        loss = row[f"{self.watched}_loss"]
        if not math.isfinite(loss) or not math.isfinite(row["train_loss"]):
            hint = "Lower the learning rate, or transform the counts."
            raise DivergedError(
                f"the loss became {loss} in epoch {trainer.current_epoch}", "", hint
            )
        if self._plateau is not None:
            self._plateau.step(loss)
        self._decide(trainer, loss)
        is_best = loss < self.best
        if is_best:
            self.best, self.best_epoch = loss, trainer.current_epoch
            trainer.save_checkpoint(self.folder / BEST, weights_only=True)
        if trainer.is_global_zero:
            with replacing(self.folder / CURVES) as part:
                part.write_text(curves(self.rows), encoding="utf-8")
        # Last, as it is what a resumed training starts from.
        trainer.save_checkpoint(self.folder / LAST)

    def _decide(self, trainer: lightning.Trainer, loss: float) -> None:
        stopping = self.config.early_stopping
        if stopping is None:
            return
        if loss < self.lowest - stopping.min_delta:
            self.lowest, self.waited = loss, 0
        else:
            self.waited += 1
        if self.waited >= stopping.patience:
            self.stopped = trainer.should_stop = True


class EpochBar(TQDMProgressBar):
    """A bar for each epoch, which are counted from 1."""

    def on_train_epoch_start(
        self, trainer: lightning.Trainer, *arguments: lightning.LightningModule
    ) -> None:
        """Name the epoch."""
        super().on_train_epoch_start(trainer, *arguments)
        name = f"epoch {trainer.current_epoch + 1} of {trainer.max_epochs}"
        self.train_progress_bar.set_description(name)


def curves(rows: list[dict[str, float]]) -> str:
    """Return loss and accuracy against epoch as CSV."""
    text = io.StringIO()
    writer = csv.DictWriter(text, list(rows[0]) if rows else ["epoch"], lineterminator="\n")
    writer.writeheader()
    writer.writerows({k: v if k == "epoch" else f"{v:.6g}" for k, v in row.items()} for row in rows)
    return text.getvalue()

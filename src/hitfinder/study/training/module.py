"""One network in training."""

from __future__ import annotations

from typing import Any

import lightning
import torch
from torch import Tensor

from hitfinder.study.networks import inputs
from hitfinder.study.networks.attribute import AttributeConfig
from hitfinder.study.networks.recipe import Adam
from hitfinder.study.networks.registry import network
from hitfinder.study.training.losses import decide, loss_function
from hitfinder.study.training.mirror import mirrored

PARTS = ("validation", "test")
"""Parts of the data that are looked at after each epoch, as far as they are there."""


class AttributeModule(lightning.LightningModule):
    """A network, its loss and its optimiser, for Lightning's trainer.

    Parameters
    ----------
    config : AttributeConfig
        What is learnt, and how.
    frame_shape : tuple of int
        Rows and columns of the frames.
    weights : ndarray of float32
        Weights of the loss, from `hitfinder.study.training.losses.loss_weights`.
    parts : sequence of str
        Names of the parts after which metrics are logged, in the order of their loaders.
    """

    loss_weights: Tensor

    def __init__(
        self,
        config: AttributeConfig,
        frame_shape: tuple[int, int],
        weights: Any,
        parts: tuple[str, ...] = PARTS,
    ) -> None:
        super().__init__()
        self.config, self.parts = config, parts
        self.spec = network(config.network)
        self.network = self.spec.build(frame_shape, config.n_outputs)
        self.register_buffer("loss_weights", torch.as_tensor(weights), persistent=False)

    def forward(self, batch: dict[str, Tensor]) -> Tensor:
        """Return the logits of a batch."""
        return inputs.forward(self.network, self.spec.inputs, batch, self.config.input)

    def _step(self, batch: dict[str, Tensor], part: str) -> Tensor:
        logits = self(batch)
        loss = loss_function(self.config, self.loss_weights)(logits, batch["target"])
        values = {f"{part}_loss": loss}
        if self.config.attribute != "peak_location":
            right = decide(self.config, logits) == batch["target"]
            values[f"{part}_accuracy"] = right.to(torch.float32).mean()
        self.log_dict(
            values,
            on_step=False,
            on_epoch=True,
            batch_size=len(logits),
            sync_dist=True,
            add_dataloader_idx=False,
        )
        return loss

    def training_step(self, batch: dict[str, Tensor], batch_index: int) -> Tensor:
        """Return the loss of a training batch."""
        return self._step(mirrored(batch) if self.config.mirror else batch, "train")

    def validation_step(
        self, batch: dict[str, Tensor], batch_index: int, dataloader_idx: int = 0
    ) -> None:
        """Log loss and accuracy of a batch of one of the other parts."""
        self._step(batch, self.parts[dataloader_idx])

    def configure_optimizers(self) -> torch.optim.Optimizer:
        """Return the optimiser of the configuration."""
        chosen = self.config.optimiser.chosen
        options: dict[str, Any] = {"lr": chosen.learning_rate, "weight_decay": chosen.weight_decay}
        if isinstance(chosen, Adam):
            return torch.optim.Adam(self.network.parameters(), **options)
        return torch.optim.SGD(self.network.parameters(), momentum=chosen.momentum, **options)

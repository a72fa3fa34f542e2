"""Fitting the locator to examples."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from hitfinder.network.channels import CHANNELS, SIZE, channels, root_of_window
from hitfinder.network.training.architecture import Locator, loss_of
from hitfinder.network.training.examples import Examples

TRUTHS = ("true", "d_fs", "d_ss", "root_photons")
_WEIGHTS = {"found": 1.0, "place": 0.1, "photons": 0.05}


@dataclasses.dataclass(frozen=True)
class FitSettings:
    """How the locator is fitted.

    Parameters
    ----------
    epochs : int
        Passes over the examples.
    batch_size : int
        Crops in a step.
    learning_rate : float
        Largest rate of AdamW, reached after a tenth of the steps and brought to 0 by a cosine.
    weight_decay : float
        Of AdamW.
    """

    epochs: int = 6
    batch_size: int = 512
    learning_rate: float = 3e-3
    weight_decay: float = 1e-4


def truth_of(examples: Examples) -> dict[str, NDArray[np.float32]]:
    """Return what the network is to say of examples, as `architecture.loss_of` takes it."""
    labels = examples.labels
    root = np.sqrt(labels["photons"]) - root_of_window(examples.counts, examples.background)
    return {
        "true": labels["true"].astype(np.float32),
        "d_fs": labels["d_fs"].copy(),
        "d_ss": labels["d_ss"].copy(),
        "root_photons": root.astype(np.float32),
    }


def batch_of(
    examples: Examples, truth: dict[str, NDArray], rows: NDArray[np.intp], symmetry: int
) -> tuple[Tensor, dict[str, Tensor]]:
    """Make a batch, turned by one of the eight symmetries of the square."""
    maps = np.empty((len(rows), len(CHANNELS), SIZE, SIZE), np.float32)
    channels(
        examples.counts[rows],
        examples.background[rows],
        examples.direction[rows],
        examples.labels["texture"][rows],
        maps,
    )
    told = {name: torch.from_numpy(truth[name][rows].copy()) for name in TRUTHS}
    turned = torch.from_numpy(maps)
    if symmetry & 1:  # fs -> -fs
        turned = turned.flip(3)
        turned[:, 5] *= -1
        told["d_fs"] = -told["d_fs"]
    if symmetry & 2:  # ss -> -ss
        turned = turned.flip(2)
        turned[:, 5] *= -1
        told["d_ss"] = -told["d_ss"]
    if symmetry & 4:  # fs <-> ss
        turned = turned.transpose(2, 3).clone()
        turned[:, 4] *= -1
        told["d_fs"], told["d_ss"] = told["d_ss"], told["d_fs"]
    return turned, told


def fit(
    examples: Examples,
    settings: FitSettings,
    seed: int,
    on_step: Callable[[dict[str, float]], None],
    device: str = "cpu",
) -> Locator:
    """Fit a locator.

    Parameters
    ----------
    examples : Examples
        What to learn from.
    settings : FitSettings
        How.
    seed : int
        Fixes weights and order.
    on_step : callable
        Called with the mean losses of every epoch.
    device : str
        Where to compute.
    """
    torch.manual_seed(seed)
    rng = np.random.default_rng(seed)
    network = Locator().to(device)
    truth = truth_of(examples)
    n_steps = settings.epochs * (len(examples) // settings.batch_size)
    optimiser = torch.optim.AdamW(
        network.parameters(), settings.learning_rate, weight_decay=settings.weight_decay
    )
    schedule = torch.optim.lr_scheduler.LambdaLR(optimiser, lambda k: _pace(k, n_steps))
    for epoch in range(settings.epochs):
        order = rng.permutation(len(examples))
        sums: dict[str, float] = {}
        batches = len(order) // settings.batch_size
        for k in range(batches):
            rows = order[k * settings.batch_size : (k + 1) * settings.batch_size]
            maps, told = batch_of(examples, truth, rows, int(rng.integers(8)))
            answer = network(maps.to(device))[:, :, 0, 0]
            losses = loss_of(answer, {n: v.to(device) for n, v in told.items()})
            optimiser.zero_grad()
            torch.stack([_WEIGHTS[n] * loss for n, loss in losses.items()]).sum().backward()
            torch.nn.utils.clip_grad_norm_(network.parameters(), 1.0)
            optimiser.step()
            schedule.step()
            for name, loss in losses.items():
                sums[name] = sums.get(name, 0.0) + float(loss.detach()) / batches
        on_step({"epoch": epoch + 1, **sums})
    return network.cpu().eval()


def _pace(step: int, n_steps: int) -> float:
    warm = max(1, n_steps // 10)
    if step < warm:
        return (step + 1) / warm
    return 0.5 * (1 + math.cos(math.pi * min(1.0, (step - warm) / max(1, n_steps - warm))))


def answers(network: Locator, examples: Examples, batch_size: int = 4096) -> NDArray[np.float32]:
    """Return what a locator says of examples, shape (n, number of outputs)."""
    truth = truth_of(examples)
    out = []
    with torch.inference_mode():
        for start in range(0, len(examples), batch_size):
            rows = np.arange(start, min(start + batch_size, len(examples)))
            maps, _ = batch_of(examples, truth, rows, 0)
            out.append(network(maps)[:, :, 0, 0].numpy())
    return np.concatenate(out)

"""Fitting the locator to examples."""

from __future__ import annotations

import copy
import dataclasses
import json
import math
from collections.abc import Iterator

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


class Fitting:
    """A fit of a locator that can be put away at any step and gone on with.

    Parameters
    ----------
    examples : Examples
        What to learn from.
    settings : FitSettings
        How.
    seed : int
        Fixes weights and order.
    device : str
        Where to compute.
    """

    def __init__(
        self, examples: Examples, settings: FitSettings, seed: int, device: str = "cpu"
    ) -> None:
        torch.manual_seed(seed)
        self.settings, self._device = settings, device
        self._examples, self._truth = examples, truth_of(examples)
        self._rng = np.random.default_rng(seed)
        self._network = Locator().to(device)
        self._optimiser = torch.optim.AdamW(
            self._network.parameters(), settings.learning_rate, weight_decay=settings.weight_decay
        )
        self._batch, self._sums = 0, dict[str, float]()
        self._rng_of_epoch = self._rng.bit_generator.state
        self.losses: list[dict[str, float]] = []
        """Mean losses of every epoch that is done."""

    @property
    def network(self) -> Locator:
        """The locator as it is, ready to answer."""
        return copy.deepcopy(self._network).cpu().eval()

    def steps(self) -> Iterator[None]:
        """Fit to the end, and yield after every step; an epoch's last step ends the epoch too."""
        batches = len(self._examples) // self.settings.batch_size
        while len(self.losses) < self.settings.epochs:
            order = self._rng.permutation(len(self._examples))
            for _ in range(self._batch):
                self._symmetry()  # as the steps of the epoch that are done have drawn it
            while self._batch < batches:
                self._step(order, batches)
                if self._batch < batches:
                    yield
            self.losses.append({"epoch": len(self.losses) + 1, **self._sums})
            self._batch, self._sums = 0, {}
            self._rng_of_epoch = self._rng.bit_generator.state
            yield

    def _symmetry(self) -> int:
        return int(self._rng.integers(8))

    def _step(self, order: NDArray[np.intp], batches: int) -> None:
        size = self.settings.batch_size
        rows = order[self._batch * size : (self._batch + 1) * size]
        maps, told = batch_of(self._examples, self._truth, rows, self._symmetry())
        answer = self._network(maps.to(self._device))[:, :, 0, 0]
        losses = loss_of(answer, {n: v.to(self._device) for n, v in told.items()})
        done = len(self.losses) * batches + self._batch
        pace = _pace(done, self.settings.epochs * batches)
        for group in self._optimiser.param_groups:
            group["lr"] = self.settings.learning_rate * pace
        self._optimiser.zero_grad()
        torch.stack([_WEIGHTS[n] * loss for n, loss in losses.items()]).sum().backward()
        torch.nn.utils.clip_grad_norm_(self._network.parameters(), 1.0)
        self._optimiser.step()
        for name, loss in losses.items():
            self._sums[name] = self._sums.get(name, 0.0) + float(loss.detach()) / batches
        self._batch += 1

    def state(self) -> dict[str, NDArray]:
        """Return all that a fit that goes on has to know, for `restore`."""
        told = {
            "batch": self._batch,
            "sums": self._sums,
            "losses": self.losses,
            "rng": self._rng_of_epoch,
        }
        arrays = {"told": np.frombuffer(json.dumps(told).encode(), np.uint8)}
        for name, value in self._network.state_dict().items():
            arrays[f"network/{name}"] = value.cpu().numpy()
        for number, values in self._optimiser.state_dict()["state"].items():
            for name, value in values.items():
                arrays[f"optimiser/{number}/{name}"] = value.cpu().numpy()
        return arrays

    def restore(self, arrays: dict[str, NDArray]) -> None:
        """Go on from what `state` gave, of a fit to the same examples with the same settings."""
        told = json.loads(arrays["told"].tobytes())
        self._batch, self._sums, self.losses = told["batch"], told["sums"], told["losses"]
        self._rng_of_epoch = self._rng.bit_generator.state = told["rng"]
        weights: dict[str, Tensor] = {}
        moments: dict[int, dict[str, Tensor]] = {}
        for key, value in arrays.items():
            kind, _, name = key.partition("/")
            if kind == "network":
                weights[name] = torch.from_numpy(value)
            elif kind == "optimiser":
                number, _, moment = name.partition("/")
                moments.setdefault(int(number), {})[moment] = torch.from_numpy(value)
        self._network.load_state_dict(weights)
        groups = self._optimiser.state_dict()["param_groups"]
        self._optimiser.load_state_dict({"state": moments, "param_groups": groups})


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

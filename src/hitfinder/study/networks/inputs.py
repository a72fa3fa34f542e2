"""From counts to what a network sees, the same in training and in prediction."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from hitfinder.study.networks.recipe import CUT, InputConfig

EV_PER_KEV = 1000.0


def prepare(counts: Tensor, config: InputConfig) -> Tensor:
    """Turn counts into a network's input.

    Parameters
    ----------
    counts : Tensor, shape (batch, 1, rows, columns)
        Counts of any integer or floating type.
    config : InputConfig
        Transform and normalisation.

    Returns
    -------
    Tensor of float32, shape of `counts`
    """
    x = counts.to(torch.float32)
    if config.transform == "sqrt":
        x = 2 * torch.sqrt(x + 0.375)
    elif config.transform == "log":
        x = torch.log1p(x)
    if config.normalise == "variance":
        x = x - _mean(x)
        # A frame of equal counts has no variance and stays at zero.
        x = x / x.std(dim=(1, 2, 3), keepdim=True).clamp_min(1e-6)
    elif config.normalise == "mean":
        x = torch.minimum(x, CUT * _mean(x))
        x = x / _mean(x).clamp_min(1e-6) - 1
    return x


def _mean(x: Tensor) -> Tensor:
    return x.mean(dim=(1, 2, 3), keepdim=True)


def parameters(camera_length_m: Tensor, photon_energy_ev: Tensor) -> Tensor:
    """Stack what the parameter-aware network is told: camera length in m, photon energy in keV.

    Parameters
    ----------
    camera_length_m, photon_energy_ev : Tensor, shape (batch,)
        As their names say.

    Returns
    -------
    Tensor of float32, shape (batch, 2)
    """
    return torch.stack([camera_length_m, photon_energy_ev / EV_PER_KEV], dim=1).to(torch.float32)


def forward(
    model: nn.Module, takes: tuple[str, ...], batch: Mapping[str, Tensor], config: InputConfig
) -> Tensor:
    """Return the logits of a batch as it comes from a loader.

    Parameters
    ----------
    model : nn.Module
        The network.
    takes : tuple of str
        What it takes, as in the registry.
    batch : mapping of Tensor
        With the images and attributes that are needed.
    config : InputConfig
        What the network sees of the counts.
    """
    given = []
    for name in takes:
        if name == "parameters":
            given.append(parameters(batch["clen"], batch["photon_energy"]))
        else:
            given.append(prepare(batch[name], config))
    return model(*given)

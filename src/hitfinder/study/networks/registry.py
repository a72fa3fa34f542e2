"""Every network that can be trained, by name. Add a line here to add a network."""

from __future__ import annotations

import dataclasses
import difflib
import importlib
from typing import TYPE_CHECKING, Literal

from hitfinder.errors import ConfigError

if TYPE_CHECKING:
    from torch import nn

Input = Literal["frame", "signal", "parameters"]


@dataclasses.dataclass(frozen=True)
class NetworkSpec:
    """A network and what goes in and comes out.

    Parameters
    ----------
    name : str
        Name, as on the command line.
    path : str
        ``module:Class``, called with the frame shape and the number of outputs.
    gives : {"logits", "map"}
        Logits for a frame, or for each of its pixels.
    about : str
        One line for lists.
    inputs : tuple of str
        What `forward` takes: ``frame`` (counts with background), ``signal`` (Bragg counts alone),
        ``parameters`` (camera length in m, photon energy in keV).
    """

    name: str
    path: str
    gives: Literal["logits", "map"]
    about: str
    inputs: tuple[Input, ...] = ("frame",)

    def build(self, frame_shape: tuple[int, int], n_outputs: int) -> nn.Module:
        """Make the network, untrained.

        Parameters
        ----------
        frame_shape : tuple of int
            Rows and columns of the frames.
        n_outputs : int
            Logits, or maps, per frame.

        Raises
        ------
        ConfigError
            If frames of this shape are too small for it.
        """
        module, _, name = self.path.partition(":")
        try:
            return getattr(importlib.import_module(module), name)(tuple(frame_shape), n_outputs)
        except ValueError as error:
            raise ConfigError(str(error), f"network {self.name!r}") from error


_PAPER = "hitfinder.study.networks."

NETWORKS: dict[str, NetworkSpec] = {
    spec.name: spec
    for spec in (
        NetworkSpec(
            "base", _PAPER + "base:BaseCnn", "logits", "one convolution and a linear layer"
        ),
        NetworkSpec(
            "binary", _PAPER + "binary:BinaryCnn", "logits", "two convolutions with group norm"
        ),
        NetworkSpec(
            "binary-parameters",
            _PAPER + "binary:BinaryCnnWithParameters",
            "logits",
            "binary, told camera length and photon energy",
            ("frame", "parameters"),
        ),
        NetworkSpec(
            "dual-input",
            _PAPER + "dual_input:DualInputCnn",
            "logits",
            "two branches: the frame and its clean signal",
            ("frame", "signal"),
        ),
        NetworkSpec(
            "linear", _PAPER + "base:LinearClassifier", "logits", "one linear layer from the pixels"
        ),
        NetworkSpec(
            "heatmap", _PAPER + "heatmap:HeatmapCnn", "map", "channel and spatial attention"
        ),
        NetworkSpec("dncnn", _PAPER + "dncnn:DnCnn", "map", "17-layer denoiser"),
        NetworkSpec("resnet50", _PAPER + "resnet:ResNet50", "logits", "ResNet-50, for transfer"),
    )
}


def network(name: str) -> NetworkSpec:
    """Return the network of that name.

    Raises
    ------
    ConfigError
        If there is none.
    """
    if name not in NETWORKS:
        close = difflib.get_close_matches(name, NETWORKS, n=1)
        known = f"Known are {', '.join(NETWORKS)}."
        hint = f"Did you mean {close[0]!r}?" if close else known
        raise ConfigError(f"there is no network {name!r}", hint=hint)
    return NETWORKS[name]

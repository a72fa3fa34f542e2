"""Every network that can be trained, by name."""

from __future__ import annotations

import dataclasses
import inspect
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Literal, Protocol, cast, get_args

from hitfinder.errors import ConfigError
from hitfinder.plugins import Registry

if TYPE_CHECKING:
    from torch import nn

Input = Literal["frame", "signal", "parameters"]
Gives = Literal["logits", "map"]


class NetworkClass(Protocol):
    """What is registered as a network: a class of PyTorch modules.

    Attributes
    ----------
    gives : {"logits", "map"}
        Logits for a frame, shape (batch, n_outputs), or for each of its pixels, shape (batch,
        n_outputs, rows, columns). Logits serve for ``peak``, ``photon_energy`` and
        ``camera_length``, a map for ``peak_location``.

    Notes
    -----
    A class may have ``inputs`` besides, a tuple of what `forward` takes, in order: ``frame``
    (counts with background, shape (batch, 1, rows, columns); alone by default), ``signal`` (Bragg
    counts alone, of the same shape) and ``parameters`` (camera length in m and photon energy in
    keV, shape (batch, 2)). Its first line of documentation stands in lists.

    All that a trained network needs to predict must be in its ``state_dict``, and frames must not
    influence one another in evaluation mode. `hitfinder.testing.check_network` tries it.
    """

    gives: Gives

    def __call__(self, frame_shape: tuple[int, int], n_outputs: int) -> nn.Module:
        """Make the network, untrained, or raise ValueError if such frames are too small for it."""
        ...


@dataclasses.dataclass(frozen=True)
class NetworkSpec:
    """A network and what goes in and comes out.

    Parameters
    ----------
    name : str
        Name, as on the command line.
    gives : {"logits", "map"}
        Logits for a frame, or for each of its pixels.
    about : str
        One line for lists.
    inputs : tuple of str
        What `forward` takes: ``frame`` (counts with background), ``signal`` (Bragg counts alone),
        ``parameters`` (camera length in m, photon energy in keV).
    """

    name: str
    gives: Gives
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
            If frames of this shape are too small for it, or it cannot be built.
        """
        found = NETWORKS.find(self.name)
        where = f"network {self.name!r}"
        try:
            made: nn.Module = NETWORKS.load(self.name)(tuple(frame_shape), n_outputs)
        except ValueError as error:
            raise ConfigError(str(error), where) from error
        except Exception as error:
            if found.is_ours or isinstance(error, ConfigError):
                raise
            what = f"cannot be built ({type(error).__name__}: {error})"
            raise ConfigError(what, where, f"It is from {found.origin}.") from error
        return made


_PAPER = "hitfinder.study.networks."

_OURS: Mapping[str, tuple[str, NetworkSpec]] = {
    spec.name: (_PAPER + path, spec)
    for path, spec in (
        ("base:BaseCnn", NetworkSpec("base", "logits", "one convolution and a linear layer")),
        (
            "binary:BinaryCnn",
            NetworkSpec("binary", "logits", "two convolutions with group norm"),
        ),
        (
            "binary:BinaryCnnWithParameters",
            NetworkSpec(
                "binary-parameters",
                "logits",
                "binary, told camera length and photon energy",
                ("frame", "parameters"),
            ),
        ),
        (
            "dual_input:DualInputCnn",
            NetworkSpec(
                "dual-input",
                "logits",
                "two branches: the frame and its clean signal",
                ("frame", "signal"),
            ),
        ),
        (
            "base:LinearClassifier",
            NetworkSpec("linear", "logits", "one linear layer from the pixels"),
        ),
        ("heatmap:HeatmapCnn", NetworkSpec("heatmap", "map", "channel and spatial attention")),
        ("dncnn:DnCnn", NetworkSpec("dncnn", "map", "17-layer denoiser")),
        ("resnet:ResNet50", NetworkSpec("resnet50", "logits", "ResNet-50, for transfer")),
    )
}
"""What is known of our networks without importing PyTorch."""

NETWORKS = Registry(
    "network", "hitfinder.networks", {name: path for name, (path, _) in _OURS.items()}
)
"""What `--model` takes."""


def network(name: str) -> NetworkSpec:
    """Return the network of that name, or of that ``module:Class``.

    Raises
    ------
    ConfigError
        If there is none, or a class does not say what it takes and gives.
    """
    found = NETWORKS.find(name)
    if found.is_ours:
        return _OURS[name][1]
    return _described(name, NETWORKS.load(name), found.origin)


def _described(name: str, cls: Any, origin: str) -> NetworkSpec:
    """Return what a class of another package says of itself."""
    gives, inputs = getattr(cls, "gives", None), getattr(cls, "inputs", ("frame",))
    where, hint = f"network {name!r}", f"It is from {origin}."
    if gives not in get_args(Gives):
        what = f"its attribute 'gives' must be one of {', '.join(get_args(Gives))}, is {gives!r}"
        raise ConfigError(what, where, hint)
    known = get_args(Input)
    if not isinstance(inputs, tuple) or not inputs or not set(inputs) <= set(known):
        what = f"its attribute 'inputs' must be a tuple of {', '.join(known)}, is {inputs!r}"
        raise ConfigError(what, where, hint)
    about = (inspect.getdoc(cls) or name).splitlines()[0].rstrip(".")
    return NetworkSpec(name, cast(Gives, gives), about, cast(tuple[Input, ...], inputs))

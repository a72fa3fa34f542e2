"""A trained network of the study: its configuration, and what is known of it.

Besides what every model folder has, that of a trained network has ``config.toml``, the
configuration it was trained with, and ``history.csv``, loss and accuracy against epoch. Nothing in
it is executed when it is read; the class of a network that is not ours is imported by the name that
the configuration has for it.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from numpy.typing import NDArray

from hitfinder import config as settings
from hitfinder.config import to_toml
from hitfinder.errors import ConfigError
from hitfinder.network import folder
from hitfinder.network.folder import INFO, WEIGHTS, ModelError, ModelFolder
from hitfinder.network.tensors import read_weights
from hitfinder.study.networks import attribute
from hitfinder.study.networks.attribute import AttributeConfig

if TYPE_CHECKING:
    from torch import nn

KIND, CONFIG, HISTORY = "study", "config.toml", "history.csv"

HISTORY_COLUMNS = {
    "epoch": ("integer", "1", "number of the epoch, from 0"),
    "learning_rate": ("number", "1", "learning rate in the epoch"),
    "train_loss": ("number", "1", "mean loss over the frames that are trained on"),
    "train_accuracy": ("number", "1", "share of them that are answered right; not of positions"),
    "validation_loss": ("number", "1", "loss over the frames that decide which epoch is kept"),
    "validation_accuracy": ("number", "1", "share of those that are answered right"),
    "test_loss": ("number", "1", "loss over the test frames"),
    "test_accuracy": ("number", "1", "share of the test frames that are answered right"),
}
"""Columns of ``history.csv``, a row per epoch: type, unit, meaning. Parts of the data that are not
watched have none."""


@dataclasses.dataclass(frozen=True)
class _Description:
    """What ``model.json`` says of a network, for those who do not read the configuration."""

    attribute: str
    network: str
    class_values: tuple[float, ...]
    frame_shape: tuple[int, int]
    threshold: float | None = None

    def __post_init__(self) -> None:
        if min(self.frame_shape) < 1:
            raise ValueError(f"frame_shape must be positive, got {self.frame_shape}")
        if self.threshold is not None and not 0 <= self.threshold <= 1:
            raise ValueError(f"threshold must be in 0..1, got {self.threshold}")


@dataclasses.dataclass(frozen=True)
class TrainedNetwork:
    """What is known of a trained network.

    Parameters
    ----------
    config : AttributeConfig
        What it predicts and how it was trained.
    frame_shape : tuple of int
        Rows and columns of the frames it takes.
    threshold : float, optional
        Probability from which on there is a peak; None where the answer is a class.
    provenance : dict
        Version, seed, data and command that made it.
    metrics : dict
        How well it did, by name.
    path : Path, optional
        Folder it was read from.
    """

    config: AttributeConfig
    frame_shape: tuple[int, int]
    threshold: float | None = None
    provenance: dict[str, Any] = dataclasses.field(default_factory=dict)
    metrics: dict[str, Any] = dataclasses.field(default_factory=dict)
    path: Path | None = None

    def weights(self) -> dict[str, NDArray]:
        """Read the weights.

        Raises
        ------
        ModelError
            If the file is damaged or a weight is not a finite number.
        """
        assert self.path is not None
        return read_weights(self.path / WEIGHTS, ModelError)

    def network(self) -> nn.Module:
        """Build the network with its weights, ready to predict.

        Raises
        ------
        ModelError
            If the weights are not those of the network.
        """
        import torch

        from hitfinder.study.networks.registry import network

        spec = network(self.config.network)
        # Without memory first, so that large weights are held once and not drawn at random.
        with torch.device("meta"):
            model = spec.build(self.frame_shape, self.config.n_outputs)
        given = {name: torch.from_numpy(value) for name, value in self.weights().items()}
        wanted = model.state_dict()
        for name in sorted(set(wanted) | set(given)):
            if name not in given or name not in wanted or given[name].shape != wanted[name].shape:
                raise ModelError(
                    f"weight {name!r} does not fit the network {spec.name!r}", str(self.path)
                )
        model.load_state_dict(given, assign=True)
        return model.eval()


def save(
    path: str | Path,
    made: TrainedNetwork,
    weights: Mapping[str, NDArray],
    history: str = "",
    *,
    overwrite: bool = False,
) -> TrainedNetwork:
    """Write a trained network, whole or not at all.

    Parameters
    ----------
    path : path-like
        Folder to make.
    made : TrainedNetwork
        What is known of the network.
    weights : mapping of ndarray
        By parameter name.
    history : str
        Table of loss and accuracy against epoch, as CSV.
    overwrite : bool
        Replace a model that is there; other files in the folder are left alone.

    Raises
    ------
    OutputError
        If there is a model already, or it cannot be written.
    ModelError
        If a weight is not a finite number.
    """
    path = Path(path)
    told = ModelFolder(
        path, KIND, dataclasses.asdict(_description(made)), made.provenance, made.metrics
    )
    files = {CONFIG: to_toml(made.config).encode(), HISTORY: history.encode()}
    folder.write(told, weights, files, overwrite=overwrite)
    return dataclasses.replace(made, path=path)


def load(path: str | Path) -> TrainedNetwork:
    """Read what is known of a network and check that its files are those it was written with.

    Raises
    ------
    ModelError
        If there is none, it is of another version or kind, or a file is absent or changed.
    """
    found = folder.read(path, KIND)
    where = str(found.path / INFO)
    if CONFIG not in found.files:
        found.refuse(f"names no {CONFIG}")
    try:
        told = settings.build(_Description, found.description, where)
        config = attribute.load(found.path / CONFIG)
    except ConfigError as error:
        hint = "The model is from another version, or needs a package that is not installed."
        raise ModelError(str(error), hint=hint) from error
    made = TrainedNetwork(
        config, told.frame_shape, told.threshold, found.provenance, found.metrics, found.path
    )
    if told != _description(made):
        raise ModelError(f"{INFO} and {CONFIG} describe different networks", str(path))
    if (told.threshold is None) != config.is_classified:
        found.refuse(f"threshold {told.threshold} does not go with {config.attribute}")
    return made


def _description(made: TrainedNetwork) -> _Description:
    config = made.config
    return _Description(
        config.attribute, config.network, config.class_values, made.frame_shape, made.threshold
    )

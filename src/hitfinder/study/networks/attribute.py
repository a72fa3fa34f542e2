"""What is learnt of a frame, and how: the configuration of one attribute."""

from __future__ import annotations

import dataclasses
import tomllib
from importlib import resources
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from hitfinder import config
from hitfinder.errors import ConfigError
from hitfinder.study.networks.recipe import InputConfig, Loss, Optimiser, Plateau, Stopping
from hitfinder.study.networks.registry import network

Attribute = Literal["peak", "photon_energy", "camera_length", "peak_location"]
ATTRIBUTES: tuple[Attribute, ...] = ("peak", "photon_energy", "camera_length", "peak_location")
UNITS = {"photon_energy": "eV", "camera_length": "m"}

EXACT_TOLERANCE = 1e-3
"""Relative difference up to which a value is that of its class."""


@dataclasses.dataclass(frozen=True)
class AttributeConfig:
    """How an attribute is learnt.

    Parameters
    ----------
    attribute : {"peak", "photon_energy", "camera_length", "peak_location"}
        What is learnt.
    network : str
        Name in the registry.
    epochs, batch_size : int
        Length of the training, and frames per step.
    loss : Loss
        Binary for peak and peak location, classes for the other two.
    optimiser : Optimiser
        The optimiser.
    input : InputConfig
        What the network sees.
    mirror : bool
        Mirror frames at random, along either axis, while training.
    threshold : float, optional
        Probability from which on there is a peak; for peak and peak location.
    class_values : tuple of float
        Value of each class, rising; eV or m; for photon energy and camera length.
    matching : {"exact", "nearest"}
        Whether a frame's value must be that of a class, or belongs to the nearest.
    scheduler : Plateau, optional
        Without one the learning rate stays.
    early_stopping : Stopping, optional
        Without one all epochs are run.
    """

    attribute: Attribute
    network: str
    epochs: int
    batch_size: int
    loss: Loss
    optimiser: Optimiser
    input: InputConfig = dataclasses.field(default_factory=InputConfig)
    mirror: bool = False
    threshold: float | None = None
    class_values: tuple[float, ...] = ()
    matching: Literal["exact", "nearest"] = "exact"
    scheduler: Plateau | None = None
    early_stopping: Stopping | None = None

    def __post_init__(self) -> None:
        spec = network(self.network)
        if self.epochs < 1 or self.batch_size < 1:
            raise ValueError("epochs and batch_size must be at least 1")
        wanted = "map" if self.attribute == "peak_location" else "logits"
        if spec.gives != wanted:
            raise ValueError(
                f"{self.attribute} needs a network that gives {wanted}, "
                f"{self.network!r} gives {spec.gives}"
            )
        self._check_classes() if self.is_classified else self._check_binary()

    def _check_binary(self) -> None:
        if self.loss.binary is None:
            raise ValueError(f"{self.attribute} needs the binary loss")
        if self.threshold is None or not 0 < self.threshold < 1:
            raise ValueError(f"{self.attribute} needs a threshold between 0 and 1")
        if self.attribute == "peak_location" and self.loss.binary.pos_weight is None:
            raise ValueError("peak_location needs a pos_weight")
        if self.class_values:
            raise ValueError(f"{self.attribute} has no class values")

    def _check_classes(self) -> None:
        if self.loss.classes is None:
            raise ValueError(f"{self.attribute} needs the loss over classes")
        if self.threshold is not None:
            raise ValueError(f"{self.attribute} has no threshold")
        values = np.asarray(self.class_values)
        if len(values) < 2 or np.any(np.diff(values) <= 0) or values[0] <= 0:
            raise ValueError("class_values must be two or more positive numbers, rising")

    @property
    def is_classified(self) -> bool:
        """Whether the attribute is one of several values."""
        return self.attribute in UNITS

    @property
    def n_outputs(self) -> int:
        """Logits per frame, or maps."""
        return len(self.class_values) if self.is_classified else 1

    @property
    def class_names(self) -> list[str]:
        """Name of each class, for tables and figures."""
        if not self.is_classified:
            return ["no peak", "peak"]
        if self.attribute == "photon_energy":
            return [f"{value / 1000:g} keV" for value in self.class_values]
        return [f"{value:g} m" for value in self.class_values]

    def classes_of(self, values: ArrayLike) -> NDArray[np.int64]:
        """Return the class of each value of the attribute.

        Parameters
        ----------
        values : array_like of float
            Photon energies in eV or camera lengths in m.

        Raises
        ------
        ConfigError
            If a value belongs to no class.
        """
        given, classes = np.atleast_1d(np.asarray(values, float)), np.asarray(self.class_values)
        index = np.abs(given[:, None] - classes[None, :]).argmin(axis=1)
        if self.matching == "exact":
            allowed = EXACT_TOLERANCE * classes[index]
        else:
            steps = np.diff(classes)
            allowed = 0.5000001 * np.maximum(np.append(steps, 0), np.insert(steps, 0, 0))[index]
        outside = np.abs(given - classes[index]) > allowed
        if outside.any():
            unit = UNITS[self.attribute]
            raise ConfigError(
                f"{given[outside][0]:g} {unit} belongs to no class of {self.attribute}",
                hint=f"The classes are {', '.join(self.class_names)} ({self.matching} match).",
            )
        return index.astype(np.int64)


def packaged_text(attribute: str) -> str:
    """Return the packaged configuration of an attribute as TOML, to be read and changed.

    Raises
    ------
    ConfigError
        If there is no such attribute.
    """
    if attribute not in ATTRIBUTES:
        known = ", ".join(ATTRIBUTES)
        raise ConfigError(f"there is no attribute {attribute!r}", hint=f"Known are {known}.")
    folder = resources.files("hitfinder.study.networks.attributes")
    return folder.joinpath(f"{attribute}.toml").read_text(encoding="utf-8")


def packaged(attribute: str) -> AttributeConfig:
    """Return the packaged configuration of an attribute.

    Raises
    ------
    ConfigError
        If there is no such attribute.
    """
    table = tomllib.loads(packaged_text(attribute))
    return config.build(AttributeConfig, table, f"{attribute}.toml")


def load(path: str | Path) -> AttributeConfig:
    """Read a configuration from a TOML file.

    Raises
    ------
    ConfigError
        If the file cannot be read or a value is unknown, of the wrong type or impossible.
    """
    return config.load(path, AttributeConfig)

"""What the study trains: data, networks and their settings at two scales."""

from __future__ import annotations

import dataclasses
from typing import Literal

from hitfinder.dataset.layout import Setting, continuous, report_matrix
from hitfinder.dataset.recipe import Recipe
from hitfinder.models import attribute
from hitfinder.models.attribute import Attribute, AttributeConfig
from hitfinder.models.recipe import Adam, InputConfig, Optimiser

Protocol = Literal["paper", "realistic"]
PROTOCOLS: tuple[Protocol, ...] = ("paper", "realistic")
FLUXES = {"normal": (1.0, 1.0), "low": (0.001, 0.1)}
"""Factor on the Bragg photons: the report's beam, and one that mostly misses the crystal."""

RANGE_ENERGY_EV, RANGE_LENGTH_M = (5000.0, 12000.0), (0.10, 0.50)
"""The report's wish: nearest keV and nearest cm over these ranges."""


@dataclasses.dataclass(frozen=True)
class Effort:
    """How much a network is trained at a scale.

    Parameters
    ----------
    epochs : int, optional
        Instead of the configuration's.
    limit : int
        Largest number of frames in each part; 0 is all.
    learning_rate : float, optional
        Instead of the configuration's.
    """

    epochs: int | None = None
    limit: int = 0
    learning_rate: float | None = None


@dataclasses.dataclass(frozen=True)
class Scale:
    """A size of the study.

    Parameters
    ----------
    name : str
        ``small`` or ``full``.
    bin : int
        Pixels joined to one, along each axis.
    frames : int
        Frames with peaks in each setting.
    range_frames : int
        Frames with peaks in the tree over ranges of energy and camera length.
    frames_per_file : int
        Frames in a file.
    batch_size : int
        Frames in a step.
    efforts : dict of Effort
        By network, where it differs from the configuration.
    """

    name: str
    bin: int
    frames: int
    range_frames: int
    frames_per_file: int
    batch_size: int
    efforts: dict[str, Effort]


SCALES = {
    "small": Scale(
        name="small",
        bin=16,
        frames=60,
        range_frames=900,
        frames_per_file=30,
        batch_size=8,
        efforts={
            "binary": Effort(epochs=25),
            "binary-parameters": Effort(epochs=8),
            "dual-input": Effort(epochs=8),
            "heatmap": Effort(epochs=8, learning_rate=1e-3),
            "resnet50": Effort(epochs=1, limit=64),
            "dncnn": Effort(epochs=1, limit=16),
        },
    ),
    "full": Scale(
        name="full",
        bin=1,
        frames=10_000,
        range_frames=50_000,
        frames_per_file=500,
        batch_size=16,
        efforts={},
    ),
}


@dataclasses.dataclass(frozen=True)
class Job:
    """One network to train and judge.

    Parameters
    ----------
    attribute, network : str
        What is learnt, and by what.
    tree : str
        Name of the tree.
    protocol : {"paper", "realistic"}
        The tree's.
    flux : str
        ``normal`` or ``low``; ``range`` for the tree over ranges.
    config : AttributeConfig
        How it is trained.
    limit : int
        Largest number of frames in each part; 0 is all.
    """

    attribute: Attribute
    network: str
    tree: str
    protocol: Protocol
    flux: str
    config: AttributeConfig
    limit: int = 0

    @property
    def name(self) -> str:
        """Folder of the network."""
        return f"{self.tree}/{self.attribute}-{self.network}"

    @property
    def validation_fraction(self) -> float:
        """The report watched its test frames; nothing else is done in its protocol."""
        return 0.0 if self.protocol == "paper" else 0.125


NETWORKS: tuple[tuple[Attribute, str], ...] = (
    ("peak", "base"),
    ("peak", "binary"),
    ("peak", "binary-parameters"),
    ("peak", "dual-input"),
    ("peak", "resnet50"),
    ("photon_energy", "linear"),
    ("camera_length", "linear"),
    ("peak_location", "heatmap"),
    ("peak_location", "dncnn"),
)
"""The report's networks, and what it used them for."""


def trees(scale: Scale, seed: int) -> dict[str, tuple[tuple[Setting, ...], Recipe]]:
    """Return the trees of the study by name: settings and recipe."""
    made = {}
    for protocol in PROTOCOLS:
        for flux, factor in FLUXES.items():
            recipe = Recipe(
                scale.frames,
                protocol=protocol,
                seed=seed,
                bin=scale.bin,
                bragg_scale=factor,
                frames_per_file=scale.frames_per_file,
            )
            made[f"{protocol}-{flux}"] = (report_matrix(), recipe)
    recipe = dataclasses.replace(recipe, frames=scale.range_frames, bragg_scale=(1.0, 1.0))
    made["range"] = (continuous(RANGE_ENERGY_EV, RANGE_LENGTH_M), recipe)
    return made


def jobs(scale: Scale) -> list[Job]:
    """Return every network to train, in order."""
    listed = [
        _job(scale, name, network, protocol, flux)
        for protocol in PROTOCOLS
        for flux in FLUXES
        for name, network in NETWORKS
    ]
    values: dict[Attribute, tuple[float, ...]] = {
        "photon_energy": tuple(1000.0 * n for n in range(5, 13)),
        "camera_length": tuple(n / 100 for n in range(10, 51)),
    }
    for name, classes in values.items():
        config = dataclasses.replace(
            _config(scale, name, "linear"), class_values=classes, matching="nearest"
        )
        listed.append(Job(name, "linear", "range", "realistic", "range", config))
    return listed


def _job(scale: Scale, name: Attribute, network: str, protocol: Protocol, flux: str) -> Job:
    effort = scale.efforts.get(network, Effort())
    config = _config(scale, name, network)
    return Job(name, network, f"{protocol}-{flux}", protocol, flux, config, effort.limit)


def _config(scale: Scale, name: Attribute, network: str) -> AttributeConfig:
    """Return the report's settings, with what is changed, and why, said on the page.

    Energy and camera length: with the report's plain gradient descent on raw counts the outcome
    depends on the size and number of the frames, so frames are brought to mean 0 and variance 1
    and Adam is used.
    """
    effort = scale.efforts.get(network, Effort())
    config = dataclasses.replace(
        attribute.packaged(name), network=network, batch_size=scale.batch_size
    )
    if config.is_classified:
        config = dataclasses.replace(
            config,
            epochs=20,
            input=InputConfig("counts", normalise=True),
            optimiser=Optimiser(adam=Adam(1e-4)),
        )
    if effort.epochs is not None:
        config = dataclasses.replace(config, epochs=effort.epochs)
    if effort.learning_rate is not None:
        config = dataclasses.replace(config, optimiser=Optimiser(adam=Adam(effort.learning_rate)))
    return config

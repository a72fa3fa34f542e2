"""What the study trains: data, networks and their settings at two scales."""

from __future__ import annotations

import dataclasses
from typing import Any, Literal

from hitfinder.study.dataset.layout import Setting, continuous, report_matrix
from hitfinder.study.dataset.recipe import Recipe
from hitfinder.study.networks import attribute
from hitfinder.study.networks.attribute import Attribute, AttributeConfig
from hitfinder.study.networks.recipe import (
    Adam,
    BinaryLoss,
    InputConfig,
    Loss,
    Optimiser,
    Plateau,
    Sgd,
)

Protocol = Literal["paper", "realistic"]
PROTOCOLS: tuple[Protocol, ...] = ("paper", "realistic")
FLUXES = {"normal": (1.0, 1.0), "low": (0.001, 0.1)}
"""Factor on the Bragg photons: the report's beam, and one that mostly misses the crystal."""

CLASS_RATE, RANGE_RATE = 1.2e-4, 1e-5
"""Learning rates of energy and camera length, of frames of 75 µm pixels: of gradient descent for
the report's three classes each, and of Adam for the many over the ranges."""

RANGE_ENERGY_EV, RANGE_LENGTH_M = (5000.0, 12000.0), (0.10, 0.50)
"""The report's wish: nearest keV and nearest cm over these ranges."""

RANGE_CLASSES: dict[Attribute, tuple[float, ...]] = {
    "photon_energy": tuple(1000.0 * n for n in range(5, 13)),
    "camera_length": tuple(n / 100 for n in range(10, 51)),
}
"""The values to choose from, in eV and m."""

OWN_TREES = ("realistic-normal", "realistic-low", "range")
"""Trees of which some test shots are given to `hitfinder run`, at full size."""


@dataclasses.dataclass(frozen=True)
class Effort:
    """How a network is trained at a scale, where it differs from the report's settings.

    Parameters
    ----------
    epochs : int, optional
        Instead of the configuration's.
    limit : int
        Largest number of frames in each part; 0 is all.
    learning_rate : float, optional
        Of Adam, instead of the configuration's.
    input : InputConfig, optional
        What the network sees.
    scheduler : Plateau, optional
        When the learning rate falls.
    """

    epochs: int | None = None
    limit: int = 0
    learning_rate: float | None = None
    input: InputConfig | None = None
    scheduler: Plateau | None = None


def few_frames(epochs: int, limit: int = 0) -> Effort:
    """Return how hits are learnt of few frames.

    The report's 30 epochs of 144,000 frames are 270,000 steps, a small study's some 6,000. With
    the report's learning rate and raw counts the binary network then finds 90 % of the frames with
    peaks (240 a setting: 96.5 %), with these settings 98 to 99 %.
    """
    return Effort(
        epochs, limit, 5e-4, InputConfig("counts", normalise="variance"), Plateau(0.3, 2, 0.02)
    )


@dataclasses.dataclass(frozen=True)
class StudyScale:
    """A size of the study.

    Parameters
    ----------
    name : str
        ``small`` or ``full``.
    bin : int
        Pixels joined to one, along each axis.
    frames, low_flux_frames : int
        Frames with peaks in each setting, at normal and at extremely low flux.
    range_frames : int
        Frames with peaks in the tree over ranges of energy and camera length.
    frames_per_file : int
        Frames in a file.
    batch_size : int
        Frames in a step, of hits and positions.
    efforts : dict of Effort
        By network, where it differs from the configuration.
    left_out : tuple of str
        Networks that would take too long at this scale.
    own_frames : int
        Test shots of each of `OWN_TREES` that are given to `hitfinder run`.
    """

    name: str
    bin: int
    frames: int
    low_flux_frames: int
    range_frames: int
    frames_per_file: int
    batch_size: int
    efforts: dict[str, Effort]
    left_out: tuple[str, ...] = ()
    own_frames: int = 1800


SCALES = {
    "small": StudyScale(
        name="small",
        bin=16,
        frames=240,
        low_flux_frames=60,
        range_frames=900,
        frames_per_file=60,
        batch_size=8,
        efforts={
            "base": few_frames(16),
            "binary": few_frames(16),
            "binary-parameters": few_frames(8, limit=800),
            "dual-input": few_frames(6, limit=400),
            "heatmap": Effort(epochs=8, limit=400, learning_rate=1e-3),
        },
        left_out=("resnet50", "dncnn"),
        own_frames=180,
    ),
    "full": StudyScale(
        name="full",
        bin=1,
        frames=10_000,
        low_flux_frames=10_000,
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
    ("photon_energy", "linear"),
    ("camera_length", "linear"),
    ("peak", "base"),
    ("peak", "binary"),
    ("peak", "binary-parameters"),
    ("peak", "dual-input"),
    ("peak", "resnet50"),
    ("peak_location", "heatmap"),
    ("peak_location", "dncnn"),
)
"""The report's networks, and what it used them for."""


def trees(scale: StudyScale, seed: int) -> dict[str, tuple[tuple[Setting, ...], Recipe]]:
    """Return the trees of the study by name: settings and recipe."""
    made = {}
    for protocol in PROTOCOLS:
        for flux, factor in FLUXES.items():
            recipe = Recipe(
                scale.frames if flux == "normal" else scale.low_flux_frames,
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


def jobs(scale: StudyScale) -> list[Job]:
    """Return every network to train at a scale, those at normal flux first."""
    listed = [
        _job(scale, name, network, protocol, flux)
        for flux in FLUXES
        for protocol in PROTOCOLS
        for name, network in NETWORKS
        if network not in scale.left_out
    ]
    for name, classes in RANGE_CLASSES.items():
        config = dataclasses.replace(
            _config(scale, name, "linear"),
            class_values=classes,
            matching="nearest",
            optimiser=Optimiser(adam=Adam(RANGE_RATE * scale.bin**2)),
        )
        listed.append(Job(name, "linear", "range", "realistic", "range", config))
    return listed


def _job(scale: StudyScale, name: Attribute, network: str, protocol: Protocol, flux: str) -> Job:
    effort = scale.efforts.get(network, Effort())
    config = _config(scale, name, network)
    return Job(name, network, f"{protocol}-{flux}", protocol, flux, config, effort.limit)


def _config(scale: StudyScale, name: Attribute, network: str) -> AttributeConfig:
    """Return the report's settings, with what is changed.

    Energy and camera length: with plain gradient descent on raw counts the outcome depends on the
    size and number of the frames, so the frames' noise is made even (2 √(n + 3/8)) and each is
    divided by its mean, Bragg peaks cut; the gradient then grows with the number of pixels, and
    the learning rate is divided by it. A mirrored frame is as good as another, and the same frames
    then determine the weights four times as well. Positions: pixels without a peak outnumber the
    others less where pixels are joined, and their weight falls alike.
    """
    effort = scale.efforts.get(network, Effort())
    config = dataclasses.replace(attribute.packaged(name), network=network)
    if config.is_classified:
        rate = CLASS_RATE * scale.bin**2
        return dataclasses.replace(
            config,
            epochs=24,
            input=InputConfig("sqrt", normalise="mean"),
            mirror=True,
            optimiser=Optimiser(sgd=Sgd(rate, momentum=0.9)),
        )
    changes: dict[str, Any] = {"batch_size": scale.batch_size}
    if name == "peak_location":
        assert config.loss.binary is not None
        assert config.loss.binary.pos_weight is not None
        changes["loss"] = Loss(binary=BinaryLoss(config.loss.binary.pos_weight / scale.bin**2))
    for field in ("epochs", "input", "scheduler"):
        if getattr(effort, field) is not None:
            changes[field] = getattr(effort, field)
    if effort.learning_rate is not None:
        changes["optimiser"] = Optimiser(adam=Adam(effort.learning_rate))
    return dataclasses.replace(config, **changes)

"""The parts of a training: input, loss, optimiser, scheduler, early stopping."""

from __future__ import annotations

import dataclasses
from typing import Literal

CUT = 2.0
"""Times its mean, at which a frame is cut before it is divided by it."""


@dataclasses.dataclass(frozen=True)
class InputConfig:
    """What the network sees of the counts n.

    Parameters
    ----------
    transform : {"counts", "sqrt", "log"}
        n itself, 2 √(n + 3/8) (Anscombe, Biometrika 35, 246 (1948): unit variance for Poisson
        counts of a few and more), or log(1 + n).
    normalise : {"none", "variance", "mean"}
        What is done with each frame after the transform. ``variance`` brings it to mean 0 and
        variance 1. ``mean`` cuts it at `CUT` times its mean, where Bragg peaks are, divides by
        what is then the mean, and subtracts 1: unlike the variance, the mean of a frame does not
        hold its noise, so that the shape of the water is left as it is at any flux.
    """

    transform: Literal["counts", "sqrt", "log"] = "counts"
    normalise: Literal["none", "variance", "mean"] = "none"


@dataclasses.dataclass(frozen=True)
class BinaryLoss:
    """Binary cross-entropy of logits.

    Parameters
    ----------
    pos_weight : float, optional
        Weight of the positives; by default negatives over positives of the training part.
    """

    pos_weight: float | None = None

    def __post_init__(self) -> None:
        if self.pos_weight is not None and not self.pos_weight > 0:
            raise ValueError(f"pos_weight must be positive, got {self.pos_weight}")


@dataclasses.dataclass(frozen=True)
class ClassLoss:
    """Cross-entropy over classes, each weighted by its rarity or alike."""

    class_weights: Literal["balanced", "none"] = "balanced"


@dataclasses.dataclass(frozen=True)
class Loss:
    """One of the losses."""

    binary: BinaryLoss | None = None
    classes: ClassLoss | None = None

    def __post_init__(self) -> None:
        _exactly_one(self, "loss")


@dataclasses.dataclass(frozen=True)
class Adam:
    """Adam (Kingma and Ba, ICLR 2015)."""

    learning_rate: float
    weight_decay: float = 0.0

    def __post_init__(self) -> None:
        _check_rate(self.learning_rate, self.weight_decay)


@dataclasses.dataclass(frozen=True)
class Sgd:
    """Stochastic gradient descent."""

    learning_rate: float
    momentum: float = 0.0
    weight_decay: float = 0.0

    def __post_init__(self) -> None:
        _check_rate(self.learning_rate, self.weight_decay)
        if not 0 <= self.momentum < 1:
            raise ValueError(f"momentum must be in 0..1, got {self.momentum}")


@dataclasses.dataclass(frozen=True)
class Optimiser:
    """One of the optimisers."""

    adam: Adam | None = None
    sgd: Sgd | None = None

    def __post_init__(self) -> None:
        _exactly_one(self, "optimiser")

    @property
    def chosen(self) -> Adam | Sgd:
        """The one that is set."""
        chosen = self.adam or self.sgd
        assert chosen is not None
        return chosen


@dataclasses.dataclass(frozen=True)
class Plateau:
    """Lower the learning rate when the loss stops falling.

    Parameters
    ----------
    factor : float
        What the rate is multiplied by.
    patience : int
        Epochs without gain that are waited for.
    threshold : float
        Relative fall of the loss that counts as a gain.
    """

    factor: float = 0.1
    patience: int = 3
    threshold: float = 0.1

    def __post_init__(self) -> None:
        if not 0 < self.factor < 1:
            raise ValueError(f"factor must be between 0 and 1, got {self.factor}")
        if self.patience < 0 or self.threshold < 0:
            raise ValueError("patience and threshold must not be negative")


@dataclasses.dataclass(frozen=True)
class Stopping:
    """Stop when the loss has not fallen by `min_delta` for `patience` epochs."""

    patience: int
    min_delta: float = 0.0

    def __post_init__(self) -> None:
        if self.patience < 1:
            raise ValueError(f"patience must be at least 1, got {self.patience}")


def _exactly_one(settings: object, what: str) -> None:
    names = [field.name for field in dataclasses.fields(settings)]  # type: ignore[arg-type]
    chosen = [name for name in names if getattr(settings, name) is not None]
    if len(chosen) != 1:
        raise ValueError(f"choose one {what} of {', '.join(names)}, got {chosen or 'none'}")


def _check_rate(learning_rate: float, weight_decay: float) -> None:
    if not learning_rate > 0:
        raise ValueError(f"learning_rate must be positive, got {learning_rate}")
    if weight_decay < 0:
        raise ValueError(f"weight_decay must not be negative, got {weight_decay}")

"""What training makes small, and the weights in it."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from hitfinder.errors import ConfigError
from hitfinder.study.networks.attribute import AttributeConfig

LossFunction = Callable[[Tensor, Tensor], Tensor]


def loss_weights(config: AttributeConfig, targets: NDArray | None) -> NDArray[np.float32]:
    """Return the weight of the positives, or of each class.

    Parameters
    ----------
    config : AttributeConfig
        With the loss.
    targets : ndarray of int, shape (n,), optional
        Class of each training frame; not needed for peak locations.

    Returns
    -------
    ndarray of float32, shape (1,) or (n_classes,)

    Raises
    ------
    ConfigError
        If a class has no training frame.
    """
    if config.attribute == "peak_location":
        assert config.loss.binary is not None
        assert config.loss.binary.pos_weight is not None
        return np.array([config.loss.binary.pos_weight], np.float32)
    assert targets is not None
    n_classes = max(2, config.n_outputs)
    counts = np.bincount(targets, minlength=n_classes)
    if not counts.all():
        name = config.class_names[int(np.argmin(counts))]
        raise ConfigError(
            f"no training frame is of class {name!r} of {config.attribute}",
            hint="Choose more settings, or fewer class_values.",
        )
    if config.loss.binary is not None:
        given = config.loss.binary.pos_weight
        return np.array([counts[0] / counts[1] if given is None else given], np.float32)
    assert config.loss.classes is not None
    if config.loss.classes.class_weights == "none":
        return np.ones(n_classes, np.float32)
    return (len(targets) / (n_classes * counts)).astype(np.float32)


def loss_function(config: AttributeConfig, weights: Tensor) -> LossFunction:
    """Return the loss of logits against targets, averaged over the batch.

    Parameters
    ----------
    config : AttributeConfig
        With the loss.
    weights : Tensor, shape (1,) or (n_classes,)
        What `loss_weights` gives, on the device of the logits.
    """
    if config.loss.classes is not None:
        return lambda logits, target: functional.cross_entropy(logits, target, weights)
    return lambda logits, target: functional.binary_cross_entropy_with_logits(
        logits, target.to(logits.dtype).reshape(logits.shape), pos_weight=weights
    )


def decide(config: AttributeConfig, logits: Tensor, threshold: float | None = None) -> Tensor:
    """Return the class that logits stand for.

    Parameters
    ----------
    config : AttributeConfig
        With the threshold.
    logits : Tensor, shape (batch, n_outputs) or (batch, 1, rows, columns)
        Output of the network.
    threshold : float, optional
        Instead of the configuration's.

    Returns
    -------
    Tensor of int64, shape (batch,) or (batch, 1, rows, columns)
    """
    if config.is_classified:
        return logits.argmax(dim=1)
    cut = config.threshold if threshold is None else threshold
    assert cut is not None
    peaks = (torch.sigmoid(logits) >= cut).to(torch.int64)
    return peaks if config.attribute == "peak_location" else peaks[:, 0]

"""Frames as a mirror shows them, to learn from more of them than there are."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

IMAGE_DIMENSIONS = 4


def mirrored(batch: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Mirror the frames of a batch at random, all the images of a frame alike.

    Parameters
    ----------
    batch : mapping of Tensor
        Images of shape (batch, 1, rows, columns), and what belongs to whole frames.

    Returns
    -------
    dict of Tensor
        The same; the images as float32.
    """
    images = {
        name: values.to(torch.float32)
        for name, values in batch.items()
        if values.ndim == IMAGE_DIMENSIONS
    }
    n = len(next(iter(images.values())))
    for axis in (-2, -1):
        chosen = torch.rand(n, 1, 1, 1) < 0.5
        for name, values in images.items():
            images[name] = torch.where(chosen.to(values.device), values.flip(axis), values)
    return {**batch, **images}

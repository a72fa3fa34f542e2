"""The report's simplest networks: one convolution and a linear layer, or a linear layer alone."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from hitfinder.study.networks.sizes import after, require_room


class BaseCnn(nn.Module):
    """One strided convolution, ReLU, and one linear layer over all positions.

    Parameters
    ----------
    frame_shape : tuple of int
        Rows and columns of a frame.
    n_outputs : int
        Logits per frame.

    Raises
    ------
    ValueError
        If the frame is smaller than the convolution.
    """

    def __init__(self, frame_shape: tuple[int, int], n_outputs: int) -> None:
        super().__init__()
        rows, columns = (after(n, kernel=25, stride=10, padding=1) for n in frame_shape)
        require_room(frame_shape, rows, columns)
        self.convolution = nn.Conv2d(1, 2, kernel_size=25, stride=10, padding=1)
        self.linear = nn.Linear(2 * rows * columns, n_outputs)

    def forward(self, frame: Tensor) -> Tensor:
        """Return logits, shape (batch, n_outputs), of frames, shape (batch, 1, rows, columns)."""
        return self.linear(torch.relu(self.convolution(frame)).flatten(1))


class LinearClassifier(nn.Module):
    """One linear layer from the pixels to the classes.

    Parameters
    ----------
    frame_shape : tuple of int
        Rows and columns of a frame.
    n_outputs : int
        Classes.
    """

    def __init__(self, frame_shape: tuple[int, int], n_outputs: int) -> None:
        super().__init__()
        self.linear = nn.Linear(frame_shape[0] * frame_shape[1], n_outputs)

    def forward(self, frame: Tensor) -> Tensor:
        """Return logits, shape (batch, n_outputs), of frames, shape (batch, 1, rows, columns)."""
        return self.linear(frame.flatten(1))

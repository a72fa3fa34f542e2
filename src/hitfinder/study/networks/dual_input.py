"""The report's network for extremely low flux, which is shown the clean signal as well."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from hitfinder.study.networks.sizes import after, require_room

CHANNELS, HIDDEN = 32, 128


class DualInputCnn(nn.Module):
    """Two like branches, for the frame and for its Bragg signal alone, joined by linear layers.

    Real data have no frame of the signal alone, so this network serves to repeat the report.

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
        rows, columns = (after(n, kernel=5, stride=2, padding=1) // 2 for n in frame_shape)
        require_room(frame_shape, rows, columns)
        self.frame_branch = _branch()
        self.signal_branch = _branch()
        self.hidden = nn.Linear(2 * CHANNELS * rows * columns, HIDDEN)
        self.linear = nn.Linear(HIDDEN, n_outputs)

    def forward(self, frame: Tensor, signal: Tensor) -> Tensor:
        """Return logits, shape (batch, n_outputs).

        Parameters
        ----------
        frame, signal : Tensor, shape (batch, 1, rows, columns)
            Counts with the background, and those of the Bragg peaks alone.
        """
        branches = [self.frame_branch(frame).flatten(1), self.signal_branch(signal).flatten(1)]
        return self.linear(torch.relu(self.hidden(torch.cat(branches, dim=1))))


def _branch() -> nn.Sequential:
    convolution = nn.Conv2d(1, CHANNELS, kernel_size=5, stride=2, padding=1)
    return nn.Sequential(convolution, nn.ReLU(), nn.MaxPool2d(2))

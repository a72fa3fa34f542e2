"""The report's binary network, and its form that is also told energy and camera length."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from hitfinder.study.networks.sizes import after, require_room

REPORT_POSITIONS_PER_UNIT = 23782
"""Positions of the last feature map for each hidden unit of the parameter-aware network."""

REPORT_UNITS = 46
"""Hidden units that this makes on the report's detector."""


class _Features(nn.Module):
    """10×10 convolution to 8 channels, 2×2 max pool, 3×3 convolution to 16; group norm in 4s."""

    def __init__(self, frame_shape: tuple[int, int]) -> None:
        super().__init__()
        self.rows, self.columns = (
            after(after(n, kernel=10, padding=1) // 2, kernel=3, padding=1) for n in frame_shape
        )
        require_room(frame_shape, self.rows, self.columns)
        self.first = nn.Conv2d(1, 8, kernel_size=10, padding=1)
        self.first_norm = nn.GroupNorm(4, 8)
        self.pool = nn.MaxPool2d(2)
        self.second = nn.Conv2d(8, 16, kernel_size=3, padding=1)
        self.second_norm = nn.GroupNorm(4, 16)

    def forward(self, frame: Tensor) -> Tensor:
        # After the pool it is the same, and done for a quarter of the numbers.
        x = torch.relu(self.pool(self.first_norm(self.first(frame))))
        return torch.relu(self.second_norm(self.second(x))).flatten(1)


class BinaryCnn(nn.Module):
    """Two convolutions with group norm and one linear layer.

    Parameters
    ----------
    frame_shape : tuple of int
        Rows and columns of a frame.
    n_outputs : int
        Logits per frame.

    Raises
    ------
    ValueError
        If the frame is smaller than the convolutions.
    """

    def __init__(self, frame_shape: tuple[int, int], n_outputs: int) -> None:
        super().__init__()
        self.features = _Features(frame_shape)
        self.linear = nn.Linear(16 * self.features.rows * self.features.columns, n_outputs)

    def forward(self, frame: Tensor) -> Tensor:
        """Return logits, shape (batch, n_outputs), of frames, shape (batch, 1, rows, columns)."""
        return self.linear(self.features(frame))


class BinaryCnnWithParameters(nn.Module):
    """`BinaryCnn` whose last layer also sees the camera length and the photon energy.

    Parameters
    ----------
    frame_shape : tuple of int
        Rows and columns of a frame.
    n_outputs : int
        Logits per frame.
    """

    def __init__(self, frame_shape: tuple[int, int], n_outputs: int) -> None:
        super().__init__()
        self.features = _Features(frame_shape)
        positions = self.features.rows * self.features.columns
        # The rule gives no unit on a binned detector, and a single one learns nothing once it is
        # negative for every frame.
        hidden = max(REPORT_UNITS, positions // REPORT_POSITIONS_PER_UNIT)
        self.hidden = nn.Linear(16 * positions, hidden)
        self.linear = nn.Linear(hidden + 2, n_outputs)

    def forward(self, frame: Tensor, parameters: Tensor) -> Tensor:
        """Return logits, shape (batch, n_outputs).

        Parameters
        ----------
        frame : Tensor, shape (batch, 1, rows, columns)
            Counts.
        parameters : Tensor, shape (batch, 2)
            Camera length in m and photon energy in keV, of order one both.
        """
        hidden = torch.relu(self.hidden(self.features(frame)))
        return self.linear(torch.cat([hidden, parameters], dim=1))

"""The report's network for peak positions: a heatmap with channel and spatial attention."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

REDUCTION = 16


class ChannelAttention(nn.Module):
    """Weigh channels by their mean and largest value over the map.

    Channel attention of CBAM (Woo et al., ECCV 2018), with a perceptron for each of the two
    poolings, as in the report, where CBAM shares one; the two weights are added.

    Parameters
    ----------
    n_channels : int
        Channels of the map.
    """

    def __init__(self, n_channels: int) -> None:
        super().__init__()
        self.of_mean = _perceptron(n_channels)
        self.of_largest = _perceptron(n_channels)

    def forward(self, x: Tensor) -> Tensor:
        """Return the weighted map, shape as `x`."""
        weight = self.of_mean(x.mean(dim=(2, 3))) + self.of_largest(x.amax(dim=(2, 3)))
        return x * weight[:, :, None, None]


class SpatialAttention(nn.Module):
    """Weigh positions by the mean and largest value over the channels (CBAM)."""

    def __init__(self) -> None:
        super().__init__()
        self.convolution = nn.Conv2d(2, 1, kernel_size=7, padding=3, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        """Return the weighted map, shape as `x`."""
        pooled = torch.cat([x.amax(dim=1, keepdim=True), x.mean(dim=1, keepdim=True)], dim=1)
        return x * torch.sigmoid(self.convolution(pooled))


class HeatmapCnn(nn.Module):
    """Convolutions and attention on a map four times coarser, upsampled to the frame.

    Parameters
    ----------
    frame_shape : tuple of int
        Rows and columns of a frame.
    n_outputs : int
        Maps per frame.

    Raises
    ------
    ValueError
        If the frame is smaller than the pooling.
    """

    def __init__(self, frame_shape: tuple[int, int], n_outputs: int) -> None:
        super().__init__()
        if min(frame_shape) < 4:
            raise ValueError(f"a frame of {frame_shape} pixels is too small for this network")
        self.first = nn.Conv2d(1, 16, kernel_size=5, padding=2)
        self.first_norm = nn.BatchNorm2d(16)
        self.pool = nn.MaxPool2d(4)
        self.second = nn.Conv2d(16, 32, kernel_size=3, padding=1)
        self.second_norm = nn.BatchNorm2d(32)
        self.dropout = nn.Dropout(0.5)
        self.channel_attention = ChannelAttention(32)
        self.spatial_attention = SpatialAttention()
        self.heatmap = nn.Conv2d(32, n_outputs, kernel_size=3, padding=1)

    def forward(self, frame: Tensor) -> Tensor:
        """Return logits of a peak at each pixel, shape (batch, n_outputs, rows, columns)."""
        x = self.pool(torch.relu(self.first_norm(self.first(frame))))
        x = self.dropout(torch.relu(self.second_norm(self.second(x))))
        x = self.heatmap(self.spatial_attention(self.channel_attention(x)))
        size = frame.shape[-2:]
        return functional.interpolate(x, size=size, mode="bilinear", align_corners=True)


def _perceptron(n_channels: int) -> nn.Sequential:
    hidden = max(1, n_channels // REDUCTION)
    return nn.Sequential(
        nn.Linear(n_channels, hidden, bias=False),
        nn.ReLU(),
        nn.Linear(hidden, n_channels, bias=False),
        nn.Sigmoid(),
    )

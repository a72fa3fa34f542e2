"""ResNet-50 (He et al., CVPR 2016, table 1), for transfer from weights trained on photographs.

Parameters are named as in the common files of ImageNet weights (``layer1.0.conv1.weight``, ...),
so that such a file, converted to safetensors, can be given as the starting point.
"""

from __future__ import annotations

import itertools

import torch
from torch import Tensor, nn

STAGES = ((64, 3), (128, 4), (256, 6), (512, 3))
"""Bottleneck width and number of blocks of each stage."""

EXPANSION = 4


class Bottleneck(nn.Module):
    """1×1, 3×3 and 1×1 convolutions around which the input is added.

    Parameters
    ----------
    n_in : int
        Channels coming in.
    width : int
        Channels of the 3×3 convolution; four times as many leave the block.
    stride : int
        Stride of the 3×3 convolution, where later implementations place it.
    """

    def __init__(self, n_in: int, width: int, stride: int) -> None:
        super().__init__()
        n_out = width * EXPANSION
        self.conv1 = nn.Conv2d(n_in, width, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(width)
        self.conv2 = nn.Conv2d(width, width, 3, stride=stride, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(width)
        self.conv3 = nn.Conv2d(width, n_out, 1, bias=False)
        self.bn3 = nn.BatchNorm2d(n_out)
        self.downsample: nn.Module = nn.Identity()
        if stride != 1 or n_in != n_out:
            projection = nn.Conv2d(n_in, n_out, 1, stride=stride, bias=False)
            self.downsample = nn.Sequential(projection, nn.BatchNorm2d(n_out))

    def forward(self, x: Tensor) -> Tensor:
        """Return the block's output, shape (batch, 4 width, rows / stride, columns / stride)."""
        out = torch.relu(self.bn1(self.conv1(x)))
        out = torch.relu(self.bn2(self.conv2(out)))
        return torch.relu(self.bn3(self.conv3(out)) + self.downsample(x))


class ResNet50(nn.Module):
    """ResNet-50 with one input channel.

    Parameters
    ----------
    frame_shape : tuple of int
        Rows and columns of a frame; any will do.
    n_outputs : int
        Logits per frame.
    n_channels : int
        Input channels: 1 for frames, 3 for photographs.
    """

    def __init__(self, frame_shape: tuple[int, int], n_outputs: int, n_channels: int = 1) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(n_channels, 64, 7, stride=2, padding=3, bias=False)
        self.bn1 = nn.BatchNorm2d(64)
        self.maxpool = nn.MaxPool2d(3, stride=2, padding=1)
        n_in = 64
        for number, (width, n_blocks) in enumerate(STAGES, 1):
            blocks = []
            for block in range(n_blocks):
                blocks.append(Bottleneck(n_in, width, 2 if number > 1 and block == 0 else 1))
                n_in = width * EXPANSION
            self.add_module(f"layer{number}", nn.Sequential(*blocks))
        self.fc = nn.Linear(n_in, n_outputs)

    def forward(self, frame: Tensor) -> Tensor:
        """Return logits, shape (batch, n_outputs), of frames, shape (batch, 1, rows, columns)."""
        x = self.maxpool(torch.relu(self.bn1(self.conv1(frame))))
        for number in range(1, len(STAGES) + 1):
            x = self.get_submodule(f"layer{number}")(x)
        return self.fc(x.mean(dim=(2, 3)))

    def load_pretrained(self, weights: dict[str, Tensor]) -> None:
        """Start from weights trained on photographs, all but the last layer.

        The three colour channels of the first convolution are added up, which gives a grey
        photograph the response it had.

        Parameters
        ----------
        weights : dict of Tensor
            By parameter name.

        Raises
        ------
        ValueError
            If a parameter is absent or of another shape.
        """
        first = weights.get("conv1.weight")
        if first is not None and first.shape[1] == 3 and self.conv1.in_channels == 1:
            weights = {**weights, "conv1.weight": first.sum(dim=1, keepdim=True)}
        own = dict(itertools.chain(self.named_parameters(), self.named_buffers()))
        own = {k: v for k, v in own.items() if not k.startswith("fc.") and "num_batches" not in k}
        for name, value in own.items():
            if name not in weights or weights[name].shape != value.shape:
                raise ValueError(f"the weights hold no {name!r} of shape {tuple(value.shape)}")
        with torch.no_grad():
            for name, value in own.items():
                value.copy_(weights[name])

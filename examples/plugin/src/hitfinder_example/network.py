"""A network for `hitfinder train`: the brightest patches of a frame, weighed."""

from __future__ import annotations

import torch
from torch import Tensor, nn


class BrightestPatch(nn.Module):
    """Learnt patches of 5 × 5 pixels, of which the largest and the mean answer of each count."""

    gives = "logits"

    def __init__(self, frame_shape: tuple[int, int], n_outputs: int) -> None:
        super().__init__()
        if min(frame_shape) < 5:
            raise ValueError("frames of less than 5 pixels are too small for this network")
        self.patches = nn.Conv2d(1, 8, kernel_size=5)
        self.linear = nn.Linear(16, n_outputs)

    def forward(self, frame: Tensor) -> Tensor:
        answers = torch.relu(self.patches(frame)).flatten(2)
        return self.linear(torch.cat([answers.amax(2), answers.mean(2)], dim=1))

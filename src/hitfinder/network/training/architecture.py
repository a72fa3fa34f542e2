"""The locator: a small convolutional network that judges what is in the middle of a crop."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from hitfinder.network.channels import CHANNELS, OUTPUTS, SIZE

WIDTHS = (24, 24, 32, 32, 48, 48, 64)


class Locator(nn.Module):
    """Seven 3×3 convolutions without padding, then two 1×1.

    On a crop of `SIZE` × `SIZE` pixels it gives one answer, on a whole frame one for each pixel
    at least seven from the edges: the same numbers, since it has no other inputs.
    """

    def __init__(self) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        before = len(CHANNELS)
        for width in WIDTHS:
            layers += [nn.Conv2d(before, width, 3, bias=False), nn.BatchNorm2d(width), nn.ReLU()]
            before = width
        layers += [nn.Conv2d(before, 64, 1), nn.ReLU(), nn.Conv2d(64, len(OUTPUTS), 1)]
        self.layers = nn.Sequential(*layers)
        assert 2 * len(WIDTHS) + 1 == SIZE

    def forward(self, maps: Tensor) -> Tensor:
        """Judge crops or frames.

        Parameters
        ----------
        maps : Tensor, shape (n, len(CHANNELS), rows, columns)
            From `hitfinder.network.crops.channels`.

        Returns
        -------
        Tensor, shape (n, len(OUTPUTS), rows - SIZE + 1, columns - SIZE + 1)
        """
        return self.layers(maps)


def loss_of(answer: Tensor, truth: dict[str, Tensor]) -> dict[str, Tensor]:
    """Negative log likelihood of the truth under the answers.

    Cross-entropy of the logit; for true peaks, the position under a two-dimensional Laplace-like
    law (robust to spots that overlap) and the square root of the photons, whose variance is
    constant for Poisson counts, under a normal one.

    Parameters
    ----------
    answer : Tensor, shape (n, len(OUTPUTS))
        The network's.
    truth : dict of Tensor, shape (n,)
        ``true`` (0 or 1), ``d_fs``, ``d_ss`` (NaN where unknown), ``root_photons`` (less that of
        the 3×3 pixels).
    """
    logit, fs, ss, spread, root, spread_root = answer.unbind(1)
    true = truth["true"]
    found = nn.functional.binary_cross_entropy_with_logits(logit, true)
    placed = (true > 0) & torch.isfinite(truth["d_fs"])
    sigma = spread.clamp(-4, 3)
    off = torch.hypot(fs - truth["d_fs"].nan_to_num(), ss - truth["d_ss"].nan_to_num() + 1e-6)
    place = off * torch.exp(-sigma) + 2 * sigma
    sigma_root = spread_root.clamp(-4, 4)
    z = (root - truth["root_photons"]) * torch.exp(-sigma_root)
    photons = 0.5 * z.clamp(-30, 30) ** 2 + sigma_root
    n = true.sum().clamp(min=1)
    return {
        "found": found,
        "place": torch.where(placed, place, 0).sum() / n,
        "photons": torch.where(true > 0, photons, 0).sum() / n,
    }

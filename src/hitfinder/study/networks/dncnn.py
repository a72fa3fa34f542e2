"""The denoising network DnCNN (Zhang et al., IEEE Trans. Image Process. 26, 3142 (2017))."""

from __future__ import annotations

from torch import Tensor, nn

LAYERS, FEATURES = 17, 64


class DnCnn(nn.Module):
    """17 convolutions of 64 features that learn what to take away from the frame.

    Parameters
    ----------
    frame_shape : tuple of int
        Rows and columns of a frame; any will do.
    n_outputs : int
        Maps per frame.
    """

    def __init__(self, frame_shape: tuple[int, int], n_outputs: int) -> None:
        super().__init__()
        layers: list[nn.Module] = [_convolution(1, FEATURES), nn.ReLU()]
        for _ in range(LAYERS - 2):
            layers += [_convolution(FEATURES, FEATURES), nn.BatchNorm2d(FEATURES), nn.ReLU()]
        layers.append(_convolution(FEATURES, n_outputs))
        self.residual = nn.Sequential(*layers)

    def forward(self, frame: Tensor) -> Tensor:
        """Return the frame less its residual, shape (batch, n_outputs, rows, columns)."""
        return frame - self.residual(frame)


def _convolution(n_in: int, n_out: int) -> nn.Conv2d:
    return nn.Conv2d(n_in, n_out, kernel_size=3, padding=1, bias=False)

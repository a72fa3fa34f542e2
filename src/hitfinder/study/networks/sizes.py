"""Sizes of feature maps."""

from __future__ import annotations


def after(size: int, kernel: int, stride: int = 1, padding: int = 0) -> int:
    """Return how many outputs a convolution or a pooling window has along one axis."""
    return (size + 2 * padding - kernel) // stride + 1


def require_room(frame_shape: tuple[int, int], rows: int, columns: int) -> None:
    """Raise ValueError if a frame leaves no feature map of `rows` by `columns`."""
    if rows < 1 or columns < 1:
        raise ValueError(
            f"a frame of {frame_shape[0]} x {frame_shape[1]} pixels is too small for this network"
        )

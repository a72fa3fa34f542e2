"""Images of counts as small PNG files with a logarithmic colour scale."""

from __future__ import annotations

import base64
import struct
import zlib

import numpy as np
from numpy.typing import NDArray

LEVELS = 64
"""Colours of the scale; few, so that noise does not make the files large."""

_ANCHORS = (
    *((0.0, (10, 10, 28)), (0.2, (48, 22, 92)), (0.4, (122, 32, 112)), (0.6, (203, 66, 82))),
    *((0.8, (247, 140, 52)), (0.93, (252, 214, 110)), (1.0, (255, 252, 232))),
)


def palette() -> NDArray[np.uint8]:
    """Return the colours of the scale, dark to bright, shape (`LEVELS`, 3)."""
    at, colours = zip(*_ANCHORS, strict=True)
    steps = np.linspace(0, 1, LEVELS)
    channels = [np.interp(steps, at, channel) for channel in np.array(colours, float).T]
    return np.rint(np.stack(channels, 1)).astype(np.uint8)


def log_levels(image: NDArray[np.floating], low: float, high: float) -> NDArray[np.uint8]:
    """Return each pixel's step on a logarithmic scale; `LEVELS` where the image is NaN.

    Parameters
    ----------
    image : ndarray, 2-D
        Values; those below `low` get the darkest colour.
    low, high : float
        Values of the darkest and the brightest colour, ``0 < low < high``.
    """
    with np.errstate(invalid="ignore"):
        scaled = np.log(np.maximum(image, low) / low) / np.log(high / low)
    levels = np.clip(scaled, 0, 1) * (LEVELS - 1)
    return np.where(np.isnan(image), LEVELS, np.nan_to_num(levels)).astype(np.uint8)


def log_limits(image: NDArray[np.floating]) -> tuple[float, float]:
    """Return values for the two ends of the scale that suit an image of counts.

    The upper end leaves out the brightest 0.5 % of the pixels that are not zero; the lower one is
    at a quarter of the darkest, so that a single photon stands out of the empty pixels around it,
    or a ten-thousandth of the upper end.
    """
    positive = image[np.isfinite(image) & (image > 0)]
    if not positive.size:
        return 0.5, 1.0
    high = float(np.percentile(positive, 99.5))
    low = max(float(np.percentile(positive, 1)) / 4, high * 1e-4)
    return low, max(high, 2 * low)


def encode(levels: NDArray[np.uint8]) -> bytes:
    """Encode steps of the colour scale as a PNG file; step `LEVELS` is transparent.

    The format is that of the W3C recommendation "Portable Network Graphics", colour type 3.
    """
    height, width = levels.shape
    rows = np.zeros((height, width + 1), np.uint8)
    rows[:, 1:] = levels
    colours = np.vstack([palette(), [[128, 128, 128]]]).astype(np.uint8)
    alpha = bytes([255] * LEVELS + [0])
    return b"".join(
        [
            b"\x89PNG\r\n\x1a\n",
            _block(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 3, 0, 0, 0)),
            _block(b"PLTE", colours.tobytes()),
            _block(b"tRNS", alpha),
            _block(b"IDAT", zlib.compress(rows.tobytes(), 9)),
            _block(b"IEND", b""),
        ]
    )


def data_url(png: bytes) -> str:
    """Return a PNG file as an address that holds it."""
    return "data:image/png;base64," + base64.b64encode(png).decode("ascii")


def _block(kind: bytes, content: bytes) -> bytes:
    check = zlib.crc32(kind + content)
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", check)

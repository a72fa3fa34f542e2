"""Colours: those of pages and charts, light and dark, and the scale of counts in pictures."""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from matplotlib.colors import Colormap

LIGHT = {
    "page": "#f6f7f9",
    "card": "#ffffff",
    "ink": "#1b2330",
    "soft": "#5b6675",
    "line": "#dfe3e9",
    "accent": "#1f6fb2",
    "good": "#23804a",
    "warn": "#b3541e",
}
DARK = {
    "page": "#12161c",
    "card": "#1b2129",
    "ink": "#e4e9f0",
    "soft": "#9aa6b5",
    "line": "#303945",
    "accent": "#62aee8",
    "good": "#5cc08a",
    "warn": "#e89a5d",
}
"""Colours of a page by what they are for; charts are drawn in the light ones."""

RING, PEAK, WITHOUT_PIXELS = "#f2f6fa", "#4be3ff", "#7d828a"
"""Of pictures: resolution rings, circled peaks, and where there is no pixel."""

LEVELS = 64
"""Colours of the scale of counts; few, so that noise does not make the files large."""

_ANCHORS = (
    *((0.0, (10, 10, 28)), (0.2, (48, 22, 92)), (0.4, (122, 32, 112)), (0.6, (203, 66, 82))),
    *((0.8, (247, 140, 52)), (0.93, (252, 214, 110)), (1.0, (255, 252, 232))),
)
_MOST_DECADES = 3
"""Decades up to which a logarithmic scale is marked at 1, 2 and 5, not at powers of ten alone."""


@functools.cache
def count_colours() -> Colormap:
    """Return the scale of counts, dark to bright, grey where there is no pixel."""
    from matplotlib.colors import ListedColormap

    return ListedColormap(_shades(), "counts").with_extremes(bad=WITHOUT_PIXELS)


@functools.cache
def _shades() -> NDArray[np.float64]:
    """Return the colours of the scale from 0 to 1, shape (`LEVELS`, 3), linear between anchors.

    Without matplotlib, which takes longer to import than it takes to draw the pictures of a report.
    """
    places, colours = zip(*_ANCHORS, strict=True)
    at, shade = (LEVELS - 1) * np.array(places), np.array(colours) / 255
    inner = (LEVELS - 1) * np.linspace(0, 1, LEVELS)[1:-1]
    right = np.searchsorted(at, inner)
    part = ((inner - at[right - 1]) / (at[right] - at[right - 1]))[:, None]
    between = part * (shade[right] - shade[right - 1]) + shade[right - 1]
    return np.concatenate([shade[:1], between, shade[-1:]])


def palette() -> NDArray[np.uint8]:
    """Return the colours of the scale, dark to bright, shape (`LEVELS`, 3)."""
    return (255 * _shades()).astype(np.uint8)


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


def log_ticks(low: float, high: float, whole: bool = False) -> list[float]:
    """Return round values of a logarithmic scale.

    Parameters
    ----------
    low, high : float
        Its ends, ``0 < low < high``.
    whole : bool
        Whether it shows whole counts, of which there are none between 0 and 1.
    """
    from matplotlib.ticker import LogLocator

    steps = (1.0, 2.0, 5.0) if high <= 10**_MOST_DECADES * low else (1.0,)
    ticks = LogLocator(subs=steps, numticks=8).tick_values(low, high)
    least = max(low, 1.0) if whole and high > 1 else low
    return [float(t) for t in ticks if least * (1 - 1e-9) <= t <= high * (1 + 1e-9)]

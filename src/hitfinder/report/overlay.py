"""What matplotlib draws over a picture of the detector: resolution rings and circled peaks."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from hitfinder.report.colours import PEAK, RING
from hitfinder.report.numbers import number

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from hitfinder.report.detector_view import DetectorView

Window = tuple[float, float, float, float]
"""Left, right, top and bottom of the part of a picture that is shown."""

_DIAGONAL = 0.5**0.5


def draw_rings(axes: Axes, view: DetectorView, scale: float = 1.0) -> None:
    """Draw resolution rings; the unit of the axes is a pixel of the picture over `scale`."""
    from matplotlib.patches import Circle

    for _, ring in view.rings():
        column, row, radius = (scale * value for value in ring)
        style = {"fill": False, "edgecolor": RING, "alpha": 0.6, "linestyle": (0, (4, 4))}
        axes.add_patch(Circle((column, row), radius, linewidth=0.8, **style))


def ring_labels(
    view: DetectorView, window: Window, scale: float = 1.0
) -> Iterator[tuple[str, float, float]]:
    """Give the resolution of each ring and where it is to be written, if that is in the window."""
    left, right, top, bottom = window
    for resolution, ring in view.rings():
        column, row, radius = (scale * value for value in ring)
        x, y = column + _DIAGONAL * radius, row - _DIAGONAL * radius
        if left < x < right and top < y < bottom:
            yield f"{number(resolution, 2)} Å", x, y


def draw_peaks(
    axes: Axes, at: NDArray[np.float64], radius: float, dotted: NDArray[np.bool_]
) -> None:
    """Circle peaks.

    Parameters
    ----------
    axes : Axes
        Where to draw.
    at : ndarray, shape (n, 2)
        Places; those that are not finite are left out.
    radius : float
        Of the circles, in units of the axes.
    dotted : ndarray of bool, shape (n,)
        Which circles to draw in dots.
    """
    from matplotlib.collections import EllipseCollection

    on = np.isfinite(at).all(axis=1)
    for some, line in ((on & ~dotted, "-"), (on & dotted, ":")):
        if some.any():
            circles = EllipseCollection(
                [2 * radius],
                [2 * radius],
                [0.0],
                units="xy",
                offsets=at[some],
                offset_transform=axes.transData,
                facecolors="none",
                edgecolors=PEAK,
                linewidths=1.2,
                linestyles=line,
            )
            axes.add_collection(circles, autolim=False)

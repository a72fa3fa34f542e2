"""Charts of a page: a pair of axes, drawn anew for each width so that its text never shrinks."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, Literal

from hitfinder.report.colours import LIGHT, log_ticks
from hitfinder.report.figures import page_figure, svg
from hitfinder.report.numbers import number

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.axis import Axis
    from matplotlib.transforms import Transform

NARROW, HALF, FULL = 320, 480, 1080
"""Widths of charts in pixels: on a phone, in half of a page, in all of it."""

HEIGHT = 236
LEFT, RIGHT, TOP, BOTTOM = 62, 12, 12, 44
"""Pixels around the axes."""

TEXT_PX = 12.0
_LABEL_PX = 16
"""Of the name of the y axis, from the left."""

_PX_PER_TICK = {"x": 66, "y": 34}
_LEAST_PX = 26
"""Between ticks that have names."""

_MARKS: dict[str, dict[str, Any]] = {
    "line": {"color": LIGHT["accent"], "linewidth": 2, "solid_joinstyle": "round"},
    "band": {"color": LIGHT["accent"], "alpha": 0.18, "linewidth": 0},
    "rule": {"color": LIGHT["warn"], "linewidth": 1.5, "linestyle": (0, (4, 3))},
    "note": {"color": LIGHT["warn"], "fontsize": TEXT_PX},
    "bar": {"facecolor": LIGHT["accent"], "edgecolor": LIGHT["card"], "linewidth": 0.6},
    "hit": {"facecolor": LIGHT["good"], "edgecolor": LIGHT["card"], "linewidth": 0.6},
    "blank": {
        "facecolor": LIGHT["soft"], "edgecolor": LIGHT["card"], "linewidth": 0.6, "alpha": 0.6
    },
}  # fmt: skip

Side = Literal["x", "y"]


def mark(kind: str) -> dict[str, Any]:
    """Return how a line, band, bar or note is drawn."""
    return {**_MARKS[kind], "gid": f"css:{kind}"}


@dataclasses.dataclass(frozen=True)
class Chart:
    """One pair of axes and what is drawn in it.

    Parameters
    ----------
    name : str
        Unlike that of any other chart of the page.
    told : str
        What the chart shows, for those who cannot see it.
    draw : callable
        Draws on axes whose limits are set.
    x, y : tuple of float
        Values at the ends.
    x_label, y_label : str
        What the axes show, with the unit.
    log : tuple of str
        Axes that are logarithmic.
    whole : tuple of str
        Axes of whole counts, which are marked at whole numbers only.
    knee : float, optional
        x up to which its axis is linear; it is logarithmic beyond.
    named : mapping of float to str, optional
        Places on the x axis and their names, instead of round numbers.
    """

    name: str
    told: str
    draw: Callable[[Axes], object]
    x: tuple[float, float]
    y: tuple[float, float]
    x_label: str
    y_label: str
    log: tuple[Side, ...] = ()
    whole: tuple[Side, ...] = ()
    knee: float | None = None
    named: Mapping[float, str] | None = None

    def html(self, widths: tuple[int, ...] = (NARROW, HALF)) -> str:
        """Return the chart at several widths, of which the page shows the one that fits."""
        return f'<div class="chart">{"".join(self.svg(width) for width in widths)}</div>'

    def svg(self, width: int) -> str:
        """Return the chart at a width in pixels as an SVG element."""
        figure = page_figure(width, HEIGHT)
        inside = width - LEFT - RIGHT, HEIGHT - TOP - BOTTOM
        box = (LEFT / width, BOTTOM / HEIGHT, inside[0] / width, inside[1] / HEIGHT)
        axes = figure.add_axes(box, xlim=self.x, ylim=self.y, frame_on=True)
        self._style(axes)
        self.draw(axes)
        axes.set(xlim=self.x, ylim=self.y)
        name = f"{self.name}-{width}"
        return svg(figure, name, css=f"w{width}", role="img", aria_label=self.told)

    def _style(self, axes: Axes) -> None:
        if "y" in self.log:
            axes.set_yscale("log")
        if "x" in self.log:
            axes.set_xscale("log")
        if self.knee is not None:
            axes.set_xscale("symlog", base=10, linthresh=self.knee, linscale=1)
        axes.set(xlim=self.x, ylim=self.y)
        axes.patch.set_visible(False)
        for side in ("left", "right", "top"):
            axes.spines[side].set_visible(False)
        axes.spines["bottom"].set_edgecolor(LIGHT["soft"])
        text = {"labelsize": TEXT_PX, "labelcolor": LIGHT["soft"], "pad": 4}
        axes.tick_params("x", which="both", length=4, color=LIGHT["soft"], **text)
        axes.tick_params("y", which="both", length=0, **text)
        axes.set_axisbelow(True)
        axes.grid(axis="y", color=LIGHT["line"], linewidth=1)
        label: dict[str, Any] = {"fontsize": TEXT_PX + 0.5, "color": LIGHT["soft"]}
        axes.set_xlabel(self.x_label, labelpad=5, **label)
        axes.set_ylabel(self.y_label, **label)
        axes.yaxis.set_label_coords(_LABEL_PX - LEFT, 0.5, _beside(axes))
        self._ticks(axes, axes.xaxis, "x")
        self._ticks(axes, axes.yaxis, "y")

    def _ticks(self, axes: Axes, axis: Axis, side: Side) -> None:
        """Put ticks at round values, as many as there is room for."""
        from matplotlib.ticker import FixedLocator, FuncFormatter, MaxNLocator, NullLocator

        axis.set_minor_locator(NullLocator())
        names: Callable[[float], str] = number
        low, high = self.x if side == "x" else self.y
        length_px = axes.bbox.width if side == "x" else axes.bbox.height
        most = max(2, int(length_px // _PX_PER_TICK[side]))
        whole = side in self.whole
        round_ = MaxNLocator(
            most, steps=[1, 2, 5, 10], integer=whole, min_n_ticks=1 if whole else 2
        )
        if side == "x" and self.named is not None:
            names, ticks = self.named.__getitem__, sorted(self.named)
        elif side == "x" and self.knee is not None:
            bent = [
                *MaxNLocator(2, steps=[1, 2, 5, 10]).tick_values(low, self.knee),
                *log_ticks(self.knee, high),
            ]
            ticks = sorted({tick for tick in bent if low <= tick <= high})
        elif side in self.log:
            ticks = log_ticks(low, high, whole)
        else:
            ticks = [t for t in round_.tick_values(low, high) if low <= t <= high]
        axis.set_major_locator(FixedLocator(_apart(axes, ticks, side)))
        axis.set_major_formatter(FuncFormatter(lambda value, _: names(value)))


def _beside(axes: Axes) -> Transform:
    """Return the transform of pixels from the left of the axes, and of their height as 1."""
    from matplotlib.transforms import Affine2D, blended_transform_factory

    pixels = Affine2D().translate(axes.bbox.x0, 0)
    return blended_transform_factory(pixels, axes.transAxes)


def _apart(axes: Axes, ticks: list[float], side: Side) -> list[float]:
    """Leave out ticks that are too near to others for their text."""
    along = axes.get_xaxis_transform() if side == "x" else axes.get_yaxis_transform()
    k, least = (0, _LEAST_PX) if side == "x" else (1, TEXT_PX + 2)
    kept: list[float] = []
    last = -math.inf
    for tick in ticks:
        at = along.transform((tick, 1.0) if side == "x" else (1.0, tick))[k]
        if at - last >= least:
            kept.append(tick)
            last = at
    return kept

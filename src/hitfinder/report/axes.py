"""Charts of a page: a pair of axes, drawn anew for each width so that its text never shrinks."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Mapping
from html import escape
from typing import Any, Literal

from hitfinder.report.colours import LIGHT
from hitfinder.report.drawing import Bend, Drawing, Scale, label, path
from hitfinder.report.numbers import number
from hitfinder.report.ticks import log_ticks, round_ticks

NARROW, HALF, FULL = 320, 480, 1080
"""Widths of charts in pixels: on a phone, in half of a page, in all of it."""

HEIGHT = 236
LEFT, RIGHT, TOP, BOTTOM = 62, 12, 12, 44
"""Pixels around the axes."""

TEXT_PX = 12.0
_LABEL_PX = TEXT_PX + 0.5
"""Sizes of letters: of ticks, and of the names of the axes."""

_X_TICK_PX, _X_TEXT_PX, _X_LABEL_PX = 4, 17.1, 34.5
"""Below the x axis: the end of a tick, the lines of its number and of the axis' name."""

_Y_TEXT_PX, _Y_LABEL_PX = (4, 4.5), 13
"""Number of a tick, left of the y axis and below its height; the axis' name, from the left."""

_PX_PER_TICK = {"x": 66, "y": 34}
_LEAST_PX = 26
"""Between ticks that have names."""

_MARKS: dict[str, dict[str, Any]] = {
    "line": {"color": LIGHT["accent"], "linewidth": 2},
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
    """Return how a line, band, bar or note is drawn; ``gid`` is its class in a page."""
    return {**_MARKS[kind], "gid": kind}


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
    draw: Callable[[Drawing], object]
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
        kinds = {side: "log" if side in self.log else "linear" for side in ("x", "y")}
        bend = None if self.knee is None else Bend(self.knee)
        x = Scale(self.x, (LEFT, width - RIGHT), bend or kinds["x"])  # type: ignore[arg-type]
        y = Scale(self.y, (HEIGHT - BOTTOM, TOP), kinds["y"])  # type: ignore[arg-type]
        drawing = Drawing(x, y)
        self.draw(drawing)
        drawn = "".join(
            [*self._x_axis(x, f"{self.name}-{width}"), *self._y_axis(y, x), *drawing.elements]
        )
        floor = _rule([(end, y.ends[0]) for end in x.ends], "soft", 0.8)
        return (
            f'<svg viewBox="0 0 {width} {HEIGHT}" class="w{width}" role="img" '
            f'aria-label="{escape(self.told, quote=True)}">{drawn}{floor}</svg>'
        )

    def _x_axis(self, scale: Scale, name: str) -> list[str]:
        """Draw ticks with their numbers, and the name of the axis."""
        floor, soft = HEIGHT - BOTTOM, LIGHT["soft"]
        style = f"stroke: {soft}; stroke-width: 0.8"
        tick = path(f"M 0 0 L 0 {_X_TICK_PX}", style, f' id="{name}-tick"')
        drawn = [f"<defs>{tick}</defs>"]
        for value, at in self._ticks(scale, "x"):
            drawn.append(f'<use x="{at:.2f}" y="{floor}" href="#{name}-tick" />')
            told = self.named[value] if self.named is not None else number(value)
            drawn.append(label(told, (at, floor + _X_TEXT_PX), TEXT_PX, "center", soft))
        middle = sum(scale.ends) / 2, floor + _X_LABEL_PX
        return [*drawn, label(self.x_label, middle, _LABEL_PX, "center", soft)]

    def _y_axis(self, scale: Scale, across: Scale) -> list[str]:
        """Draw lines across the chart with their numbers, and the name of the axis."""
        soft, drawn = LIGHT["soft"], list[str]()
        left, below = _Y_TEXT_PX
        for value, height in self._ticks(scale, "y"):
            drawn.append(_rule([(end, height) for end in across.ends], "line", 1))
            at = LEFT - left, height + below
            drawn.append(label(number(value), at, TEXT_PX, "right", soft))
        middle = sum(scale.ends) / 2
        turn = f' transform="rotate(-90 {_Y_LABEL_PX} {middle:g})"'
        at = _Y_LABEL_PX, middle
        return [*drawn, label(self.y_label, at, _LABEL_PX, "center", soft, turn)]

    def _ticks(self, scale: Scale, side: Side) -> list[tuple[float, float]]:
        """Return round values, as many as there is room for, and where they are."""
        (low, high), (start, end) = scale.values, scale.ends
        whole = side in self.whole
        if side == "x" and self.named is not None:
            ticks = sorted(tick for tick in self.named if low <= tick <= high)
        elif side == "x" and self.knee is not None:
            bent = [*round_ticks(low, self.knee, 2), *log_ticks(self.knee, high)]
            ticks = sorted({tick for tick in bent if low <= tick <= high})
        elif side in self.log:
            ticks = log_ticks(low, high, whole)
        else:
            most = max(2, int(abs(end - start) // _PX_PER_TICK[side]))
            ticks = round_ticks(low, high, most, whole=whole)
        return _apart([(tick, float(scale.at(tick))) for tick in ticks], side)


def _rule(points: list[tuple[float, float]], use: str, width: float) -> str:
    """Draw a straight line in a colour of the page."""
    (x0, y0), (x1, y1) = points
    style = f"fill: none; stroke: {LIGHT[use]}; stroke-width: {width:g}"
    return path(f"M {x0:.5g} {y0:.5g} L {x1:.5g} {y1:.5g}", style)


def _apart(ticks: list[tuple[float, float]], side: Side) -> list[tuple[float, float]]:
    """Leave out ticks that are too near to others for their text."""
    least = _LEAST_PX if side == "x" else TEXT_PX + 2
    kept: list[tuple[float, float]] = []
    last = math.inf
    for value, at in ticks:
        if not kept or abs(at - last) >= least:
            kept.append((value, at))
            last = at
    return kept

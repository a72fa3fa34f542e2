"""Charts as inline SVG, coloured by the page's style sheet so that they suit light and dark."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence
from html import escape
from typing import Any, Literal

from numpy.typing import NDArray

Values = Sequence[float] | NDArray[Any]

WIDTH, FULL_WIDTH, HEIGHT = 560, 1140, 250
LEFT, RIGHT, TOP, BOTTOM = 66, 14, 14, 46
_TICKS = 6


@dataclasses.dataclass(frozen=True)
class Scale:
    """One axis: the values at its two ends, and how it runs between them.

    Parameters
    ----------
    low, high : float
        Values at the ends; `low` may be the larger one.
    label : str
        What the axis shows, with its unit.
    kind : {"linear", "log", "integer"}
        Spacing; an integer axis has ticks at whole numbers only.
    """

    low: float
    high: float
    label: str
    kind: Literal["linear", "log", "integer"] = "linear"

    def fraction(self, value: float) -> float:
        """Return where a value is between the ends, 0 to 1."""
        low, high = self.low, self.high
        if self.kind == "log":
            value, low, high = (math.log(max(v, 1e-300)) for v in (value, low, high))
        return (value - low) / (high - low) if high != low else 0.5

    def ticks(self) -> list[float]:
        """Return round values between the ends."""
        low, high = sorted((self.low, self.high))
        if self.kind == "log":
            return _log_ticks(low, high)
        step = _round_step((high - low) / _TICKS)
        if self.kind == "integer":
            step = max(1.0, step)
        first = math.ceil(low / step - 1e-9)
        last = math.floor(high / step + 1e-9)
        return [n * step for n in range(first, last + 1)]


def _round_step(raw: float) -> float:
    """Return the 1, 2 or 5 times a power of ten at or above a step."""
    if not raw > 0:
        return 1.0
    power = 10.0 ** math.floor(math.log10(raw))
    return next(f * power for f in (1, 2, 5, 10) if f * power >= raw * (1 - 1e-9))


def _log_ticks(low: float, high: float) -> list[float]:
    first, last = math.floor(math.log10(low)), math.ceil(math.log10(high))
    factors = (1, 2, 5) if high <= 1e3 * low else (1,)
    stride = max(1, (last - first) // _TICKS)
    values = [f * 10.0**p for p in range(first, last + 1, stride) for f in factors]
    return [v for v in values if low * (1 - 1e-9) <= v <= high * (1 + 1e-9)]


def number(value: float, digits: int = 3) -> str:
    """Write a number shortly: grouped thousands, no trailing zeros, powers of ten when far out."""
    if not math.isfinite(value):
        return "–"
    if value == 0:
        return "0"
    if value == round(value) and abs(value) < 1e7:
        return f"{round(value):,}".replace(",", "\u2009")
    if 10.0**digits <= abs(value) < 1e7:
        return f"{value:,.0f}".replace(",", "\u2009")
    if 1e-3 <= abs(value) < 10.0**digits:
        return f"{value:.{digits}g}"
    mantissa, exponent = f"{value:.{digits - 1}e}".split("e")
    mantissa = mantissa.rstrip("0").rstrip(".") if "." in mantissa else mantissa
    power = str(int(exponent)).translate(str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹"))
    return f"10{power}" if mantissa == "1" else f"{mantissa}·10{power}"


class Chart:
    """One pair of axes and what is drawn in it.

    Parameters
    ----------
    x, y : Scale
        The axes.
    title : str
        What the chart shows, for those who cannot see it.
    width : int
        Width in units of which the text is 12 high.
    """

    def __init__(self, x: Scale, y: Scale, title: str, width: int = WIDTH) -> None:
        self.x, self.y, self.title, self.width = x, y, title, width
        self._marks: list[str] = []

    def bars(self, edges: Values, heights: Values, css: str = "bar", what: str = "") -> None:
        """Draw a histogram; `what` names the counted things in the tooltips."""
        floor = self._y(self.y.low)
        for low, high, height in zip(edges[:-1], edges[1:], heights, strict=True):
            if not height > 0:
                continue
            left, right = sorted((self._x(low), self._x(high)))
            top = self._y(height)
            gap = min(1.0, 0.1 * (right - left))
            self._marks.append(
                f'<rect class="{css}" x="{left + gap / 2:.2f}" y="{top:.2f}" '
                f'width="{max(right - left - gap, 0.3):.2f}" height="{max(floor - top, 0):.2f}">'
                f"<title>{number(low)} – {number(high)}: {number(height)} {escape(what)}</title>"
                "</rect>"
            )

    def line(self, x: Values, y: Values, css: str = "line") -> None:
        """Draw a line through points, broken where a value is not finite."""
        self._marks.append(f'<path class="{css}" d="{self._path(x, y)}"/>')

    def band(self, x: Values, low: Values, high: Values) -> None:
        """Shade the area between two curves of finite values."""
        points = [*zip(x, high, strict=True), *reversed(list(zip(x, low, strict=True)))]
        text = " ".join(f"{self._x(a):.2f},{self._y(b):.2f}" for a, b in points)
        self._marks.append(f'<polygon class="band" points="{text}"/>')

    def rule(self, x: float, label: str) -> None:
        """Draw a vertical line with a label."""
        at = self._x(x)
        anchor, shift = ("end", -5) if at > self.width / 2 else ("start", 5)
        self._marks.append(
            f'<line class="rule" x1="{at:.2f}" x2="{at:.2f}" y1="{TOP}" y2="{HEIGHT - BOTTOM}"/>'
            f'<text class="note" x="{at + shift:.2f}" y="{TOP + 11}" text-anchor="{anchor}">'
            f"{escape(label)}</text>"
        )

    def svg(self) -> str:
        """Return the chart as an SVG element."""
        return (
            f'<svg class="chart" viewBox="0 0 {self.width} {HEIGHT}" role="img" '
            f'aria-label="{escape(self.title, quote=True)}">'
            f"{self._axes()}{''.join(self._marks)}</svg>"
        )

    def _x(self, value: float) -> float:
        return LEFT + (self.width - LEFT - RIGHT) * min(max(self.x.fraction(value), 0.0), 1.0)

    def _y(self, value: float) -> float:
        return HEIGHT - BOTTOM - (HEIGHT - BOTTOM - TOP) * min(max(self.y.fraction(value), 0), 1)

    def _path(self, x: Values, y: Values) -> str:
        parts, pen = [], "M"
        for a, b in zip(x, y, strict=True):
            if not (math.isfinite(a) and math.isfinite(b)):
                pen = "M"
                continue
            parts.append(f"{pen}{self._x(a):.2f} {self._y(b):.2f}")
            pen = "L"
        return "".join(parts)

    def _axes(self) -> str:
        out, bottom = [], HEIGHT - BOTTOM
        right = self.width - RIGHT
        for tick in self.y.ticks():
            at = self._y(tick)
            out.append(
                f'<line class="grid" x1="{LEFT}" x2="{right}" y1="{at:.2f}" y2="{at:.2f}"/>'
                f'<text x="{LEFT - 7}" y="{at + 4:.2f}" text-anchor="end">{number(tick)}</text>'
            )
        for tick in self.x.ticks():
            at = self._x(tick)
            out.append(
                f'<line class="axis" x1="{at:.2f}" x2="{at:.2f}" y1="{bottom}" y2="{bottom + 4}"/>'
                f'<text x="{at:.2f}" y="{bottom + 18}" text-anchor="middle">{number(tick)}</text>'
            )
        middle = TOP + (bottom - TOP) / 2
        out.append(
            f'<line class="axis" x1="{LEFT}" x2="{right}" y1="{bottom}" y2="{bottom}"/>'
            f'<text class="label" x="{(LEFT + right) / 2}" y="{HEIGHT - 8}" '
            f'text-anchor="middle">{escape(self.x.label)}</text>'
            f'<text class="label" transform="translate(13 {middle}) rotate(-90)" '
            f'text-anchor="middle">{escape(self.y.label)}</text>'
        )
        return "".join(out)

"""Lines, bands, bars and notes of a chart, written as SVG in the colours of a page.

`Drawing` has the few methods of matplotlib's axes that charts use, with the same arguments. To load
that library, and to draw with it, takes longer than many frames.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence
from html import escape
from typing import Any, Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from hitfinder.report.colours import LIGHT

_ASCENT, _DESCENT = 0.76, 0.21
"""Of letters above and below their line, in parts of their size."""

_ANCHORS = {"left": "start", "center": "middle", "right": "end"}


@dataclasses.dataclass(frozen=True)
class Bend:
    """An axis that is linear up to a knee and logarithmic beyond it, on both sides of zero.

    A decade is as long as the way from zero to the knee, as with matplotlib's ``symlog``.

    Parameters
    ----------
    knee : float
        Value up to which it is linear.
    """

    knee: float
    _LINEAR = 1 / (1 - 1 / 10)
    """Length of the linear part, in decades: with it the axis has no corner."""

    def to(self, values: ArrayLike) -> NDArray[np.float64]:
        """Return places along the axis."""
        values = np.asarray(values, float)
        far = np.maximum(np.abs(values) / self.knee, 1.0)
        beyond = np.sign(values) * self.knee * (self._LINEAR + np.log10(far))
        return np.where(far > 1, beyond, values * self._LINEAR)

    def back(self, places: ArrayLike) -> NDArray[np.float64]:
        """Return the values at places along the axis."""
        places = np.asarray(places, float)
        far = np.maximum(np.abs(places) / self.knee - self._LINEAR, 0.0)
        return np.where(far > 0, np.sign(places) * self.knee * 10**far, places / self._LINEAR)


@dataclasses.dataclass(frozen=True)
class Scale:
    """Where the values of an axis are.

    Parameters
    ----------
    values : tuple of float
        Values at its ends.
    ends : tuple of float
        Places of these, in pixels.
    kind : Bend or str
        How it goes from one to the other.
    """

    values: tuple[float, float]
    ends: tuple[float, float]
    kind: Bend | Literal["linear", "log"] = "linear"

    def at(self, values: ArrayLike) -> NDArray[np.float64]:
        """Return places in pixels; NaN for what has none."""
        along, (first, last) = self._along(values), self._along(self.values)
        start, end = self.ends
        return np.asarray(start + (end - start) * (along - first) / (last - first))

    def _along(self, values: ArrayLike) -> NDArray[np.float64]:
        values = np.asarray(values, float)
        if self.kind == "linear":
            return values
        if self.kind == "log":
            return np.log10(np.where(values > 0, values, np.nan))
        return self.kind.to(values)


class Drawing:
    """What is drawn on a pair of axes.

    Parameters
    ----------
    x, y : Scale
        The axes.

    Attributes
    ----------
    elements : list of str
        What was drawn, as SVG.
    """

    def __init__(self, x: Scale, y: Scale) -> None:
        self.x, self.y = x, y
        self.elements: list[str] = []

    def plot(self, x: ArrayLike, y: ArrayLike, *, label: str = "", **style: Any) -> None:
        """Draw a line, which breaks where there is no value."""
        pieces = _pieces(self.x.at(x), self.y.at(y))
        self._add(style, path(" ".join(map(_line, pieces)), _stroke(style)))

    def fill_between(self, x: ArrayLike, low: ArrayLike, high: ArrayLike, **style: Any) -> None:
        """Fill what is between two lines."""
        at = self.x.at(x)
        below, above = (_pieces(at, self.y.at(y)) for y in (low, high))
        around = [*(p for piece in below for p in piece)]
        around += [*(p for piece in reversed(above) for p in reversed(piece))]
        opacity = _px(style["alpha"])
        self._add(style, path(_line(around) + " z", f"fill: {style['color']}; opacity: {opacity}"))

    def axvline(self, x: float, **style: Any) -> None:
        """Draw a line from the bottom to the top."""
        at = float(self.x.at(x))
        self._add(style, path(_line([(at, end) for end in self.y.ends]), _stroke(style)))

    def bar(self, left: float, right: float, height: float, tip: str, **style: Any) -> None:
        """Draw a bar that tells something where the pointer is."""
        (x0, x1), top = self.x.at([left, right]), float(self.y.at(height))
        floor = self.y.ends[0]
        corners = [(x0, floor), (x1, floor), (x1, top), (x0, top)]
        fill = (
            f"fill: {style['facecolor']}; opacity: {_px(style.get('alpha', 1))}; "
            f"stroke: {style['edgecolor']}; stroke-width: {_px(style['linewidth'])}"
        )
        drawn = path(_line(corners) + " z", fill)
        self.elements.append(f"<g><title>{escape(tip)}</title>{drawn}</g>")

    def annotate(
        self,
        text: str,
        xy: tuple[float, float],
        xytext: tuple[float, float],
        *,
        xycoords: object = "data",
        textcoords: str = "offset points",
        ha: str = "left",
        va: str = "bottom",
        **style: Any,
    ) -> None:
        """Write a note at some pixels from a place; y is a share of the height if `xycoords` say.

        Parameters are matplotlib's; `textcoords` can be nothing else here.
        """
        (bottom, top), size = self.y.ends, style["fontsize"]
        shared = bottom + (top - bottom) * xy[1]
        at = float(self.y.at(xy[1])) if xycoords == "data" else shared
        at += size * _ASCENT if va == "top" else -size * _DESCENT
        place = float(self.x.at(xy[0])) + xytext[0], at - xytext[1]
        self._add(style, label(text, place, size, ha, style["color"]))

    def _add(self, style: dict[str, Any], drawn: str) -> None:
        self.elements.append(f'<g class="{style["gid"]}">{drawn}</g>')


def label(
    text: str, at: tuple[float, float], size: float, ha: str, colour: str, turn: str = ""
) -> str:
    """Return a text as SVG.

    Parameters
    ----------
    text : str
        The text.
    at : tuple of float
        Where its line begins, ends, or has its middle, in pixels.
    size : float
        Of its letters, in pixels.
    ha : str
        Which of these: ``left``, ``right``, ``center``.
    colour : str
        Its colour, one of `hitfinder.report.colours.LIGHT`.
    turn : str
        Further attributes.
    """
    x, y = map(_px, at)
    style = f"font-size: {size:g}px; text-anchor: {_ANCHORS[ha]}; fill: {colour}"
    return f'<text style="{of_page(style)}" x="{x}" y="{y}"{turn}>{escape(text)}</text>'


def path(drawn: str, style: str, more: str = "") -> str:
    """Return a path as SVG."""
    return f'<path d="{drawn}" style="{of_page(style)}"{more} />'


def of_page(style: str) -> str:
    """Give a style the page's colours, light or dark, in place of the light ones."""
    for use, colour in LIGHT.items():
        style = style.replace(colour, f"var(--{use})")
    return style


def _stroke(style: dict[str, Any]) -> str:
    width = style["linewidth"]
    dashes = ""
    if "linestyle" in style:
        _, lengths = style["linestyle"]
        dashes = f"; stroke-dasharray: {' '.join(_px(width * length) for length in lengths)}"
    return (
        f"fill: none; stroke: {style['color']}; stroke-width: {_px(width)}; "
        f"stroke-linejoin: round{dashes}"
    )


Point = tuple[float, float]


def _pieces(x: NDArray[np.float64], y: NDArray[np.float64]) -> list[list[Point]]:
    """Return the points of a line as far as it goes without a break."""
    pieces: list[list[Point]] = [[]]
    for point in zip(x.tolist(), y.tolist(), strict=True):
        if all(map(math.isfinite, point)):
            pieces[-1].append(point)
        elif pieces[-1]:
            pieces.append([])
    return [piece for piece in pieces if piece]


def _line(points: Sequence[Point]) -> str:
    return "M " + " L ".join(f"{_px(x)} {_px(y)}" for x, y in points)


def _px(value: float) -> str:
    """Write pixels to a hundredth."""
    return f"{round(value, 2) + 0.0:.2f}".rstrip("0").rstrip(".")

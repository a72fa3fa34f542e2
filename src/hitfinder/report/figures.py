"""Figures drawn by matplotlib: as PNG files, and as SVG that takes on the colours of a page.

An artist whose ``gid`` is ``css:NAME`` becomes an element of class NAME in the SVG; one whose
``gid`` is ``tip:TEXT`` shows the text under the pointer.
"""

from __future__ import annotations

import base64
import io
import itertools
import re
import xml.etree.ElementTree as ET
from typing import TYPE_CHECKING, Any

from hitfinder.report.colours import LIGHT

if TYPE_CHECKING:
    import numpy as np
    from matplotlib.figure import Figure

DPI = 110
_PX_PER_INCH = 72
"""Of SVG: a point of matplotlib's is a pixel."""

_CSS, _TIP = "css:", "tip:"
_HREF = "{http://www.w3.org/1999/xlink}href"
_DECIMALS = re.compile(r"(\.\d\d)\d+")
_FAMILY = re.compile(r"font-family: [^;]*; ")


def new_figure(
    size: tuple[float, float], rows: int = 1, columns: int = 1, dpi: float = DPI, **shared: Any
) -> tuple[Figure, np.ndarray]:
    """Return a figure and its axes, shape (`rows`, `columns`).

    Parameters
    ----------
    size : tuple of float
        Width and height, in inches.
    rows, columns : int
        Charts below and beside one another.
    dpi : float
        Pixels of an inch in a PNG.
    **shared
        What the axes share, as `matplotlib.figure.Figure.subplots` takes it.
    """
    from matplotlib.figure import Figure

    figure = Figure(figsize=size, dpi=dpi, layout="constrained")
    return figure, figure.subplots(rows, columns, squeeze=False, **shared)


def png(figure: Figure) -> bytes:
    """Return a figure as PNG."""
    buffer = io.BytesIO()
    # No date, so that the same figure is the same file.
    figure.savefig(buffer, format="png", metadata={"Software": "hitfinder"})
    return buffer.getvalue()


def page_figure(width_px: int, height_px: int) -> Figure:
    """Return an empty figure for `svg`, of a size in pixels; points are pixels in it."""
    from matplotlib.figure import Figure

    size = width_px / _PX_PER_INCH, height_px / _PX_PER_INCH
    return Figure(figsize=size, dpi=_PX_PER_INCH, frameon=False)


def svg(figure: Figure, name: str, **attributes: str) -> str:
    """Return a figure as an SVG element for a page.

    Text stays text in the page's font, and the colours of `hitfinder.report.colours.LIGHT` become
    the page's, light or dark. Nothing is clipped at the axes.

    Parameters
    ----------
    figure : Figure
        Of `page_figure`.
    name : str
        Unlike that of any other figure of the page; starts the ids of the SVG.
    **attributes : str
        Of the element; ``css`` is its class.
    """
    from matplotlib import rc_context

    buffer = io.StringIO()
    nothing = dict.fromkeys(("Creator", "Date", "Format", "Type"))
    with rc_context({"svg.fonttype": "none", "svg.hashsalt": name}):
        figure.savefig(buffer, format="svg", metadata=nothing)
    root = ET.fromstring(buffer.getvalue())
    _tidy(root, name)
    root.attrib = {"viewBox": root.attrib["viewBox"]}
    for attribute, value in attributes.items():
        root.set("class" if attribute == "css" else attribute.replace("_", "-"), value)
    return ET.tostring(root, encoding="unicode")


def _tidy(root: ET.Element, name: str) -> None:
    """Turn matplotlib's SVG into part of a page: no namespaces, its colours, what is needed."""
    for parent in list(root.iter()):
        for child in list(parent):
            if child.tag.endswith(("}metadata", "}clipPath", "}style")):
                parent.remove(child)
    used = {e.attrib[_HREF][1:] for e in root.iter() if _HREF in e.attrib}
    names = dict(zip(sorted(used), (f"{name}-{k}" for k in itertools.count()), strict=False))
    for element in root.iter():
        element.tag = element.tag.rpartition("}")[2]
        element.text = element.text if (element.text or "").strip() else None
        element.tail = None
        given = element.attrib
        told = given.pop("id", "")
        given.pop("clip-path", None)
        if _HREF in given:
            given["href"] = f"#{names[given.pop(_HREF)[1:]]}"
        if told in names:
            given["id"] = names[told]
        elif told.startswith(_CSS):
            given["class"] = told.removeprefix(_CSS)
        elif told.startswith(_TIP):
            tip = ET.Element("title")
            tip.text = told.removeprefix(_TIP)
            element.insert(0, tip)
        if given.get("transform", "").startswith("rotate(-0 "):
            del given["transform"]
        for key in ("d", "x", "y", "transform"):
            if key in given:
                given[key] = " ".join(_DECIMALS.sub(r"\1", given[key]).split())
        if "style" in given:
            given["style"] = _page_style(given["style"])
    _unwrap(root)


def _unwrap(element: ET.Element) -> None:
    """Take the content of groups that say nothing out of them."""
    children: list[ET.Element] = []
    for child in element:
        _unwrap(child)
        if child.tag in ("g", "defs") and not child.attrib and child.find("title") is None:
            children += [child] if child.tag == "defs" and len(child) else child
        else:
            children.append(child)
    element[:] = children


def _page_style(style: str) -> str:
    """Give a style the page's font and colours."""
    style = _FAMILY.sub("", style)
    for use, colour in LIGHT.items():
        style = style.replace(colour, f"var(--{use})")
    return style


def data_url(picture: bytes) -> str:
    """Return a PNG file as an address that holds it."""
    return "data:image/png;base64," + base64.b64encode(picture).decode("ascii")

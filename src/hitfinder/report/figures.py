"""Figures drawn by matplotlib, as PNG files."""

from __future__ import annotations

import base64
import io
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy as np
    from matplotlib.figure import Figure

DPI = 110


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


def data_url(picture: bytes) -> str:
    """Return a PNG file as an address that holds it."""
    return "data:image/png;base64," + base64.b64encode(picture).decode("ascii")

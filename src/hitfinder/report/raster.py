"""Matplotlib figures as PNG."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from matplotlib.figure import Figure

DPI = 110


def png(figure: Figure) -> bytes:
    """Return a figure as PNG."""
    buffer = io.BytesIO()
    # No date, so that the same figure is the same file.
    figure.savefig(buffer, format="png", metadata={"Software": "hitfinder"})
    return buffer.getvalue()

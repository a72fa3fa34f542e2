"""One frame as a PNG: logarithmic colours, resolution rings, circled peaks."""

from __future__ import annotations

import dataclasses
import os
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import ListedColormap, LogNorm
from matplotlib.figure import Figure
from matplotlib.patches import Circle
from numpy.typing import NDArray

from hitfinder import atomic
from hitfinder.finding.peaks import doubtful
from hitfinder.geometry.geometry import Geometry
from hitfinder.report import png
from hitfinder.report.detector_view import DetectorView

LONGEST_SIDE = 1050
"""Pixels of the frame's picture along its longer side, at most: no more than are drawn."""

WITHOUT_PIXELS = "#7d828a"
RING, PEAK = "#ffffff", "#4be3ff"


@dataclasses.dataclass(frozen=True)
class Zoom:
    """A square part of the frame.

    Parameters
    ----------
    fs, ss : float
        Its centre, in pixels of the stored frame (corner convention).
    size : float
        Its side, in pixels.
    """

    fs: float
    ss: float
    size: float


def draw_frame(
    path: str | os.PathLike[str],
    frame: NDArray,
    geometry: Geometry,
    peaks: NDArray[np.void],
    title: str,
    zoom: Zoom | None = None,
) -> int:
    """Draw a frame into a PNG file, whole or not at all.

    A detector of one panel is drawn as it is stored; several panels are put in their places.

    Parameters
    ----------
    path : path-like
        PNG to write.
    frame : ndarray, shape of the geometry
        Counts.
    geometry : Geometry
        Where the pixels are, and which of them are masked.
    peaks : structured ndarray
        Peaks with the fields ``fs``, ``ss`` and ``probability``.
    title : str
        Written above; with `zoom`, how many of the peaks are in the part is added.
    zoom : Zoom, optional
        Part to show; the whole frame if None.

    Returns
    -------
    int
        Peaks in what is shown.

    Raises
    ------
    ValueError
        If `zoom` is not centred on a panel.
    OutputError
        If the file cannot be written.
    """
    pitch = 1.0 if zoom else max(1.0, max(geometry.shape) / LONGEST_SIDE)
    view = DetectorView.of(geometry, pitch)
    figure = Figure(figsize=(10.4, 9.4), dpi=150, layout="constrained")
    axes = figure.add_subplot()
    window = _window(view, zoom)
    _draw_image(figure, axes, view.mean_image(frame) * pitch**2, window, pitch)
    _draw_rings(axes, view, window)
    n_shown = _draw_peaks(axes, view, peaks, window)
    if zoom is not None:
        title += f", {n_shown} of the peaks in this part"
    axes.set_title(title, fontsize=10, loc="left")
    plain = len(geometry.detector.panels) == 1
    axes.set_xlabel("fs (pixels)" if plain else "x (pixels)")
    axes.set_ylabel("ss (pixels)" if plain else "y (pixels)")
    with atomic.replacing(Path(path)) as part:
        figure.savefig(part, format="png")
    return n_shown


Window = tuple[float, float, float, float]
"""Left, right, top and bottom of the part that is shown, in detector pixels of the picture."""


def _window(view: DetectorView, zoom: Zoom | None) -> Window:
    rows, columns = view.shape
    if zoom is None:
        return 0.0, columns * view.pitch_px, 0.0, rows * view.pitch_px
    (x, y) = view.place(np.array([zoom.fs]), np.array([zoom.ss]))[0] * view.pitch_px
    if not np.isfinite(x):
        raise ValueError(f"there is no panel at fs {zoom.fs:g}, ss {zoom.ss:g}")
    half = zoom.size / 2
    return x - half, x + half, y - half, y + half


def _draw_image(figure: Figure, axes: Axes, image: NDArray, window: Window, pitch: float) -> None:
    rows, columns = image.shape
    left, right, top, bottom = window
    shown = image[
        max(0, int(top / pitch)) : max(1, int(np.ceil(bottom / pitch))),
        max(0, int(left / pitch)) : max(1, int(np.ceil(right / pitch))),
    ]
    low, high = png.log_limits(shown)
    colours = ListedColormap(png.palette() / 255.0).with_extremes(bad=WITHOUT_PIXELS)
    drawn = axes.imshow(
        # Zero has no logarithm; it gets the darkest colour, not that of missing pixels.
        np.where(np.isnan(image), np.nan, np.maximum(image, low)),
        cmap=colours,
        norm=LogNorm(low, high),
        extent=(0, columns * pitch, rows * pitch, 0),
        interpolation="nearest",
    )
    axes.set_facecolor(WITHOUT_PIXELS)
    axes.set_xlim(left, right)
    axes.set_ylim(bottom, top)
    label = "photons" if pitch == 1 else f"photons per {pitch:.2g} × {pitch:.2g} pixels"
    bar = figure.colorbar(drawn, ax=axes, label=label, shrink=0.85, pad=0.02)
    bar.ax.yaxis.set_major_formatter("{x:g}")
    # Without a power of ten in between, the lesser ticks have to say what the scale is.
    bar.ax.yaxis.set_minor_formatter("" if high / low > 20 else "{x:g}")


def _draw_rings(axes: Axes, view: DetectorView, window: Window) -> None:
    left, right, top, bottom = window
    for resolution, ring in view.rings():
        column, row, radius = (view.pitch_px * value for value in ring)
        style = {"fill": False, "edgecolor": RING, "alpha": 0.55, "linestyle": (0, (4, 4))}
        axes.add_patch(Circle((column, row), radius, linewidth=0.7, **style))
        x, y = column + 0.707 * radius, row - 0.707 * radius
        if left < x < right and top < y < bottom:
            text = axes.text(x, y, f"{resolution:.2g} Å", color=RING, fontsize=8, clip_on=True)
            text.set_bbox({"facecolor": "#00000066", "edgecolor": "none", "pad": 1.5})


def _draw_peaks(axes: Axes, view: DetectorView, peaks: NDArray[np.void], window: Window) -> int:
    """Circle the peaks in the window, doubtful ones in dots; return their number."""
    left, right, top, bottom = window
    radius = max(3.0, 0.011 * max(right - left, bottom - top))
    x, y = (view.place(peaks["fs"], peaks["ss"]) * view.pitch_px).T
    inside = (left <= x) & (x <= right) & (top <= y) & (y <= bottom)
    dotted = doubtful(peaks)
    for k in np.flatnonzero(inside):
        line = ":" if dotted[k] else "-"
        circle = Circle((x[k], y[k]), radius, fill=False, edgecolor=PEAK, linewidth=1.1, ls=line)
        axes.add_patch(circle)
    return int(inside.sum())

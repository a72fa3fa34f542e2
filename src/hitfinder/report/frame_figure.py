"""One frame on axes or as a file: logarithmic colours, resolution rings, circled peaks."""

from __future__ import annotations

import dataclasses
import os
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colorbar import Colorbar
from matplotlib.colors import LogNorm
from matplotlib.figure import Figure
from matplotlib.ticker import NullLocator
from numpy.typing import NDArray

from hitfinder import atomic
from hitfinder.finding.peaks import doubtful, peak_table
from hitfinder.geometry.detector import Detector
from hitfinder.geometry.geometry import Geometry
from hitfinder.metrics.columns import columns_of
from hitfinder.report.colours import RING, WITHOUT_PIXELS, count_colours, log_limits, log_ticks
from hitfinder.report.detector_view import DetectorView
from hitfinder.report.figures import new_figure
from hitfinder.report.overlay import Window, draw_peaks, draw_rings, ring_labels

LONGEST_SIDE = 1050
"""Pixels of the frame's picture along its longer side, about: no more than are drawn."""

SIDE_IN, BESIDE_IN, BELOW_IN, TITLE_IN = 8.3, 2.1, 0.65, 0.45
"""Inches: longer side of the frame in a figure, and room for the scales and the title."""

LEAST_WIDTH_IN = 6.5
"""Width of a figure that has room for a title, however narrow the frame is."""


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
    """Draw a frame into a file, whole or not at all.

    A detector of one panel is drawn as it is stored; several panels are put in their places.

    Parameters
    ----------
    path : path-like
        File to write; its ending, such as ``.png`` or ``.pdf``, says in which format.
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
    figure, ((axes,),) = new_figure((SIDE_IN, SIDE_IN), dpi=150)
    n_shown = _draw(axes, frame, geometry, peaks, zoom)
    if zoom is not None:
        title += f", {n_shown} of the peaks in this part"
    axes.set_title(title, fontsize=10, loc="left")
    _fit(figure, axes, SIDE_IN, TITLE_IN)
    save_figure(figure, Path(path))
    return n_shown


def save_figure(figure: Figure, path: Path) -> None:
    """Write a figure in the format that the ending of its name says, whole or not at all.

    Raises
    ------
    OutputError
        If the file cannot be written.
    """
    with atomic.replacing(path) as part:
        figure.savefig(part, format=path.suffix.lower().removeprefix("."))


def plot(
    frame: NDArray,
    peaks: Any = None,
    *,
    geometry: Geometry | None = None,
    zoom: tuple[float, float, float] | None = None,
    ax: Axes | None = None,
) -> Axes:
    """Draw a frame with its peaks circled, on a logarithmic colour scale.

    Peaks that are likelier false than true have dotted circles. With a geometry there are
    resolution rings, masked pixels are grey, and several panels are put in their places.

    Parameters
    ----------
    frame : ndarray, shape (ss, fs)
        Counts.
    peaks : table, optional
        Peaks with the columns ``fs`` and ``ss``, and ``probability`` if it is known, as for
        `hitfinder.compare`.
    geometry : Geometry, optional
        Where the pixels are.
    zoom : tuple of float, optional
        The part to show: fs and ss of its centre, and its side, in pixels.
    ax : matplotlib.axes.Axes, optional
        Where to draw; a figure of its own if not given.

    Returns
    -------
    matplotlib.axes.Axes

    Raises
    ------
    ValueError
        If the frame is no frame of the geometry, or the part to show is on no panel.

    Examples
    --------
    >>> import hitfinder as hf
    >>> with hf.open("run7_master.h5") as frames:
    ...     frame = frames[12]
    >>> axes = hf.plot(frame, {"fs": [100.5], "ss": [80.5]}, zoom=(100, 80, 40))
    >>> axes.figure.savefig("frame.png")
    """
    frame = np.asarray(frame)
    if frame.ndim != 2 or frame.dtype.kind not in "iufb":
        raise ValueError(f"no frame of counts: shape {frame.shape}, {frame.dtype}")
    if geometry is not None and geometry.shape != frame.shape:
        raise ValueError(f"frame shape {frame.shape} is not the geometry's {geometry.shape}")
    if zoom is not None and not zoom[2] > 0:
        raise ValueError(f"the side of the part to show must be positive, got {zoom[2]}")
    columns = columns_of([] if peaks is None else peaks, "peaks", ("probability",))
    part = Zoom(*zoom) if zoom else None
    if ax is not None:
        _draw(ax, frame, geometry, peak_table(**columns), part)
        return ax
    from matplotlib import pyplot

    figure, ax = pyplot.subplots(layout="constrained")
    _draw(ax, frame, geometry, peak_table(**columns), part)
    _fit(figure, ax, 0.7 * SIDE_IN)
    return ax


def _fit(figure: Figure, axes: Axes, side_in: float, title_in: float = 0.0) -> None:
    """Make a figure as wide and high as its frame, so that the scale beside it is no higher."""
    width, height = (abs(end - start) for start, end in (axes.get_xlim(), axes.get_ylim()))
    inches = side_in / max(width, height)
    wide = max(width * inches + BESIDE_IN, LEAST_WIDTH_IN)
    figure.set_size_inches(wide, height * inches + BELOW_IN + title_in)


def _draw(
    axes: Axes,
    frame: NDArray,
    geometry: Geometry | None,
    peaks: NDArray[np.void],
    zoom: Zoom | None,
) -> int:
    """Draw a frame, in its own rows and columns without a geometry; return the peaks shown."""
    pitch = 1.0 if zoom else max(1.0, float(round(max(frame.shape) / LONGEST_SIDE)))
    placed = geometry or Geometry(Detector.flat(frame.shape, 1e-4), 1.0, 1e4)
    view = DetectorView.of(placed, pitch)
    window = _window(view, zoom)
    image = view.mean_image(frame) * pitch**2
    _draw_image(axes, image, window, pitch, is_whole(frame))
    if geometry is not None:
        _draw_rings(axes, view, window)
    plain = len(placed.detector.panels) == 1
    axes.set_xlabel("fs (pixels)" if plain else "x (pixels)")
    axes.set_ylabel("ss (pixels)" if plain else "y (pixels)")
    return _draw_peaks(axes, view, peaks, window)


def _window(view: DetectorView, zoom: Zoom | None) -> Window:
    rows, columns = view.shape
    if zoom is None:
        return 0.0, columns * view.pitch_px, 0.0, rows * view.pitch_px
    (x, y) = view.place(np.array([zoom.fs]), np.array([zoom.ss]))[0] * view.pitch_px
    if not np.isfinite(x):
        raise ValueError(f"there is no panel at fs {zoom.fs:g}, ss {zoom.ss:g}")
    half = zoom.size / 2
    return x - half, x + half, y - half, y + half


def is_whole(frame: NDArray) -> bool:
    """Whether a frame has whole counts only, of whatever type."""
    if frame.dtype.kind in "iub":
        return True
    return not np.mod(frame[np.isfinite(frame)], 1).any()


def _draw_image(axes: Axes, image: NDArray, window: Window, pitch: float, whole: bool) -> None:
    rows, columns = image.shape
    left, right, top, bottom = window
    shown = image[
        max(0, int(top / pitch)) : max(1, int(np.ceil(bottom / pitch))),
        max(0, int(left / pitch)) : max(1, int(np.ceil(right / pitch))),
    ]
    low, high = log_limits(shown)
    drawn = axes.imshow(
        # Zero has no logarithm; it gets the darkest colour, not that of missing pixels.
        np.where(np.isnan(image), np.nan, np.maximum(image, low)),
        cmap=count_colours(),
        norm=LogNorm(low, high),
        extent=(0, columns * pitch, rows * pitch, 0),
        interpolation="nearest",
    )
    axes.set_facecolor(WITHOUT_PIXELS)
    axes.set_xlim(left, right)
    axes.set_ylim(bottom, top)
    label = "photons" if pitch == 1 else f"photons per {pitch:g} × {pitch:g} pixels"
    bar = axes.figure.colorbar(drawn, ax=axes, label=label, shrink=0.85, pad=0.02)
    mark_counts(bar, low, high, whole)


def mark_counts(bar: Colorbar, low: float, high: float, whole: bool) -> None:
    """Mark a bar of counts at round values, whole ones where the counts are whole."""
    ticks = log_ticks(low, high, whole)
    names = [f"{tick:g}" for tick in ticks]
    if whole:
        ticks, names = [low, *ticks], ["0", *names]
    bar.ax.yaxis.set_minor_locator(NullLocator())
    bar.set_ticks(ticks, labels=names)


def _draw_rings(axes: Axes, view: DetectorView, window: Window) -> None:
    draw_rings(axes, view, view.pitch_px)
    for label, x, y in ring_labels(view, window, view.pitch_px):
        text = axes.text(x, y, label, color=RING, fontsize=8, clip_on=True)
        text.set_bbox({"facecolor": "#0a0a1c", "alpha": 0.7, "edgecolor": "none", "pad": 1.5})


def _draw_peaks(axes: Axes, view: DetectorView, peaks: NDArray[np.void], window: Window) -> int:
    """Circle the peaks in the window, doubtful ones in dots; return their number."""
    left, right, top, bottom = window
    radius = max(3.0, 0.011 * max(right - left, bottom - top))
    at = view.place(peaks["fs"], peaks["ss"]) * view.pitch_px
    x, y = at.T
    inside = (left <= x) & (x <= right) & (top <= y) & (y <= bottom)
    draw_peaks(axes, at[inside], radius, doubtful(peaks)[inside])
    return int(inside.sum())

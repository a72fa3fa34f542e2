"""A contact sheet: every peak of a frame by itself, with its number."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
from matplotlib.colors import LogNorm
from numpy.typing import NDArray

from hitfinder.finding.peaks import doubtful
from hitfinder.geometry.geometry import Geometry
from hitfinder.report.colours import PEAK, WITHOUT_PIXELS, count_colours, log_limits
from hitfinder.report.figures import new_figure
from hitfinder.report.frame_figure import is_whole, mark_counts, save_figure

MOST_PEAKS = 80
"""Peaks that a sheet shows, those that come first."""

COLUMNS, CELL_INCHES, SIDE_PX = 8, 1.35, 17


def draw_sheet(
    path: Path, frame: NDArray, geometry: Geometry, peaks: NDArray[np.void], title: str
) -> int:
    """Draw the surroundings of each peak, all on one scale of counts.

    Parameters
    ----------
    path : Path
        File to write; its ending says in which format.
    frame : ndarray, shape of the geometry
        Counts.
    geometry : Geometry
        Tells which pixels are masked.
    peaks : structured ndarray
        Peaks with the fields ``fs``, ``ss`` and ``probability``, and ``resolution_a`` and
        ``photons`` if they are known.
    title : str
        Written above.

    Returns
    -------
    int
        Peaks that are shown.

    Raises
    ------
    OutputError
        If the file cannot be written.
    """
    shown = peaks[:MOST_PEAKS]
    if len(shown) < len(peaks):
        title += f", the first {len(shown)} of them"
    counts = np.where(geometry.detector.full_mask, np.nan, np.asarray(frame, float))
    crops = [_around(counts, peak["fs"], peak["ss"]) for peak in shown]
    rows = max(1, math.ceil(len(shown) / COLUMNS))
    size = (COLUMNS * CELL_INCHES + 0.9, rows * (CELL_INCHES + 0.35) + 0.7)
    figure, grid = new_figure(size, rows, COLUMNS, dpi=130)
    figure.suptitle(title, fontsize=9, x=0.01, ha="left")
    low, high = log_limits(np.concatenate([crop.ravel() for crop in crops])) if crops else (1, 2)
    image = None
    for k, axes in enumerate(grid.ravel()):
        if k >= len(shown):
            axes.remove()
            continue
        image = axes.imshow(
            np.where(np.isnan(crops[k]), np.nan, np.maximum(crops[k], low)),
            cmap=count_colours(),
            norm=LogNorm(low, high),
            interpolation="nearest",
        )
        axes.set(xticks=[], yticks=[], facecolor=WITHOUT_PIXELS)
        axes.set_title(_told(k, shown[k]), fontsize=6.5, pad=2)
        style = "dotted" if doubtful(shown[k : k + 1])[0] else "solid"
        for spine in axes.spines.values():
            spine.set(edgecolor=PEAK, linestyle=style)
    if image is not None:
        used = list(grid.ravel()[: len(shown)])
        bar = figure.colorbar(image, ax=used, label="photons", fraction=0.04, pad=0.01)
        mark_counts(bar, low, high, is_whole(np.asarray(frame)))
    save_figure(figure, path)
    return len(shown)


def _around(counts: NDArray[np.float64], fs: float, ss: float) -> NDArray[np.float64]:
    """Return the pixels around a place, NaN beyond the frame."""
    half = SIDE_PX // 2
    row, column = int(ss), int(fs)
    crop = np.full((SIDE_PX, SIDE_PX), np.nan)
    top, left = max(0, row - half), max(0, column - half)
    part = counts[top : row + half + 1, left : column + half + 1]
    crop[top - row + half :, left - column + half :][: part.shape[0], : part.shape[1]] = part
    return crop


def _told(number: int, peak: np.void) -> str:
    """Return a peak's number, photons, resolution and probability, as far as they are known."""
    told = [f"peak {number}"]
    names = peak.dtype.names or ()
    if "photons" in names and np.isfinite(peak["photons"]):
        told.append(f"{peak['photons']:.0f} ph")
    lines = [", ".join(told)]
    told = []
    if "resolution_a" in names and np.isfinite(peak["resolution_a"]):
        told.append(f"{peak['resolution_a']:.2f} Å")
    if np.isfinite(peak["probability"]):
        told.append(f"p {peak['probability']:.2f}")
    return "\n".join([*lines, ", ".join(told)]) if told else lines[0]

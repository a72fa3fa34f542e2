"""Figures of the study as PNG."""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from hitfinder.report.figures import new_figure, png

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

FLAT = (5.6, 2.7)
BLUE, GREY, ORANGE = "#1f6fb2", "#8a94a3", "#b3541e"
PART_COLOURS = {"train": BLUE, "validation": GREY, "test": ORANGE}


def _figure(rows: int = 1, size: tuple[float, float] = (4.8, 3.9)) -> tuple[Figure, Any]:
    """Make a figure of charts above one another, as pages show it in half their width."""
    figure, axes = new_figure((size[0], size[1] * rows), rows)
    return figure, axes[:, 0]


def confusion(matrix: Sequence[Sequence[float]], names: Sequence[str], title: str) -> bytes:
    """Draw a row-normalised confusion matrix."""
    figure, (axes,) = _figure()
    values = np.asarray(matrix)
    image = axes.imshow(values, vmin=0, vmax=1, cmap="Blues")
    figure.colorbar(image, ax=axes, fraction=0.046)
    few = len(names) <= 9
    axes.set_xticks(range(len(names)), names, rotation=0 if few else 90, fontsize=9 if few else 6)
    axes.set_yticks(range(len(names)), names, fontsize=9 if few else 6)
    if few:
        # Upright names take the least width; long ones would push the axis' own off the figure.
        axes.tick_params(axis="y", labelrotation=90)
        for label in axes.get_yticklabels():
            label.set_verticalalignment("center")
    for (i, j), value in np.ndenumerate(values):
        if few:
            colour = "white" if value > 0.5 else "black"
            axes.text(j, i, f"{value:.3g}", ha="center", va="center", color=colour)
    axes.set(xlabel="decided", ylabel="true", title=title)
    return png(figure)


def curves(history: str, title: str) -> bytes:
    """Draw loss and accuracy against epoch from the CSV of a trained network."""
    rows = list(csv.DictReader(io.StringIO(history)))
    columns = [m for m in ("loss", "accuracy") if rows and f"train_{m}" in rows[0]]
    figure, all_axes = _figure(max(1, len(columns)), FLAT)
    all_axes[0].set_title(title)
    for axes, metric in zip(all_axes, columns, strict=False):
        for part, colour in PART_COLOURS.items():
            name = f"{part}_{metric}"
            if name in rows[0]:
                epochs = [int(row["epoch"]) + 1 for row in rows]
                values = [float(row[name]) for row in rows]
                axes.plot(epochs, values, "o-", color=colour, label=part, markersize=3)
        axes.set(xlabel="epoch", ylabel=metric)
        if metric == "accuracy":
            axes.set_ylim(-0.03, 1.03)
        axes.legend()
        axes.grid(alpha=0.3)
    return png(figure)


def rates(found: Mapping[str, Any], title: str) -> bytes:
    """Draw ROC and precision-recall curves, with 95 % bands."""
    figure, (left, right) = _figure(2, FLAT)
    for number, (name, both) in enumerate(found.items()):
        colour = f"C{number % 10}"
        roc, pr = both["roc"], both["precision_recall"]
        label = f"{name}: area {roc['area']:.4f}"
        _band(left, roc["false_rate"], roc["efficiency"], roc, colour, label)
        label = f"{name}: average {pr['average_precision']:.4f}"
        _band(right, pr["recall"], pr["precision"], pr, colour, label)
    left.set(xlabel="fraction of the others taken for it", ylabel="fraction found")
    right.set(xlabel="recall", ylabel="precision")
    left.set_title(title)
    for axes in (left, right):
        axes.set(xlim=(-0.02, 1.02), ylim=(-0.02, 1.02))
        axes.grid(alpha=0.3)
        if len(found) <= 9:
            axes.legend(fontsize=8)
    return png(figure)


def _band(
    axes: Axes, x: Sequence, y: Sequence, band: Mapping[str, Any], colour: str, label: str
) -> None:
    axes.plot(x, y, color=colour, label=label)
    axes.fill_between(x, band["low"], band["high"], color=colour, alpha=0.15, linewidth=0)


def reliability(found: Mapping[str, Any], title: str) -> bytes:
    """Draw how often predictions came true against their probability."""
    figure, (axes,) = _figure()
    predicted, observed, low, high = (
        np.array(found[name], float) for name in ("predicted", "observed", "low", "high")
    )
    there = np.isfinite(predicted)
    below, above = observed - low, high - observed
    axes.plot([0, 1], [0, 1], color=GREY, linewidth=1)
    axes.errorbar(
        predicted[there],
        observed[there],
        yerr=np.maximum([below[there], above[there]], 0),
        fmt="o",
        color=BLUE,
        capsize=3,
    )
    axes.set(
        xlabel="predicted probability",
        ylabel="came true",
        xlim=(-0.03, 1.03),
        ylim=(-0.03, 1.03),
        title=f"{title}\ncalibration error {found['error']:.3f}",
    )
    axes.grid(alpha=0.3)
    return png(figure)


def per_setting(values: Mapping[str, Mapping[str, Any]], what: str, title: str) -> bytes:
    """Draw a fraction for each setting, with its 95 % interval."""
    figure, (axes,) = _figure(size=(5.6, 3.2))
    names = list(values)
    middle = np.array([np.nan if v["value"] is None else v["value"] for v in values.values()])
    low, high = (np.array([v[end] for v in values.values()]) for end in ("low", "high"))
    errors = np.maximum([middle - low, high - middle], 0)
    axes.bar(names, middle, color=BLUE, alpha=0.75)
    axes.errorbar(names, middle, yerr=errors, fmt="none", color="black", capsize=3)
    axes.set(xlabel="setting", ylabel=what, ylim=(0, 1.05), title=title)
    return png(figure)


def frame(
    image: NDArray,
    title: str,
    true_peaks: NDArray | None = None,
    found_peaks: NDArray | None = None,
) -> bytes:
    """Draw a frame in logarithmic colours, with true peaks circled and found ones crossed."""
    from matplotlib.colors import LogNorm

    figure, (axes,) = _figure(size=(4.8, 4.8))
    shown = np.asarray(image, float) + 0.5
    top = max(float(np.percentile(shown, 99.9)), float(shown.min()) * 2, 1.5)
    norm = LogNorm(max(float(np.percentile(shown, 1)), 0.4), top)
    extent = (0, shown.shape[1], shown.shape[0], 0)
    axes.imshow(shown, norm=norm, cmap="viridis", extent=extent, interpolation="nearest")
    for peaks, marker, colour in ((true_peaks, "o", "#ff4fa3"), (found_peaks, "x", "white")):
        if peaks is not None and len(peaks):
            face = {"facecolors": "none", "edgecolors": colour} if marker == "o" else {"c": colour}
            axes.scatter(peaks[:, 0], peaks[:, 1], marker=marker, s=40, linewidths=0.9, **face)
    axes.set(title=title, xticks=[], yticks=[], xlim=extent[:2], ylim=extent[2:])
    axes.title.set_fontsize(11)
    return png(figure)

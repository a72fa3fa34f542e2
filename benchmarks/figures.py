"""Figures of the benchmark, for the documentation."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import matplotlib
import numpy as np

matplotlib.use("Agg")
import matplotlib.pyplot as plt

from conditions import Condition
from hitfinder.metrics.classification import wilson_interval
from hitfinder.metrics.matching import recall_by_photons
from judge import Judgement
from tune import Tuned

FOLDER = Path(__file__).resolve().parents[1] / "docs" / "images"
COLOURS = {"hitfinder": "#c1272d", "peakfinder8": "#0000a7", "DIALS": "#008176"}
MARKERS = {"hitfinder": "o", "peakfinder8": "s", "DIALS": "^"}
PHOTON_EDGES = np.array([2, 3, 4, 5, 6, 8, 10, 13, 17, 24, 35, 60, 120, 300, 1e5])
RATE_GRID = np.geomspace(0.01, 5, 40)

Drawn = dict[str, tuple[Condition, dict[str, Tuned]]]


def draw_curves(drawn: Drawn) -> None:
    """Recall against false peaks per frame, a panel for each condition at its first group."""
    names = [n for n in drawn if not n.startswith("sim9")]
    columns = 4
    rows = -(-len(names) // columns)
    figure, axes = plt.subplots(
        rows, columns, figsize=(11, 2.5 * rows), sharex=True, sharey=True, squeeze=False
    )
    for axis, name in zip(axes.flat, names, strict=False):
        condition, finders = drawn[name]
        for finder, found in finders.items():
            _draw_curve(axis, finder, found)
        axis.axvline(condition.false_limit, color="0.7", lw=0.8, ls=":")
        axis.set_title(f"{condition.title}\n{condition.groups[0]}", fontsize=7)
    for axis in axes.flat[len(names) :]:
        axis.remove()
    for axis in axes[-1]:
        axis.set_xlabel("false peaks per frame")
    for axis in axes[:, 0]:
        axis.set_ylabel("recall")
    axes[0, 0].set(xscale="log", ylim=(0, 1.03))
    axes[0, 0].legend(fontsize=7, loc="lower right")
    _save(figure, "benchmark-curves.png")


def _draw_curve(axis: Any, finder: str, found: Tuned) -> None:
    """Settings as points, for ours the default; the line is by dropping weak peaks."""
    colour = COLOURS[finder]
    axis.plot(RATE_GRID, found.envelope(RATE_GRID, 0), color=colour, lw=1, label=finder)
    shown = found.judgements[:1] if finder == "hitfinder" else found.judgements
    points = np.array([(j.false_per_frame, j.of_group(0).recall) for j in shown])
    points = points[points[:, 0] <= RATE_GRID[-1]]
    # Without false peaks there is no place on a logarithmic axis.
    at = np.maximum(points[:, 0], RATE_GRID[0])
    axis.plot(at, points[:, 1], MARKERS[finder], color=colour, ms=4)


def draw_recall_by_photons(drawn: Drawn) -> None:
    """Recall against the photons of a spot, at the allowed rate of false peaks."""
    names = [n for n in drawn if n.startswith("own6")]
    if not names:
        return
    figure, axes = plt.subplots(1, len(names), figsize=(11, 3.2), sharey=True, squeeze=False)
    for axis, name in zip(axes.flat, names, strict=True):
        condition, finders = drawn[name]
        for finder, found in finders.items():
            _, best = found.best_cut(condition.false_limit, 0)
            judgement = found.judgements[0 if finder == "hitfinder" else best].of_group(0)
            _draw_photons(axis, finder, judgement, condition.false_limit)
        axis.axvline(condition.min_photons, color="0.7", lw=0.8, ls=":")
        axis.set(xscale="log", xlabel="photons in the spot")
        axis.set_title(f"{condition.title}\nat most {condition.false_limit} false", fontsize=8)
    axes[0, 0].set(ylabel="recall", ylim=(0, 1.03))
    axes[0, -1].legend(fontsize=7, loc="lower right")
    _save(figure, "benchmark-photons.png")


def _draw_photons(axis: Any, finder: str, judgement: Judgement, limit: float) -> None:
    cut = judgement.cut_at(limit)[1]
    n_found, n_true = recall_by_photons(judgement.photons, judgement.strength > cut, PHOTON_EDGES)
    some = n_true > 0
    recall = n_found[some] / n_true[some]
    low, high = wilson_interval(n_found[some], n_true[some], 0.68)
    middle = np.sqrt(PHOTON_EDGES[:-1] * np.minimum(PHOTON_EDGES[1:], 1000))[some]
    error = np.clip([recall - low, high - recall], 0, None)
    style = {"color": COLOURS[finder], "marker": MARKERS[finder], "ms": 3.5, "lw": 1.2}
    axis.errorbar(middle, recall, error, label=finder, elinewidth=0.8, **style)


def _save(figure: Any, name: str) -> None:
    FOLDER.mkdir(parents=True, exist_ok=True)
    figure.tight_layout()
    figure.savefig(FOLDER / name, dpi=90)
    plt.close(figure)
    print(f"written to {FOLDER / name}")

"""Figures of a suite, as PNG, from its results."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from hitfinder.metrics.classification import wilson_interval
from hitfinder.report.figures import new_figure, png
from hitfinder.suite.measure import PHOTON_EDGES, rate

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

Results = Mapping[str, Any]
_COLOURS = ("#c1272d", "#0000a7", "#008176", "#eecc16", "#7b3294", "#666666")
_MARKERS = ("o", "s", "^", "D", "v", "P")
_COLUMNS = 4


def drawn(results: Results) -> dict[str, bytes]:
    """Return every figure there is something to draw for, by name."""
    figures = {
        "hits": hit_efficiency(results),
        "photons": recall_by_photons(results),
        "curves": recall_curves(results),
        "reliability": reliability_diagrams(results),
        "geometry": geometry_errors(results),
        "known": known_crystals(results),
    }
    return {name: picture for name, picture in figures.items() if picture is not None}


def _of_family(results: Results, *families: str) -> list[Results]:
    return [c for c in results["conditions"] if c["family"] in families]


def _panels(n: int, height: float = 3.0, **shared: Any) -> tuple[Figure, list[Axes]]:
    columns = min(n, _COLUMNS) if n != 3 else 3
    rows = -(-n // columns)
    size = (max(3.2 * columns, 4.0), height * rows)
    figure, grid = new_figure(size, rows, columns, **shared)
    axes = grid.ravel()
    for unused in axes[n:]:
        unused.remove()
    return figure, list(axes[:n])


def _style(results: Results, finder: str) -> dict[str, Any]:
    return _looks(results["finders"].index(finder))


def _looks(k: int) -> dict[str, Any]:
    """Return colour and marker of the k-th of a figure's series."""
    colour, marker = _COLOURS[k % len(_COLOURS)], _MARKERS[k % len(_MARKERS)]
    return {"color": colour, "marker": marker, "ms": 3.5, "lw": 1.2}


def hit_efficiency(results: Results) -> bytes | None:
    """Draw the share of hits found at 1 % false ones against the Bragg scale."""
    conditions = _of_family(results, "flux")
    if not conditions:
        return None
    figure, axes = _panels(len(conditions), sharey=True)
    for axis, c in zip(axes, conditions, strict=True):
        for name, found in c["finders"].items():
            shares = [group["hits"]["efficiency"] for group in found["groups"]]
            _with_errors(axis, c["scales"], shares, _style(results, name), name)
        axis.axhline(0.5, color="0.7", lw=0.8, ls=":")
        axis.set(xscale="log", xlabel="Bragg scale", ylim=(-0.03, 1.05))
        axis.set_title(c["title"], fontsize=9)
    axes[0].set_ylabel("hits found at 1 % false hits")
    axes[-1].legend(fontsize=8)
    return png(figure)


def _with_errors(
    axis: Axes,
    x: Sequence[float],
    shares: Sequence[Mapping[str, float | None]],
    style: Mapping[str, Any],
    label: str,
) -> None:
    """Draw shares with their intervals; those of nothing are left out."""
    some = [(at, s) for at, s in zip(x, shares, strict=True) if s["value"] is not None]
    if not some:
        return
    value = np.array([s["value"] for _, s in some], float)
    ends = np.array([[s["low"], s["high"]] for _, s in some], float)
    error = np.clip([value - ends[:, 0], ends[:, 1] - value], 0, None)
    axis.errorbar([at for at, _ in some], value, error, label=label, elinewidth=0.8, **style)


def recall_by_photons(results: Results) -> bytes | None:
    """Draw recall against the photons of a spot, at the allowed rate of false peaks."""
    conditions = _of_family(results, "flux")
    if not conditions:
        return None
    figure, axes = _panels(len(conditions), sharey=True)
    middles = np.sqrt(np.array(PHOTON_EDGES[:-1]) * np.minimum(PHOTON_EDGES[1:], 1000))
    for axis, c in zip(axes, conditions, strict=True):
        for name, found in c["finders"].items():
            binned = [group["by_photons"] for group in found["groups"]]
            n_found = np.sum([b["found"] for b in binned], 0)
            n_spots = np.sum([b["spots"] for b in binned], 0)
            low, high = wilson_interval(n_found, n_spots, 0.68)
            some = n_spots > 0
            shares = [
                {"value": n_found[k] / n_spots[k], "low": low[k], "high": high[k]}
                for k in np.flatnonzero(some)
            ]
            _with_errors(axis, middles[some].tolist(), shares, _style(results, name), name)
        axis.axvline(c["min_photons"], color="0.7", lw=0.8, ls=":")
        axis.set(xscale="log", xlabel="photons in the spot", ylim=(-0.03, 1.05))
        axis.set_title(f"{c['title']}\nat most {c['false_limit']:g} false a frame", fontsize=9)
    axes[0].set_ylabel("recall")
    axes[-1].legend(fontsize=8)
    return png(figure)


def recall_curves(results: Results) -> bytes | None:
    """Draw recall against the allowed rate of false peaks, at full flux of each condition."""
    conditions = results["conditions"]
    if not conditions:
        return None
    figure, axes = _panels(len(conditions), 2.4, sharex=True, sharey=True)
    for axis, c in zip(axes, conditions, strict=True):
        for name, found in c["finders"].items():
            at = found["groups"][0]["recall_at"]
            points = [(float(rate), recall) for rate, recall in at.items() if recall is not None]
            if points:
                axis.plot(*zip(*points, strict=True), label=name, **_style(results, name))
        axis.axvline(c["false_limit"], color="0.7", lw=0.8, ls=":")
        axis.set(xscale="log", ylim=(0, 1.03))
        axis.set_title(c["title"], fontsize=7)
    figure.supxlabel("false peaks per frame", fontsize=9)
    figure.supylabel("recall", fontsize=9)
    axes[0].legend(fontsize=7, loc="lower right")
    return png(figure)


def reliability_diagrams(results: Results) -> bytes | None:
    """Draw how often what was given a probability came true."""
    keys = {"peak_reliability": "peaks", "hit_reliability": "hits"}
    shown = [
        (c, name, key)
        for c in _of_family(results, "flux", "thinned")
        for name, found in c["finders"].items()
        for key in keys
        if key in found
    ]
    if not shown:
        return None
    figure, axes = _panels(len(shown), 3.0, sharex=True, sharey=True)
    for axis, (c, name, key) in zip(axes, shown, strict=True):
        known = c["finders"][name][key]
        columns = ("observed", "low", "high")
        shares = [
            dict(zip(("value", "low", "high"), bin_, strict=True))
            for bin_ in zip(*(known[column] for column in columns), strict=True)
        ]
        axis.plot([0, 1], [0, 1], color="0.7", lw=0.8)
        centres = [p if p is not None else 0.0 for p in known["predicted"]]
        _with_errors(axis, centres, shares, _style(results, name), name)
        off = f"off by {known['error']:.3f} ({known['by_chance']:.3f} by chance)"
        axis.set_title(f"{name}, {keys[key]}: {off}\n{c['title']}", fontsize=7)
    figure.supxlabel("probability given", fontsize=9)
    figure.supylabel("share that came true", fontsize=9)
    return png(figure)


def known_crystals(results: Results) -> bytes | None:
    """Draw the share of hits at 1 % false ones against the Bragg scale, by what is known."""
    parts = [one for one in results.get("known") or [] if one["frames"] == "simulated"]
    if not parts:
        return None
    kinds = list(dict.fromkeys(one["known"] for one in parts))
    titles = list(dict.fromkeys(one["title"] for one in parts))
    figure, axes = _panels(len(titles), sharey=True)
    for axis, title in zip(axes, titles, strict=True):
        here = [one for one in parts if one["title"] == title]
        for one in here:
            k = kinds.index(one["known"])
            _with_errors(axis, *_shares(one, "hits"), _looks(k), one["known"])
        scales, shares = _shares(here[0], "limit")
        limit = [share["value"] or 0.0 for share in shares]
        axis.plot(scales, limit, color="0.5", lw=1, ls="--", label="limit")
        axis.axhline(0.5, color="0.7", lw=0.8, ls=":")
        axis.set(xscale="log", xlabel="Bragg scale", ylim=(-0.03, 1.05))
        axis.set_xticks(scales, [f"{scale:g}" for scale in scales])
        axis.set_xticks([], minor=True)
        axis.set_title(title, fontsize=9)
    axes[0].set_ylabel("hits found at 1 % false hits")
    axes[-1].legend(fontsize=7)
    return png(figure)


def _shares(part: Results, what: str) -> tuple[list[float], list[dict[str, float | None]]]:
    """Return the Bragg scales of a part, and the share of their frames that is counted."""
    counts = part["scales"].values()
    return [float(scale) for scale in part["scales"]], [rate(c[what], c["of"]) for c in counts]


def geometry_errors(results: Results) -> bytes | None:
    """Draw errors of photon energy and camera length over their bound."""
    geometry = results.get("geometry") or []
    if not geometry:
        return None
    figure, axes = _panels(2, 3.2)
    for axis, key in zip(axes, ("photon_energy", "camera_length"), strict=True):
        names = [row["title"] for row in geometry]
        over = [row[key]["rms_over_bound"] for row in geometry]
        axis.barh(names, over, color=_COLOURS[1], height=0.6)
        axis.axvline(1, color="0.3", lw=0.8)
        axis.set(xlabel=f"error of the {key.replace('_', ' ')} / bound")
        axis.tick_params(labelsize=7)
        axis.invert_yaxis()
    return png(figure)

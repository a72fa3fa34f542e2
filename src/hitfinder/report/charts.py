"""The charts of the report."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from hitfinder.metrics.classification import wilson_interval
from hitfinder.report.axes import FULL, HALF, NARROW, Chart, mark
from hitfinder.report.collect import Collector
from hitfinder.report.numbers import number

if TYPE_CHECKING:
    from matplotlib.axes import Axes

TIME_BINS, FRAMES_PER_BIN = 100, 10
SCORE_BINS = 60
EMPTY = '<p class="note">Nothing to show.</p>'
RESOLUTIONS_A = (20, 10, 7, 5, 4, 3.5, 3, 2.5, 2.2, 2, 1.8, 1.6, 1.5, 1.4, 1.3, 1.2, 1.1, 1.0)

Numbers = NDArray[np.float64]


def hit_rate(collected: Collector) -> str:
    """Hit rate against frame number, with its 68 % interval."""
    n = len(collected.ok)
    if not collected.ok.any():
        return EMPTY
    n_bins = max(1, min(TIME_BINS, n // FRAMES_PER_BIN))
    edges = np.linspace(0, n, n_bins + 1).astype(int)
    starts = edges[:-1]
    done = np.add.reduceat(collected.ok.astype(int), starts)
    hits = np.add.reduceat(collected.hit.astype(int), starts)
    some = done > 0
    rate = np.where(some, 100 * hits / np.maximum(done, 1), np.nan)
    low, high = (100 * np.asarray(limit) for limit in wilson_interval(hits, done, 0.68))
    top = min(100.0, 1.15 * float(np.nanmax(high[some], initial=1.0)))
    # Bins without frames break line and band.
    gaps = np.flatnonzero(np.diff(some.astype(int))) + 1
    pieces = [p for p in np.split(np.arange(len(some)), gaps) if some[p[0]]]

    def draw(axes: Axes) -> None:
        for piece in pieces:
            ends = np.repeat(edges[piece[0] : piece[-1] + 2], 2)[1:-1]
            bounds = np.repeat(low[piece], 2), np.repeat(high[piece], 2)
            axes.fill_between(ends, *bounds, **mark("band"))
            axes.plot(ends, np.repeat(rate[piece], 2), **mark("line"))

    told = (
        f"Hits in per cent of the frames, in {n_bins} bins over the run: from "
        f"{number(np.nanmin(rate))} to {number(np.nanmax(rate))} %"
    )
    chart = Chart("rate", told, draw, (0, n), (0, top), "frame", "hits (% of frames)")
    return chart.html((NARROW, HALF, FULL))


def peaks_per_hit(collected: Collector) -> str:
    """Histogram of the number of peaks in hits."""
    n_peaks = collected.n_peaks[collected.hit]
    if not n_peaks.size:
        return EMPTY
    width = max(1, int(np.ceil((n_peaks.max() + 1) / 60)))
    edges = np.arange(0, n_peaks.max() + 1 + width, width)
    counts, _ = np.histogram(n_peaks, edges)
    told = (
        f"Histogram of the peaks in a hit: from {n_peaks.min()} to {n_peaks.max()}, "
        f"{number(float(np.median(n_peaks)))} in the median hit"
    )
    return Chart(
        "peaks-per-hit",
        told,
        lambda axes: draw_bars(axes, edges, counts, "hit", "hits"),
        (0, int(edges[-1])),
        (0, 1.08 * counts.max()),
        "peaks in the frame",
        "hits",
        whole=("x", "y"),
    ).html()


def scores(collected: Collector, threshold: float) -> str:
    """Histogram of the scores of all frames, with the threshold.

    The axis is linear up to the threshold and logarithmic beyond it, so that a threshold of 2 can
    be seen beside scores of 1,000.
    """
    from matplotlib.scale import SymmetricalLogTransform

    score = collected.score[collected.ok].astype(float)
    if not score.size:
        return EMPTY
    knee = max(abs(threshold), 0.5)
    bend = SymmetricalLogTransform(base=10, linthresh=knee, linscale=1)
    low = min(0.0, float(score.min()), threshold - knee)
    top = max(4 * knee, threshold + knee, float(score.max()))
    # The threshold is the end of a bin, so that none holds hits and others.
    start, cut, end = bend.transform(np.array([low, threshold, top]))
    below = min(max(round(SCORE_BINS * (cut - start) / (end - start)), 1), SCORE_BINS - 1)
    steps = np.linspace(start, cut, below + 1), np.linspace(cut, end, SCORE_BINS - below + 1)[1:]
    edges = bend.inverted().transform(np.concatenate(steps))
    edges[0], edges[below], edges[-1] = low, threshold, top
    counted = []
    for which in (~collected.hit, collected.hit):
        counted.append(np.histogram(collected.score[collected.ok & which], edges)[0])
    highest = max(int(counts.max()) for counts in counted)

    def draw(axes: Axes) -> None:
        draw_bars(axes, edges, counted[0], "blank", "frames that are no hits")
        draw_bars(axes, edges, counted[1], "hit", "hits")
        axes.axvline(threshold, **mark("rule"))
        axes.annotate(
            f"threshold {number(threshold)}",
            (threshold, 1),
            (5, -2),
            xycoords=("data", "axes fraction"),
            textcoords="offset points",
            va="top",
            **mark("note"),
        )

    told = (
        f"Histogram of the scores, with the threshold of {number(threshold)}: "
        f"{int(counted[1].sum())} hits and {int(counted[0].sum())} other frames; scores from "
        f"{number(float(score.min()))} to {number(float(score.max()))}"
    )
    return Chart(
        "score",
        told,
        draw,
        (low, top),
        (0.5, max(2.0, 2.0 * highest)),
        "score",
        "frames",
        log=("y",),
        whole=("y",),
        knee=knee,
    ).html()


def radial_profile(q: Numbers, mean: Numbers) -> str:
    """Mean background per pixel against the scattering vector."""
    good = np.isfinite(mean) & (mean > 0) if len(mean) == len(q) else np.zeros(len(q), bool)
    if good.sum() < 2:
        return EMPTY
    low, high = float(mean[good].min()), float(mean[good].max())
    low = max(low, high * 1e-4)
    told = (
        f"Background in photons per pixel and frame against q, from {number(low)} to {number(high)}"
    )
    shown = np.where(good, np.maximum(mean, 0.8 * low), np.nan)
    return Chart(
        "radial",
        told,
        lambda axes: axes.plot(q, shown, **mark("line")),
        (0, float(q[good].max())),
        (low * 0.8, high * 1.25),
        "q = 4π sin θ / λ (Å⁻¹)",
        "photons per pixel and frame",
        log=("y",),
    ).html()


def resolution(collected: Collector) -> str:
    """Histogram of the resolution of the peaks in hits."""
    counts, edges = collected.inverse_d_counts, collected.inverse_d_edges
    if not counts.any():
        return EMPTY
    farthest = float(edges[np.flatnonzero(counts)[-1] + 1])
    reach = number(1 / farthest, 2)
    told = f"Histogram of the resolution of the peaks in hits, which reach to {reach} Å"
    return Chart(
        "resolution-of-peaks",
        told,
        lambda axes: draw_bars(axes, edges, counts, "bar", "peaks", lambda v: f"{1 / v:.3g} Å"),
        (0, float(edges[-1])),
        (0, 1.08 * counts.max()),
        "resolution d (Å), spaced by 1/d",
        "peaks",
        whole=("y",),
        named={1 / d: f"{d:g}" for d in RESOLUTIONS_A if 1 / d <= edges[-1]},
    ).html()


def draw_bars(
    axes: Axes,
    edges: NDArray,
    heights: NDArray,
    kind: str,
    what: str,
    value: Callable[[float], str] = number,
) -> None:
    """Draw a histogram; `what` names the counted things where the pointer is."""
    from matplotlib.patches import Rectangle

    floor = axes.get_ylim()[0]
    for left, right, height in zip(edges[:-1], edges[1:], heights, strict=True):
        if height > 0:
            ends = " – ".join(value(end) for end in (left, right) if end or value is number)
            bar = Rectangle((left, floor), right - left, height - floor, **mark(kind))
            bar.set_gid(f"tip:{ends}: {number(height)} {what}")
            # The limits are set: they need not follow each bar.
            axes.add_artist(bar)

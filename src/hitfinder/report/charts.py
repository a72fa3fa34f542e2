"""The charts of the report."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from hitfinder.metrics.classification import wilson_interval
from hitfinder.report.collect import Collector
from hitfinder.report.svg import FULL_WIDTH, Chart, Scale, number

TIME_BINS, FRAMES_PER_BIN = 100, 10
EMPTY = '<p class="note">Nothing to show.</p>'


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
    chart = Chart(
        Scale(0, n, "frame"),
        Scale(0, top, "hits (% of frames)"),
        "Hit rate over the run",
        FULL_WIDTH,
    )
    # Bins without frames break the band.
    gaps = np.flatnonzero(np.diff(some.astype(int))) + 1
    for piece in np.split(np.arange(len(some)), gaps):
        if some[piece[0]]:
            ends = np.repeat(edges[piece[0] : piece[-1] + 2], 2)[1:-1]
            chart.band(ends, np.repeat(low[piece], 2), np.repeat(high[piece], 2))
    chart.line(np.repeat(edges, 2)[1:-1], np.repeat(rate, 2))
    return chart.svg()


def peaks_per_hit(collected: Collector) -> str:
    """Histogram of the number of peaks in hits."""
    n_peaks = collected.n_peaks[collected.hit]
    if not n_peaks.size:
        return EMPTY
    width = max(1, int(np.ceil((n_peaks.max() + 1) / 60)))
    edges = np.arange(0, n_peaks.max() + 1 + width, width)
    counts, _ = np.histogram(n_peaks, edges)
    chart = Chart(
        Scale(0, int(edges[-1]), "peaks in the frame", "integer"),
        Scale(0, 1.08 * counts.max(), "hits", "integer"),
        "Peaks per hit",
    )
    chart.bars(edges, counts, "bar hit", "hits")
    return chart.svg()


def scores(collected: Collector, threshold: float) -> str:
    """Histogram of the scores of all frames, with the threshold."""
    score = collected.score[collected.ok]
    if not score.size:
        return EMPTY
    top = max(4 * threshold, 1.0, float(np.percentile(score, 98)))
    edges = np.linspace(min(0.0, float(score.min())), top, 61)
    counted = []
    for which in (~collected.hit, collected.hit):
        values = np.minimum(collected.score[collected.ok & which], top)
        counted.append(np.histogram(values, edges)[0])
    highest = max(int(counts.max()) for counts in counted)
    chart = Chart(
        Scale(float(edges[0]), top, "score (the last bar holds all above)"),
        Scale(0.5, max(2.0, 2.0 * highest), "frames", "log"),
        "Scores of all frames",
    )
    chart.bars(edges, counted[0], "bar blank", "frames that are no hits")
    chart.bars(edges, counted[1], "bar hit", "hits")
    chart.rule(threshold, f"threshold {number(threshold)}")
    return chart.svg()


def radial_profile(q: NDArray[np.float64], mean: NDArray[np.float64]) -> str:
    """Mean background per pixel against the scattering vector."""
    good = np.isfinite(mean) & (mean > 0) if len(mean) == len(q) else np.zeros(len(q), bool)
    if good.sum() < 2:
        return EMPTY
    low, high = float(mean[good].min()), float(mean[good].max())
    low = max(low, high * 1e-4)
    chart = Chart(
        Scale(0, float(q[good].max()), "q = 4π sin θ / λ (Å⁻¹)"),
        Scale(low * 0.8, high * 1.25, "photons per pixel and frame", "log"),
        "Radial profile of the background",
    )
    chart.line(q, np.where(good, mean, np.nan))
    return chart.svg()


def resolution(collected: Collector) -> str:
    """Histogram of the resolution of the peaks in hits."""
    counts, edges = collected.inverse_d_counts, collected.inverse_d_edges
    if not counts.any():
        return EMPTY
    d = [d for d in (20, 10, 5, 4, 3, 2.5, 2, 1.7, 1.5, 1.3, 1.2, 1.1, 1.0) if 1 / d <= edges[-1]]
    label = "1/d (Å⁻¹)" + (f";  up to {number(1 / edges[-1])} Å" if d else "")
    chart = Chart(
        Scale(0, float(edges[-1]), label),
        Scale(0, 1.08 * counts.max(), "peaks", "integer"),
        "Resolution of the peaks",
    )
    chart.bars(edges, counts, "bar", "peaks")
    return chart.svg()

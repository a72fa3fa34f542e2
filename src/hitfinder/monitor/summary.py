"""What the page shows of all frames together."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hitfinder.metrics.classification import wilson_interval
from hitfinder.monitor.decision import Decision
from hitfinder.monitor.frame_rows import DecidedFrames, FrameRows
from hitfinder.results.chunk import PENDING

MOST_BINS, FEWEST_BINS, FRAMES_PER_BIN = 240, 40, 20
"""Points along the run in each chart: of so many frames each, where that gives neither more nor
fewer."""

SLOW_BINS = 12
"""Bins that the slow hit rate looks back on."""

RECENT = 200
"""Frames that the fast hit rate, in large type, looks back on."""

MOST_POINTS = 3000
"""Frames in the scatter plot: of more, the highest scores and a fair sample of the others."""

SCORE_BINS, RESOLUTION_BINS, PEAK_BINS = 60, 40, 40

_NEAR = 5
"""The histogram of scores reaches to so many thresholds."""

N_BEST = 12
"""Frames in the list of the best."""


def summarise(table: FrameRows, decided: DecidedFrames, decision: Decision) -> dict[str, Any]:
    """Return everything that is counted over the frames, ready for JSON; None for no value.

    Parameters
    ----------
    table : FrameRows
        The frames.
    decided : DecidedFrames
        Which of them are hits.
    decision : Decision
        By what.
    """
    ok, hit, rows = table.ok, decided.hit, table.rows
    n_ok, n_hits = int(ok.sum()), int(hit.sum())
    low, high = wilson_interval(n_hits, n_ok, 0.68)
    recent = np.flatnonzero(ok)[-RECENT:]
    by_status = table.by_status
    pending = by_status.get(PENDING, 0)
    best = np.flatnonzero(ok)[np.argsort(-rows["score"][ok], kind="stable")[:N_BEST]]
    return plain(
        {
            "threshold": decision.threshold,
            "min_peaks": decision.min_peaks,
            "false_hits": decision.false_hits,
            "as_run": decision.as_run,
            "frames": len(table),
            "processed": n_ok,
            "pending": pending,
            "failed": len(table) - n_ok - pending,
            "by_status": by_status,
            "hits": n_hits,
            "doubtful_hits": decided.doubtful_hits,
            "doubted_frames": decided.doubted,
            "saturation": table.saturation,
            "saturated_hits": int((rows["saturated"] & hit).sum()),
            "rate": n_hits / n_ok if n_ok else None,
            "rate_low": float(low) if n_ok else None,
            "rate_high": float(high) if n_ok else None,
            "recent_frames": len(recent),
            "recent_rate": float(hit[recent].mean()) if len(recent) else None,
            "peaks": int(rows["n_peaks"][ok].sum()),
            "peaks_per_hit": _median(rows["n_peaks"][hit]),
            "resolution_a": _median(rows["resolution_a"][hit]),
            "resolution_best_a": _quantile(rows["resolution_a"][hit], 0.1),
            "background_per_pixel": _mean(rows["background_per_pixel"][ok]),
            "history": _history(table, hit),
            "scores": _scores(table, hit, decision.threshold),
            "peak_histogram": _peaks(rows["n_peaks"][hit]),
            "resolution_histogram": _resolutions(rows["resolution_a"][hit]),
            "points": _points(table, hit),
            "best": [
                {
                    "frame": int(k),
                    "score": float(rows["score"][k]),
                    "n_peaks": int(rows["n_peaks"][k]),
                    "resolution_a": float(rows["resolution_a"][k]),
                    "hit": bool(hit[k]),
                }
                for k in best
            ],
        }
    )


def _history(table: FrameRows, hit: NDArray[np.bool_]) -> dict[str, Any]:
    """Return what changed along the run, in bins of as many frames each."""
    rows, ok = table.rows, table.ok
    done = int(np.flatnonzero(ok)[-1]) + 1 if ok.any() else 0
    size = max(math.ceil(done / MOST_BINS), min(FRAMES_PER_BIN, math.ceil(done / FEWEST_BINS)), 1)
    if not done:
        return {"bin": size, "frame": []}
    starts = np.arange(0, done, size)

    def total(values: NDArray) -> NDArray[np.float64]:
        return np.add.reduceat(values[:done].astype(float), starts)

    n_ok, n_hits = total(ok), total(hit)
    slow_hits, slow_ok = _trailing(n_hits), _trailing(n_ok)
    low, high = wilson_interval(slow_hits, slow_ok, 0.68)
    unknown = slow_ok == 0
    told = {
        "bin": size,
        "frame": np.minimum(starts + (size - 1) / 2, done - 1),
        "processed": n_ok,
        "hits": n_hits,
        "fast": _ratio(n_hits, n_ok),
        "slow": _ratio(slow_hits, slow_ok),
        "slow_low": np.where(unknown, np.nan, low),
        "slow_high": np.where(unknown, np.nan, high),
        "background": _ratio(
            total(np.nan_to_num(rows["background_per_pixel"]) * ok),
            total(ok & np.isfinite(rows["background_per_pixel"])),
        ),
        "peaks": _ratio(total(rows["n_peaks"] * hit), n_hits),
    }
    reach = np.where(hit, rows["resolution_a"], np.nan)[:done]
    told["resolution"] = np.array([_median(reach[k : k + size]) or np.nan for k in starts])
    for name, unit in (("photon_energy", "ev"), ("camera_length", "m")):
        told[name], told[f"{name}_sigma"] = _weighted(
            rows[f"{name}_{unit}"], rows[f"{name}_sigma_{unit}"], table, total
        )
    return told


def _weighted(
    values: NDArray, sigmas: NDArray, table: FrameRows, total: Any
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return the mean of estimates in bins, weighted by their variances, and its deviation."""
    use = table.ok & table.rows["estimated"] & np.isfinite(values) & (sigmas > 0)
    weight = np.where(use, 1 / np.where(use, sigmas, 1).astype(float) ** 2, 0)
    weights = total(weight)
    mean = _ratio(total(np.where(use, values, 0) * weight), weights)
    with np.errstate(divide="ignore"):
        sigma = np.where(weights > 0, 1 / np.sqrt(weights), np.nan)
    return mean, sigma


def _trailing(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return sums over each bin and those before it, `SLOW_BINS` in all."""
    summed = np.concatenate([[0.0], np.cumsum(values)])
    ends = np.arange(1, len(summed))
    return summed[ends] - summed[np.maximum(ends - SLOW_BINS, 0)]


def _scores(table: FrameRows, hit: NDArray[np.bool_], threshold: float) -> dict[str, Any]:
    """Return how many frames have which score; the last bin holds all beyond."""
    score = table.rows["score"]
    known = table.ok & np.isfinite(score)
    if not known.any():
        return {"edges": [], "others": [], "hits": []}
    low = min(0.0, float(score[known].min()))
    # What is near the threshold is to be seen; hits may score a hundred times as much.
    top = low + max(_NEAR * (threshold - low), 1.0)
    top = min(top, max(low + 1.0, float(np.nextafter(score[known].max(), np.inf))))
    edges = np.linspace(low, top, SCORE_BINS + 1)
    inside = np.minimum(score, np.nextafter(top, low))
    return {
        "edges": edges,
        "others": np.histogram(inside[known & ~hit], edges)[0],
        "hits": np.histogram(inside[known & hit], edges)[0],
    }


def _peaks(n_peaks: NDArray[np.int32]) -> dict[str, Any]:
    if not n_peaks.size:
        return {"edges": [], "hits": []}
    width = max(1, math.ceil((int(n_peaks.max()) + 1) / PEAK_BINS))
    edges = np.arange(0, int(n_peaks.max()) + width + 1, width)
    return {"edges": edges, "hits": np.histogram(n_peaks, edges)[0]}


def _resolutions(resolution_a: NDArray[np.float32]) -> dict[str, Any]:
    """Return how many hits reach which resolution, in bins of 1/d."""
    inverse = 1 / resolution_a[np.isfinite(resolution_a) & (resolution_a > 0)].astype(float)
    if not inverse.size:
        return {"edges": [], "hits": []}
    edges = np.linspace(0, float(inverse.max()) * 1.001, RESOLUTION_BINS + 1)
    return {"edges": edges, "hits": np.histogram(inverse, edges)[0]}


def _points(table: FrameRows, hit: NDArray[np.bool_]) -> dict[str, Any]:
    score = table.rows["score"]
    known = np.flatnonzero(table.ok & np.isfinite(score))
    if len(known) > MOST_POINTS:
        order = known[np.argsort(-score[known], kind="stable")]
        half = MOST_POINTS // 2
        rest = order[half:][:: math.ceil((len(order) - half) / half)]
        known = np.sort(np.concatenate([order[:half], rest]))
    return {"frame": known, "score": np.round(score[known], 3), "hit": hit[known].astype(int)}


def _ratio(above: NDArray, below: NDArray) -> NDArray[np.float64]:
    return np.where(below > 0, above / np.where(below > 0, below, 1), np.nan)


def _quantile(values: NDArray, share: float) -> float | None:
    finite = values[np.isfinite(values)]
    return float(np.quantile(finite, share)) if finite.size else None


def _median(values: NDArray) -> float | None:
    return _quantile(values, 0.5)


def _mean(values: NDArray) -> float | None:
    finite = values[np.isfinite(values)]
    return float(finite.astype(float).mean()) if finite.size else None


def plain(value: Any) -> Any:
    """Return a value as JSON has it: arrays as lists, numbers that are none as None."""
    if isinstance(value, dict):
        return {name: plain(item) for name, item in value.items()}
    if isinstance(value, np.ndarray):
        value = value.tolist()
    if isinstance(value, list):
        return [plain(item) for item in value]
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    return value

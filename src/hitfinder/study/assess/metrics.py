"""Numbers that sum up predictions."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from hitfinder.metrics.calibration import precision_recall_curve, reliability
from hitfinder.metrics.classification import (
    confusion_matrix,
    efficiency_at_false_rate,
    roc_curve,
    wilson_interval,
)
from hitfinder.study.assess.predictions import Classified, Located
from hitfinder.study.networks.attribute import UNITS, AttributeConfig

CURVE_POINTS = 200


def of_classes(
    config: AttributeConfig, found: Classified, settings: NDArray[np.str_]
) -> dict[str, Any]:
    """Return the metrics of predicted classes, ready for JSON.

    Parameters
    ----------
    config : AttributeConfig
        With the names and values of the classes.
    found : Classified
        The predictions.
    settings : ndarray of str, shape (n,)
        Setting of each frame.
    """
    names = config.class_names
    counts = confusion_matrix(found.truth, found.decided, len(names))
    right = found.truth == found.decided
    best = found.probability.argmax(axis=1)
    trusted = reliability(
        found.probability.max(axis=1) if config.is_classified else found.probability[:, 1],
        best == found.truth if config.is_classified else found.truth == 1,
    )
    result: dict[str, Any] = {
        "frames": len(right),
        "classes": names,
        "accuracy": fraction(right.sum(), len(right)),
        "confusion_counts": counts.tolist(),
        "confusion": row_normalised(counts).tolist(),
        "per_class": {
            name: fraction(counts[i, i], counts[i].sum()) for i, name in enumerate(names)
        },
        "per_setting": {
            name: fraction(right[settings == name].sum(), (settings == name).sum())
            for name in np.unique(settings).tolist()
        },
        "mean_surprise": float(found.surprise.mean()),
        "reliability": {
            "predicted": _plain(trusted.predicted),
            "observed": _plain(trusted.observed),
            "low": _plain(trusted.low),
            "high": _plain(trusted.high),
            "count": trusted.count.tolist(),
            "error": trusted.error,
            "by_chance": trusted.by_chance,
        },
    }
    if config.is_classified:
        values = np.asarray(config.class_values)
        error = values[found.decided] - values[found.truth]
        result["rms_error"] = {
            "value": float(np.sqrt(np.mean(error**2))),
            "unit": UNITS[config.attribute],
        }
    elif counts.sum(axis=1).all():
        found_cleanly, _ = efficiency_at_false_rate(found.probability[:, 1], found.truth == 1, 0.0)
        result["found_without_false_alarm"] = found_cleanly
    result["curves"] = {
        name: _curves(found.probability[:, i], found.truth == i)
        for i, name in enumerate(names)
        if (config.is_classified or i == 1) and 0 < (found.truth == i).sum() < len(right)
    }
    return result


def of_locations(found: Located, settings: NDArray[np.str_]) -> dict[str, Any]:
    """Return the metrics of predicted peak positions, ready for JSON.

    Parameters
    ----------
    found : Located
        The predictions.
    settings : ndarray of str, shape (n,)
        Setting of each frame.
    """
    blank = found.matched + found.missed == 0
    result = {
        "frames": len(blank),
        "tolerance_px": found.tolerance_px,
        **_rates(found, np.ones(len(blank), bool)),
        "median_distance_px": _plain([np.median(found.distance_px)])[0]
        if len(found.distance_px)
        else None,
        "false_per_blank_frame": float(found.false[blank].mean()) if blank.any() else None,
        "per_setting": {
            name: _rates(found, settings == name) for name in np.unique(settings).tolist()
        },
    }
    return result


def _rates(found: Located, chosen: NDArray[np.bool_]) -> dict[str, Any]:
    matched, missed, false = (
        int(values[chosen].sum()) for values in (found.matched, found.missed, found.false)
    )
    return {
        "recall": fraction(matched, matched + missed),
        "precision": fraction(matched, matched + false),
        "true_peaks": matched + missed,
        "found_peaks": matched + false,
    }


def fraction(n: int, of: int) -> dict[str, float | None]:
    """Return a fraction with its 95 % interval; the value is None of nothing."""
    low, high = wilson_interval(n, of)
    return {"value": n / of if of else None, "low": float(low), "high": float(high)}


def row_normalised(counts: NDArray[np.int64]) -> NDArray[np.float64]:
    """Return a confusion matrix whose rows add up to one; rows of nothing are zero."""
    total = counts.sum(axis=1, keepdims=True)
    return counts / np.maximum(total, 1)


def _curves(score: NDArray, is_hit: NDArray[np.bool_]) -> dict[str, Any]:
    """Return ROC and precision-recall curves with 95 % bands."""
    false_rate, efficiency, _ = roc_curve(score, is_hit)
    precision, recall, cut = precision_recall_curve(score, is_hit)
    n_hits, n_found = int(is_hit.sum()), np.round(recall * is_hit.sum())
    kept = _thinned(len(false_rate))
    low, high = wilson_interval(np.round(efficiency * n_hits), n_hits)
    at = _thinned(len(precision))
    n_chosen = len(score) - np.searchsorted(np.sort(score), cut, side="left")
    p_low, p_high = wilson_interval(n_found, n_chosen)
    return {
        "roc": {
            "false_rate": _plain(false_rate[kept]),
            "efficiency": _plain(efficiency[kept]),
            "low": _plain(low[kept]),
            "high": _plain(high[kept]),
            "area": float(np.trapezoid(efficiency, false_rate)),
        },
        "precision_recall": {
            "recall": _plain(recall[at]),
            "precision": _plain(precision[at]),
            "low": _plain(p_low[at]),
            "high": _plain(p_high[at]),
            "average_precision": float(np.sum(np.diff(recall, prepend=0) * precision)),
        },
    }


def _thinned(n: int) -> NDArray[np.int64]:
    """Return indices of at most `CURVE_POINTS` points, the ends among them."""
    return np.unique(np.linspace(0, n - 1, min(n, CURVE_POINTS)).round().astype(int))


def _plain(values: Any) -> list[float | None]:
    """Return numbers as JSON has them: NaN is null."""
    return [None if np.isnan(v) else round(float(v), 6) for v in np.asarray(values, float)]

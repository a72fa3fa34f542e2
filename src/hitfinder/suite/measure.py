"""Everything that is recorded about a finder on a condition."""

from __future__ import annotations

import dataclasses
import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hitfinder.metrics.calibration import Reliability, reliability
from hitfinder.metrics.classification import wilson_interval
from hitfinder.metrics.matching import recall_by_photons
from hitfinder.suite.condition import Frames
from hitfinder.suite.finders import Found
from hitfinder.suite.hits import FALSE_HITS, best_efficiency, half_point
from hitfinder.suite.judge import Judgement, judge, near

RATES = (0.01, 0.02, 0.05, 0.1, 0.2, 0.4, 1.0, 2.0)
PHOTON_EDGES = (2, 3, 4, 5, 6, 8, 10, 13, 17, 24, 35, 60, 120, 300, 1e6)
POSITION_PHOTONS = 20.0
"""Photons above which position errors are stated."""


@dataclasses.dataclass(frozen=True, eq=False)
class Tried:
    """A finder's peaks at each of its settings, judged."""

    found: Found
    judgements: list[Judgement]

    @staticmethod
    def of(frames: Frames, found: Found) -> Tried:
        """Judge a finder at all its settings."""
        return Tried(found, [judge(frames, peaks) for peaks in found.peaks])

    def plain(self, false_per_frame: float, group: int) -> tuple[float, int]:
        """Return the best recall by settings alone, and the setting; 0 if none is within."""
        recalls = [
            j.of_group(group).recall if j.false_per_frame <= false_per_frame else 0.0
            for j in self.judgements
        ]
        best = int(np.argmax(np.nan_to_num(recalls)))
        return recalls[best], best

    def cut(self, false_per_frame: float, group: int) -> tuple[Judgement, int]:
        """Return the best judgement by settings and by dropping weak peaks, and the setting."""
        judged = []
        for judgement in self.judgements:
            own = judgement.of_group(group)
            judged.append(own.above(own.cut_at(false_per_frame)[1]))
        best = int(np.argmax([np.nan_to_num(j.recall) for j in judged]))
        return judged[best], best


def measured(frames: Frames, found: Found) -> dict[str, Any]:
    """Return what is recorded about a finder on a condition."""
    c = frames.condition
    tried = Tried.of(frames, found)
    groups = [_group(frames, tried, g) for g in range(len(c.groups))]
    out: dict[str, Any] = {"groups": groups}
    if not found.tuned:
        default = tried.judgements[0]
        out["false_per_frame"] = _number(default.false_per_frame)
        out["n_false_frames"] = default.n_false_frames
        out["beside_spots_per_hit"] = _number(len(default.beside) / max(default.n_hits, 1))
    if found.decided is not None and c.n_blanks:
        out["false_hits"] = rate(int(found.decided[~frames.is_hit].sum()), c.n_blanks)
    if c.n_blanks and len(c.scales) > 2:
        counts = [group["hits"]["n_found"] for group in groups]
        totals = [group["hits"]["n"] for group in groups]
        half = half_point(c.scales, counts, totals)
        out["half_scale"] = {k: _number(v) for k, v in dataclasses.asdict(half).items()}
    if found.hit_probability is not None:
        known = reliability(found.hit_probability, frames.is_hit)
        out["hit_reliability"] = _reliability(known)
    if found.peak_probability is not None:
        out["peak_reliability"] = _reliability(_peaks_reliability(frames, found))
    if found.seconds is not None:
        out["ms_per_frame"] = _number(1e3 * found.seconds)
    return out


def _group(frames: Frames, tried: Tried, g: int) -> dict[str, Any]:
    c, found = frames.condition, tried.found
    at_limit, setting = tried.cut(c.false_limit, g)
    n_must = at_limit.n_must
    out: dict[str, Any] = {
        "group": c.groups[g],
        "n_spots": n_must,
        "recall": rate(at_limit.n_found, n_must),
        "setting": found.settings[setting],
        "recall_at": {f"{r:g}": _number(tried.cut(r, g)[0].recall) for r in RATES},
        "by_photons": _by_photons(at_limit),
        "position": _position(at_limit),
    }
    if found.tuned:
        recall, k = tried.plain(c.false_limit, g)
        out["recall_by_settings"] = {"value": _number(recall), "setting": found.settings[k]}
    else:
        default = tried.judgements[0].of_group(g)
        out["recall_default"] = rate(default.n_found, n_must)
    if c.n_blanks:
        out["hits"] = _hits(frames, found, g)
    return out


def _hits(frames: Frames, found: Found, g: int) -> dict[str, Any]:
    is_hit = frames.is_hit
    of_group = np.zeros(len(frames), bool)
    of_group[: frames.condition.n_hits] = frames.group == g
    score, n_found = best_efficiency(found.scores, of_group, ~is_hit, FALSE_HITS)
    n = int(of_group.sum())
    out = {"n": n, "n_found": n_found, "efficiency": rate(n_found, n), "score": score}
    if found.decided is not None:
        out["decided"] = rate(int(found.decided[of_group].sum()), n)
    return out


def _by_photons(judgement: Judgement) -> dict[str, list[int]]:
    found = np.isfinite(judgement.strength)
    n_found, n_true = recall_by_photons(judgement.photons, found, PHOTON_EDGES)
    return {"found": n_found.tolist(), "spots": n_true.tolist()}


def _position(judgement: Judgement) -> dict[str, Any]:
    """Error of the positions of bright spots, in pixels."""
    bright = np.isfinite(judgement.distance) & (judgement.photons >= POSITION_PHOTONS)
    error = judgement.distance[bright]
    if not len(error):
        return {"n": 0}
    median, most = np.percentile(error, [50, 90])
    return {"n": len(error), "median_px": _number(median), "p90_px": _number(most)}


def _peaks_reliability(frames: Frames, found: Found) -> Reliability:
    """Probabilities of the peaks against whether any true spot, however faint, is there."""
    assert found.peak_probability is not None
    true: list[NDArray[np.bool_]] = []
    for index, peaks in enumerate(found.peaks[-1]):
        spots = frames.spots(index)
        places = np.stack([spots["fs"], spots["ss"]], 1)
        true.append(near(peaks[:, :2], places, frames.condition.tolerance_px))
    return reliability(np.concatenate(found.peak_probability), np.concatenate(true))


def rate(n: int, total: int) -> dict[str, Any]:
    """Return a proportion and its 95 % interval."""
    low, high = wilson_interval(n, total)
    value = n / total if total else math.nan
    return {"value": _number(value), "low": _number(float(low)), "high": _number(float(high))}


def _number(value: float) -> float | None:
    """Round for JSON, which has no NaN."""
    return float(f"{value:.4g}") if math.isfinite(value) else None


def _reliability(known: Reliability) -> dict[str, Any]:
    columns = ("predicted", "observed", "low", "high")
    return {
        "error": _number(known.error),
        "by_chance": _number(known.by_chance),
        "count": known.count.tolist(),
        **{name: [_number(v) for v in getattr(known, name)] for name in columns},
    }

"""Measuring what a locator's answers are worth, on frames it was not trained on."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize

from hitfinder.inference.evidence import frame_evidence
from hitfinder.models.calibration import Calibration
from hitfinder.training.peaks.examples import Examples

LOG_BACKGROUND = np.log([3e-4, 3e-3, 0.03, 0.3, 2.0, 10.0])
"""Where the tables are given; a frame counts for its nearest."""

LOGITS = np.arange(-4.0, 10.01, 0.25)
EVIDENCE = np.arange(-2.0, 12.01, 0.25)
_FEWEST = 10
"""Fewest events on which a point of a tail rests; it is continued with slope -1 from there."""


def nearest_row(background: NDArray[np.floating]) -> NDArray[np.intp]:
    """Return the row of the tables that each background is nearest to."""
    logs = np.log(np.maximum(background, 1e-12))
    return np.abs(logs[:, None] - LOG_BACKGROUND[None, :]).argmin(axis=1)


def calibrate(logit: NDArray[np.floating], examples: Examples) -> Calibration:
    """Calibrate a locator.

    Parameters
    ----------
    logit : ndarray, shape (n,)
        What it says of the examples' candidates.
    examples : Examples
        All candidates of frames that the locator was not trained on, blanks among them.
    """
    frames, frame = examples.frames, examples.frame
    row = nearest_row(frames["background"])
    true = examples.labels["true"]
    blank = ~frames["hit"]
    n_rows = len(LOG_BACKGROUND)
    odds, share = np.empty(n_rows), np.empty((n_rows, LOGITS.size))
    for k in range(n_rows):
        own = row[frame] == k
        odds[k] = np.log((true & own).sum() + 1.0) - np.log((~true & own).sum() + 1.0)
        chance = logit[own & blank[frame]]
        share[k] = log_tail_of(chance, LOGITS, frames["n_chance"][blank & (row == k)].sum())
    first = Calibration(
        LOG_BACKGROUND, odds, LOGITS, share, EVIDENCE, np.zeros((n_rows, EVIDENCE.size)), 1.0, 0.0
    )
    evidence = evidence_of(first, logit, examples)
    blanks = np.stack(
        [
            log_tail_of(evidence[blank & (row == k)], EVIDENCE, (blank & (row == k)).sum())
            for k in range(n_rows)
        ]
    )
    gain, offset = logistic_line(evidence, frames["hit"])
    return Calibration(LOG_BACKGROUND, odds, LOGITS, share, EVIDENCE, blanks, gain, offset)


def evidence_of(
    calibration: Calibration, logit: NDArray[np.floating], examples: Examples
) -> NDArray[np.float64]:
    """Return the evidence of each frame, see `hitfinder.inference.evidence.frame_evidence`."""
    frames = examples.frames
    ends = np.cumsum(frames["n"])
    out = np.empty(len(frames))
    for k, about in enumerate(frames):
        own = logit[ends[k] - about["n"] : ends[k]]
        ratio = calibration.log_ratio(own, float(about["background"]))
        out[k] = frame_evidence(ratio, max(float(about["n_chance"]), 1e-3))
    return out


def log_tail_of(
    values: NDArray[np.floating], grid: NDArray[np.float64], total: float
) -> NDArray[np.float64]:
    """Log of the number of values at or beyond each point of a grid, over a total.

    A tail of likelihood ratios falls at least as exp(-value); where too few values are left to
    measure it, it is continued so.
    """
    beyond = len(values) - np.searchsorted(np.sort(values), grid, side="left")
    good = np.flatnonzero(beyond >= _FEWEST)
    last = good[-1] if good.size else 0
    log_tail = np.log(np.maximum(beyond, _FEWEST) / max(total, 1e-9))
    log_tail[last:] = log_tail[last] - (grid[last:] - grid[last])
    return np.asarray(log_tail)


def logistic_line(value: NDArray[np.float64], true: NDArray[np.bool_]) -> tuple[float, float]:
    """Fit log odds = gain × value + offset, both kinds weighted alike (Platt scaling).

    J. Platt, in Advances in Large Margin Classifiers (1999). Values are cut where the outcome is
    certain, so that they do not steer the line.
    """
    cut = np.clip(value, -10.0, 15.0)
    weight = np.where(true, 0.5 / max(true.sum(), 1), 0.5 / max((~true).sum(), 1))

    def loss(line: NDArray[np.float64]) -> float:
        z = line[0] * cut + line[1]
        return float((weight * np.logaddexp(0.0, np.where(true, -z, z))).sum())

    found = minimize(loss, np.array([1.0, 0.0]), method="Nelder-Mead")
    return float(found.x[0]), float(found.x[1])

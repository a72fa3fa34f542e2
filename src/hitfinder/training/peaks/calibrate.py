"""Measuring what a locator's answers are worth, on frames it was not trained on."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import brentq, minimize, minimize_scalar

from hitfinder.inference.evidence import (
    chance_candidates,
    frame_evidence,
    peak_probabilities,
    strength_bins,
)
from hitfinder.models.calibration import MEGAPIXEL, STRENGTHS, Calibration, log_odds_of
from hitfinder.training.peaks.examples import Examples

LOG_BACKGROUND = np.log([3e-4, 3e-3, 0.03, 0.3, 2.0, 10.0])
"""Where the tables are given; a frame counts for its nearest."""

LOGITS = np.arange(-4.0, 10.01, 0.25)
EVIDENCE = np.arange(-8.0, 12.01, 0.25)
_LIKELY = 12
"""Place in `LOGITS` from which chance candidates are counted: below, the finder's own limit, which
depends on the frame, decides what is proposed."""

_CERTAIN = (-10.0, 15.0)
"""Log odds at which they are cut, so that certainties do not steer a line."""

_SMOOTH = (0.1, 0.2, 0.4, 0.2, 0.1)
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
    usual = np.empty((n_rows, STRENGTHS.size))
    strength = strength_bins(examples.labels["log_p"])
    for k in range(n_rows):
        own = row[frame] == k
        odds[k] = log_odds_in(logit[own], true[own])
        usual[k] = log_share_of(strength[own & true])
        chance = logit[own & blank[frame]]
        share[k] = log_tail_of(chance, LOGITS, len(chance))
    likely = np.bincount(frame[logit >= LOGITS[_LIKELY]], minlength=len(frames))
    count, power = log_counts_of(likely[blank], frames["n_read"][blank], row[blank], n_rows)
    count -= share[:, _LIKELY]
    none = np.zeros((n_rows, EVIDENCE.size))
    first = Calibration(
        LOG_BACKGROUND, odds, LOGITS, share, count, EVIDENCE, none, usual, power, 1.0, 0.0
    )
    evidence = evidence_of(first, logit, examples)
    blanks = np.stack(
        [
            log_tail_of(evidence[blank & (row == k)], EVIDENCE, (blank & (row == k)).sum())
            for k in range(n_rows)
        ]
    )
    line = logistic_line(evidence, frames["hit"], even=True)
    second = dataclasses.replace(first, log_blanks=blanks, hit_gain=line[0], hit_offset=line[1])
    p = probabilities(second, logit, evidence, examples)
    line = logistic_line(log_odds_of(p), true, even=False)
    return dataclasses.replace(second, peak_gain=line[0], peak_offset=line[1])


def evidence_of(
    calibration: Calibration, logit: NDArray[np.floating], examples: Examples
) -> NDArray[np.float64]:
    """Return the evidence of each frame, see `hitfinder.inference.evidence.frame_evidence`."""
    out = np.empty(len(examples.frames))
    for k, own in enumerate(rows_of(examples)):
        out[k] = frame_evidence(*_ratio(calibration, logit[own], examples.frames[k]))
    return out


def probabilities(
    calibration: Calibration,
    logit: NDArray[np.floating],
    evidence: NDArray[np.float64],
    examples: Examples,
) -> NDArray[np.float64]:
    """Return the probability of each candidate, as `hitfinder.inference.locator` gives it."""
    out = np.empty(len(logit))
    strength = strength_bins(examples.labels["log_p"])
    for k, own in enumerate(rows_of(examples)):
        odds = calibration.hit_log_odds(evidence[k])
        ratio = _ratio(calibration, logit[own], examples.frames[k])
        usual = calibration.log_usual_strengths(float(examples.frames["background"][k]))
        out[own] = peak_probabilities(*ratio, odds, strength[own], usual)
    return calibration.peak_probability(out)


def rows_of(examples: Examples) -> Iterator[slice]:
    """Yield the place of each frame's candidates."""
    ends = np.cumsum(examples.frames["n"])
    for end, n in zip(ends, examples.frames["n"], strict=True):
        yield slice(int(end - n), int(end))


def _ratio(
    calibration: Calibration, logit: NDArray[np.floating], about: np.void
) -> tuple[NDArray[np.float64], float]:
    """Log likelihood ratios of a frame's candidates, and its number of chance candidates."""
    background = float(about["background"])
    usual = calibration.chance_count(background, int(about["n_read"]))
    ratio = calibration.log_ratio(logit, background)
    return ratio, chance_candidates(usual, float(about["n_chance"]), logit)


def log_odds_in(logit: NDArray[np.floating], true: NDArray[np.bool_]) -> float:
    """Log odds of true to false among candidates that their logits contain.

    Other odds among these candidates than in the training show as an offset of the logits: that of
    the logistic line of slope 1.
    """
    cut = np.clip(np.asarray(logit, float), *_CERTAIN)

    def surplus(offset: float) -> float:
        return float((1 / (1 + np.exp(-cut - offset)) - true).sum())

    n_true = true.sum()
    offset = 0.0 if n_true in (0, len(true)) else brentq(surplus, -50.0, 50.0)
    return float(np.log(n_true + 1.0) - np.log(len(true) - n_true + 1.0) - offset)


def log_counts_of(
    counts: NDArray[np.intp], n_pixels: NDArray[np.integer], row: NDArray[np.intp], n_rows: int
) -> tuple[NDArray[np.float64], float]:
    """Fit how many chance candidates frames have: by background, times a power of the pixels.

    The likeliest power for Poisson counts, given which the counts of each row follow.

    Parameters
    ----------
    counts : ndarray of int, shape (n,)
        Chance candidates of blank frames.
    n_pixels : ndarray of int, shape (n,)
        Their pixels with a reading.
    row : ndarray of int, shape (n,)
        The row of the tables that each counts for.
    n_rows : int
        Rows.

    Returns
    -------
    log_count : ndarray, shape (n_rows,)
        Log of the candidates in a frame of a million pixels.
    power : float
        Power of the pixels.
    """
    log_size = np.log(np.maximum(n_pixels, 1) / MEGAPIXEL)
    found = np.bincount(row, counts, n_rows) + 0.5

    def expected(power: float) -> NDArray[np.float64]:
        return np.bincount(row, np.exp(power * log_size), n_rows) + 0.5

    def loss(power: float) -> float:
        return float(found @ np.log(expected(power)) - power * (counts @ log_size))

    power = float(minimize_scalar(loss, bounds=(0.0, 2.0), method="bounded").x)
    return np.log(found) - np.log(expected(power)), power


def log_share_of(bins: NDArray[np.intp]) -> NDArray[np.float64]:
    """Log of the share of peaks in each bin of `STRENGTHS`, smoothed over a few bins."""
    counts = np.bincount(bins, minlength=STRENGTHS.size) + 1.0
    smooth = np.convolve(np.pad(counts, 2, mode="edge"), _SMOOTH, mode="valid")
    return np.asarray(np.log(smooth / smooth.sum()))


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


def logistic_line(
    value: NDArray[np.float64], true: NDArray[np.bool_], even: bool
) -> tuple[float, float]:
    """Fit log odds = gain × value + offset (Platt scaling), both kinds weighing alike if `even`.

    J. Platt, in Advances in Large Margin Classifiers (1999).
    """
    cut = np.clip(value, *_CERTAIN)
    weight = np.full(len(cut), 1 / max(len(cut), 1))
    if even:
        weight = np.where(true, 0.5 / max(true.sum(), 1), 0.5 / max((~true).sum(), 1))

    def loss(line: NDArray[np.float64]) -> float:
        z = line[0] * cut + line[1]
        return float((weight * np.logaddexp(0.0, np.where(true, -z, z))).sum())

    found = minimize(loss, np.array([1.0, 0.0]), method="Nelder-Mead")
    return float(found.x[0]), float(found.x[1])

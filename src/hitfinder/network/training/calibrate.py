"""Measuring what a locator's answers are worth, on frames it was not trained on."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import brentq, minimize

from hitfinder.network.calibration import MEGAPIXEL, STRENGTHS, Calibration, log_odds_of, roughness
from hitfinder.network.evidence import (
    ChanceCandidates,
    frame_evidence,
    peak_probabilities,
    ratios_and_chance,
    strength_bins,
)
from hitfinder.network.training.examples import Examples

LOG_BACKGROUND = np.log([3e-4, 3e-3, 0.03, 0.3, 2.0, 10.0])
"""Where the tables are given; a frame counts for its nearest."""

LOGITS = np.arange(-4.0, 10.01, 0.25)
EVIDENCE = np.arange(-8.0, 12.01, 0.25)
HIT_EVIDENCE = np.array([-3.0, -2.25, -1.5, -0.75, 0.0, 1.5, 3.0, 6.0, 12.0])
_LIKELY = 12
"""Place in `LOGITS` from which chance candidates are counted: below, the finder's own limit, which
depends on the frame, decides what is proposed."""

_HELD = 1e-6
"""Pull of the weights of counts towards none, for rows without a frame."""

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
    count, power = log_counts_of(likely[blank], frames[blank], row[blank])
    count -= share[:, _LIKELY]
    first = Calibration(
        log_background=LOG_BACKGROUND,
        log_odds=odds,
        logits=LOGITS,
        log_share=share,
        log_count=count,
        evidence=EVIDENCE,
        log_blanks=np.zeros((n_rows, EVIDENCE.size)),
        log_usual=usual,
        size_power=power,
        hit_evidence=HIT_EVIDENCE,
        log_hit_odds=HIT_EVIDENCE,
    )
    evidence = evidence_of(first, logit, examples)
    blanks = np.stack(
        [
            log_tail_of(evidence[blank & (row == k)], EVIDENCE, (blank & (row == k)).sum())
            for k in range(n_rows)
        ]
    )
    hit_odds = log_hit_odds_of(evidence, frames["hit"])
    second = dataclasses.replace(first, log_blanks=blanks, log_hit_odds=hit_odds)
    p = probabilities(second, logit, evidence, examples)
    gain, offset = peak_line(log_odds_of(p), true)
    return dataclasses.replace(second, peak_gain=gain, peak_offset=offset)


def evidence_of(
    calibration: Calibration, logit: NDArray[np.floating], examples: Examples
) -> NDArray[np.float64]:
    """Return the evidence of each frame, see `hitfinder.network.evidence.frame_evidence`."""
    out = np.empty(len(examples.frames))
    for k, own in enumerate(rows_of(examples)):
        ratio, chance = _ratio(calibration, logit[own], examples.frames[k])
        out[k] = frame_evidence(ratio, chance.n)
    return out


def probabilities(
    calibration: Calibration,
    logit: NDArray[np.floating],
    evidence: NDArray[np.float64],
    examples: Examples,
) -> NDArray[np.float64]:
    """Return the probability of each candidate, as `hitfinder.network.finder` gives it."""
    out = np.empty(len(logit))
    strength = strength_bins(examples.labels["log_p"])
    for k, own in enumerate(rows_of(examples)):
        odds = calibration.hit_log_odds(evidence[k])
        ratio, chance = _ratio(calibration, logit[own], examples.frames[k])
        usual = calibration.log_usual_strengths(float(examples.frames["background"][k]))
        inside = examples.labels["inside"][own]
        out[own] = peak_probabilities(ratio, chance, odds, strength[own], usual, inside)
    return calibration.peak_probability(out)


def rows_of(examples: Examples) -> Iterator[slice]:
    """Yield the place of each frame's candidates."""
    ends = np.cumsum(examples.frames["n"])
    for end, n in zip(ends, examples.frames["n"], strict=True):
        yield slice(int(end - n), int(end))


def _ratio(
    calibration: Calibration, logit: NDArray[np.floating], about: np.void
) -> tuple[NDArray[np.float64], ChanceCandidates]:
    """Take what `ratios_and_chance` needs from the record of a frame."""
    background, texture = float(about["background"]), float(about["texture"])
    n_pixels, proposed = int(about["n_read"]), float(about["n_chance"])
    return ratios_and_chance(calibration, logit, background, texture, n_pixels, proposed)


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
    counts: NDArray[np.intp], frames: NDArray[np.void], row: NDArray[np.intp]
) -> tuple[NDArray[np.float64], float]:
    """Fit how many chance candidates frames have.

    The likeliest for Poisson counts whose logarithm is linear in that of the pixels, and in the
    roughness of the background apart for each row (P. McCullagh & J. Nelder, Generalized Linear
    Models, 2nd ed., chapter 6).

    Parameters
    ----------
    counts : ndarray of int, shape (n,)
        Chance candidates of blank frames.
    frames : structured ndarray of `FRAME_DTYPE`, shape (n,)
        The frames.
    row : ndarray of int, shape (n,)
        The row of the tables that each counts for.

    Returns
    -------
    log_count : ndarray, shape (2, number of rows)
        Log of the candidates in a frame of a million pixels, smooth and rough.
    power : float
        Power of the pixels.
    """
    rows = np.eye(len(LOG_BACKGROUND))[row]
    rough = roughness(frames["texture"])[:, None]
    size = np.log(np.maximum(frames["n_read"], 1) / MEGAPIXEL)[:, None]
    known = np.hstack([(1 - rough) * rows, rough * rows, size])

    def loss(weights: NDArray[np.float64]) -> tuple[float, NDArray[np.float64]]:
        log_mean = np.clip(known @ weights, -30.0, 30.0)
        mean = np.exp(log_mean)
        held = _HELD * weights
        value = (mean - counts * log_mean).mean() + held @ weights / 2
        return float(value), known.T @ (mean - counts) / len(counts) + held

    weights = minimize(loss, np.zeros(known.shape[1]), jac=True, method="BFGS").x
    return weights[:-1].reshape(2, -1), float(weights[-1])


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


def log_hit_odds_of(evidence: NDArray[np.float64], hit: NDArray[np.bool_]) -> NDArray[np.float64]:
    """Fit the log odds of a hit at each of `HIT_EVIDENCE`, hits and blanks weighing alike.

    They rise, in straight lines between these: slowly where hits that show nothing lie among the
    blanks, steeply where evidence tells, slowly again where rough backgrounds pass for hits.
    """
    weight = np.where(hit, 0.5 / max(hit.sum(), 1), 0.5 / max((~hit).sum(), 1))

    def values(x: NDArray[np.float64]) -> NDArray[np.float64]:
        return np.asarray(x[0] + np.cumsum(np.concatenate([[0.0], np.exp(x[1:])])))

    start = np.concatenate([HIT_EVIDENCE[:1], np.log(np.diff(HIT_EVIDENCE))])
    found = _likeliest(lambda x: np.interp(evidence, HIT_EVIDENCE, values(x)), hit, weight, start)
    return values(found)


def peak_line(log_odds: NDArray[np.float64], true: NDArray[np.bool_]) -> tuple[float, float]:
    """Fit the log odds of a peak: gain × log odds + offset (Platt scaling)."""
    cut = np.clip(log_odds, *_CERTAIN)
    weight = np.full(len(cut), 1 / max(len(cut), 1))
    found = _likeliest(lambda x: x[0] * cut + x[1], true, weight, np.array([1.0, 0.0]))
    return float(found[0]), float(found[1])


def _likeliest(
    log_odds: Callable[[NDArray[np.float64]], NDArray[np.float64]],
    true: NDArray[np.bool_],
    weight: NDArray[np.float64],
    start: NDArray[np.float64],
) -> NDArray[np.float64]:
    """Fit the parameters of log odds to what came true."""

    def loss(x: NDArray[np.float64]) -> float:
        z = log_odds(x)
        return float((weight * np.logaddexp(0.0, np.where(true, -z, z))).sum())

    return np.asarray(minimize(loss, start, method="BFGS").x)

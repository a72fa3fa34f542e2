"""From the odds of candidates to peaks with probabilities, and to the probability of a hit.

A frame's candidates are a mixture of two Poisson processes: chance, whose expected number is known
from the background alone, and Bragg peaks, whose number is not. With r the likelihood ratio of a
candidate (peak over chance), n_c the chance candidates expected and n_s the peaks, the likelihood
of the frame over that of a blank one is exp(-n_s) Π (1 + n_s r / n_c): the likelihood of an
inhomogeneous Poisson process (D. J. Daley & D. Vere-Jones, An Introduction to the Theory of Point
Processes, 2nd ed., section 7.1). Weak candidates count with the strong ones.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from hitfinder.network.calibration import STRENGTHS, Calibration

PEAKS = np.exp(np.linspace(np.log(0.5), np.log(500.0), 25))
"""Expected numbers of peaks in a frame that a hit may have, each as likely beforehand."""

_WIDTH = 0.7
_AS_GOOD_AS = 3.0
"""Peaks of the frame that tell as much of its strengths as all other frames do."""

_FEWEST = 1e-3
_ROUNDS = 3
_SPREAD = np.exp(-0.5 * ((STRENGTHS[:, None] - STRENGTHS[None, :]) / _WIDTH) ** 2)
_SPREAD /= _SPREAD.sum(axis=0)


def chance_candidates(usual: float, proposed: float, logit: NDArray[np.floating]) -> float:
    """Return how many chance candidates to take a frame to have.

    Parameters
    ----------
    usual : float
        In frames of this background and size, from
        `hitfinder.network.calibration.Calibration.chance_count`.
    proposed : float
        Expected from the background alone among those that the finder proposes.
    logit : ndarray
        What the locator says of these. Where its own odds add up to more false ones than expected,
        the background is not what it is taken to be, and chance is more by as much.
    """
    doubted = float((1 / (1 + np.exp(np.asarray(logit, float)))).sum())
    return max(usual * max(doubted / max(proposed, _FEWEST), 1.0), _FEWEST)


def ratios_and_chance(
    calibration: Calibration,
    logit: NDArray[np.floating],
    background: float,
    texture: float,
    n_pixels: int,
    proposed: float,
) -> tuple[NDArray[np.float64], float]:
    """Return log likelihood ratios of a frame's candidates, and its number of chance candidates.

    Parameters
    ----------
    calibration : Calibration
        Of the locator.
    logit, proposed
        As for `chance_candidates`.
    background, texture, n_pixels
        As for `hitfinder.network.calibration.Calibration.chance_count`.
    """
    usual = calibration.chance_count(background, texture, n_pixels)
    ratio = calibration.log_ratio(logit, background)
    return ratio, chance_candidates(usual, proposed, logit)


def log_evidence(log_ratio: NDArray[np.floating], n_chance: float) -> NDArray[np.float64]:
    """Log likelihood of a hit with each number of `PEAKS` over that of a blank frame.

    Parameters
    ----------
    log_ratio : ndarray, shape (n,)
        Natural log of the likelihood ratio of each candidate.
    n_chance : float
        Chance candidates of the frame, from `chance_candidates`.
    """
    return _log_evidence(_log_odds(log_ratio, n_chance))


def _log_odds(log_ratio: NDArray[np.floating], n_chance: float) -> NDArray[np.float64]:
    """Log odds of each candidate to be a peak, for each number of `PEAKS`."""
    return np.asarray(np.log(PEAKS / n_chance)[:, None] + np.asarray(log_ratio, float)[None, :])


def _log_evidence(log_odds: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.asarray(np.logaddexp(0.0, log_odds).sum(axis=1) - PEAKS)


def frame_evidence(log_ratio: NDArray[np.floating], n_chance: float) -> float:
    """Log likelihood of a hit with any number of peaks over that of a blank frame."""
    evidence = log_evidence(log_ratio, n_chance)
    return float(np.logaddexp.reduce(evidence) - np.log(len(PEAKS)))


def strength_bins(log_p: NDArray[np.floating]) -> NDArray[np.intp]:
    """Return the bin of `STRENGTHS` that each candidate is in.

    Parameters
    ----------
    log_p : ndarray
        Log chance probabilities from the finder; NaN of what it has not proposed, which is weak.
    """
    strength = np.log(np.maximum(-np.nan_to_num(log_p, nan=0.0), 1.0))
    bins = np.rint((strength - STRENGTHS[0]) / (STRENGTHS[1] - STRENGTHS[0]))
    return np.clip(bins, 0, STRENGTHS.size - 1).astype(np.intp)


def peak_probabilities(
    log_ratio: NDArray[np.floating],
    n_chance: float,
    log_odds: float,
    strength: NDArray[np.intp],
    log_usual: NDArray[np.float64],
) -> NDArray[np.float64]:
    """Probability of each candidate to be a Bragg peak, given the whole frame.

    Parameters
    ----------
    log_ratio, n_chance
        As for `log_evidence`.
    log_odds : float
        Log odds of the frame being a hit, its own evidence included.
    strength : ndarray of int, shape (n,)
        From `strength_bins`.
    log_usual : ndarray, shape of `STRENGTHS`
        Log of the share of peaks in each bin over all frames, which `log_ratio` supposes.
    """
    ratio = np.asarray(log_ratio, np.float64)
    if not len(ratio):
        return np.empty(0)
    hit = 1 / (1 + np.exp(-log_odds))
    usual = np.exp(log_usual)
    probability = hit * _given_hit(ratio, n_chance)
    for _ in range(_ROUNDS):
        # Of the other candidates, each for as much as it is a peak; the usual ones besides.
        seen = _SPREAD @ np.bincount(strength, probability, STRENGTHS.size)
        others = seen[strength] - probability * _SPREAD[strength, strength]
        weight = _AS_GOOD_AS + probability.sum() - probability
        share = (_AS_GOOD_AS * usual[strength] + others) / weight
        # Many weak candidates may be a rough background as well: they never raise each other.
        change = np.minimum(np.log(share) - log_usual[strength], 0.0)
        probability = hit * _given_hit(ratio + change, n_chance)
    return probability


def _given_hit(log_ratio: NDArray[np.float64], n_chance: float) -> NDArray[np.float64]:
    """Probability of each candidate to be a peak of a hit, over all numbers of peaks."""
    log_odds = _log_odds(log_ratio, n_chance)
    evidence = _log_evidence(log_odds)
    weight = np.exp(evidence - np.logaddexp.reduce(evidence))
    return np.asarray(weight @ (1 / (1 + np.exp(-log_odds))))

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

PEAKS = np.exp(np.linspace(np.log(0.5), np.log(500.0), 25))
"""Expected numbers of peaks in a frame that a hit may have, each as likely beforehand."""


def chance_candidates(n_chance: float, logit: NDArray[np.floating]) -> float:
    """Return how many of a frame's candidates are chance.

    Parameters
    ----------
    n_chance : float
        Expected from the background alone.
    logit : ndarray
        What the locator says of the candidates. Where its own odds add up to more false ones than
        expected, the background is not what it is taken to be, and these are the better estimate.
    """
    doubted = float((1 / (1 + np.exp(np.asarray(logit, float)))).sum())
    return max(n_chance, doubted, 1e-3)


def log_evidence(log_ratio: NDArray[np.floating], n_chance: float) -> NDArray[np.float64]:
    """Log likelihood of a hit with each number of `PEAKS` over that of a blank frame.

    Parameters
    ----------
    log_ratio : ndarray, shape (n,)
        Natural log of the likelihood ratio of each candidate.
    n_chance : float
        Chance candidates expected in the frame.
    """
    terms = np.log(PEAKS / n_chance)[:, None] + np.asarray(log_ratio, float)[None, :]
    return np.logaddexp(0.0, terms).sum(axis=1) - PEAKS


def frame_evidence(log_ratio: NDArray[np.floating], n_chance: float) -> float:
    """Log likelihood of a hit with any number of peaks over that of a blank frame."""
    evidence = log_evidence(log_ratio, n_chance)
    return float(np.logaddexp.reduce(evidence) - np.log(len(PEAKS)))


def peak_probabilities(
    log_ratio: NDArray[np.floating], n_chance: float, log_odds: float
) -> NDArray[np.float64]:
    """Probability of each candidate to be a Bragg peak, given the whole frame.

    Parameters
    ----------
    log_ratio, n_chance
        As for `log_evidence`.
    log_odds : float
        Log odds of the frame being a hit, its own evidence included.
    """
    if not len(log_ratio):
        return np.empty(0)
    evidence = log_evidence(log_ratio, n_chance)
    weight = np.exp(evidence - np.logaddexp.reduce(evidence))
    terms = np.log(PEAKS / n_chance)[:, None] + np.asarray(log_ratio, float)[None, :]
    given_hit = weight @ (1 / (1 + np.exp(-terms)))
    return given_hit / (1 + np.exp(-log_odds))

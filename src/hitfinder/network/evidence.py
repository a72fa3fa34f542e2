"""From the odds of candidates to peaks with probabilities, and to the probability of a hit.

A frame's candidates are a mixture of two Poisson processes: chance, whose expected number is known
from the background alone, and Bragg peaks, whose number is not. With r the likelihood ratio of a
candidate (peak over chance), n_c the chance candidates expected and n_s the peaks, the likelihood
of the frame over that of a blank one is exp(-n_s) Π (1 + n_s r / n_c): the likelihood of an
inhomogeneous Poisson process (D. J. Daley & D. Vere-Jones, An Introduction to the Theory of Point
Processes, 2nd ed., section 7.1). Weak candidates count with the strong ones.
"""

from __future__ import annotations

import dataclasses
import math

import numpy as np
from numba import njit
from numpy.typing import NDArray

from hitfinder.network.calibration import STRENGTHS, Calibration

PEAKS = np.exp(np.linspace(np.log(0.5), np.log(500.0), 25))
"""Expected numbers of peaks in a frame that a hit may have, each as likely beforehand."""

_ANY_PEAKS = PEAKS[0] * (PEAKS[1] / PEAKS[0]) ** np.arange(36)
"""The same for a frame that is a hit, up to as many as the finder looks at."""

_NO_WEIGHT = 1e-9
_LARGEST_LOG, _LARGEST_PRODUCT = 200.0, 1e200
"""Of a likelihood ratio, and of a product of them that is multiplied on: the next one, of 10⁹⁴ at
most for up to 10⁷ peaks to a chance candidate, still has room."""

_WIDTH = 0.7
_AS_GOOD_AS = 3.0
"""Peaks of the frame that tell as much of its strengths as all other frames do."""

_N_PLACES, _NEAR = 50, 0.2
"""Bins of the share of chance candidates inside, and the distance over which peaks tell of it."""

_FEWEST = 1e-3
_ROUNDS = 3
_SPREAD = np.exp(-0.5 * ((STRENGTHS[:, None] - STRENGTHS[None, :]) / _WIDTH) ** 2)
_SPREAD /= _SPREAD.sum(axis=0)


def _around() -> NDArray[np.float64]:
    """Density of peaks in each bin of places around a peak in another; reflected at the ends."""
    at = (np.arange(_N_PLACES) + 0.5) / _N_PLACES
    images = np.stack([at, -at, 2 - at])
    density = np.exp(-0.5 * ((at[None, :, None] - images[:, None, :]) / _NEAR) ** 2).sum(axis=0)
    return np.asarray(density / density.mean(axis=0))


_AROUND = _around()


@dataclasses.dataclass(frozen=True)
class ChanceCandidates:
    """How many chance candidates to take a frame to have.

    Parameters
    ----------
    usual : float
        In frames of this background and size, from
        `hitfinder.network.calibration.Calibration.chance_count`.
    proposed : float
        Expected from the background alone among those that the finder proposes.
    doubted : float
        False ones among these, as far as is known. Where they are more than expected, the
        background is not what it is taken to be, and chance is more by as much.
    """

    usual: float
    proposed: float
    doubted: float = 0.0

    @property
    def n(self) -> float:
        """The number."""
        more = max(self.doubted / max(self.proposed, _FEWEST), 1.0)
        return max(self.usual * more, _FEWEST)

    def but(self, doubted: float) -> ChanceCandidates:
        """Return it with no more false ones than these."""
        return dataclasses.replace(self, doubted=min(doubted, self.doubted))


def doubts(logit: NDArray[np.floating]) -> float:
    """Return how many candidates the locator takes to be false, by its own odds."""
    return float((1 / (1 + np.exp(np.asarray(logit, float)))).sum())


def ratios_and_chance(
    calibration: Calibration,
    logit: NDArray[np.floating],
    background: float,
    texture: float,
    n_pixels: int,
    proposed: float,
) -> tuple[NDArray[np.float64], ChanceCandidates]:
    """Return log likelihood ratios of a frame's candidates, and its chance candidates.

    Parameters
    ----------
    calibration : Calibration
        Of the locator.
    logit : ndarray
        What the locator says of the candidates.
    proposed : float
        As for `ChanceCandidates`.
    background, texture, n_pixels
        As for `hitfinder.network.calibration.Calibration.chance_count`.
    """
    usual = calibration.chance_count(background, texture, n_pixels)
    ratio = calibration.log_ratio(logit, background)
    return ratio, ChanceCandidates(usual, proposed, doubts(logit))


def log_evidence(log_ratio: NDArray[np.floating], n_chance: float) -> NDArray[np.float64]:
    """Log likelihood of a hit with each number of `PEAKS` over that of a blank frame.

    Parameters
    ----------
    log_ratio : ndarray, shape (n,)
        Natural log of the likelihood ratio of each candidate.
    n_chance : float
        Chance candidates of the frame, see `ChanceCandidates`.
    """
    evidence = np.empty(PEAKS.size)
    _fill_evidence(np.asarray(log_ratio, np.float64), n_chance, PEAKS, evidence)
    return evidence


@njit(cache=True, nogil=True)
def _fill_evidence(log_ratio, n_chance, n_peaks, evidence):  # type: ignore[no-untyped-def]
    """Write the log likelihood of a hit with each number of peaks over that of a blank frame.

    Factors are multiplied as long as a number holds their product, as logarithms take long.
    """
    ratio, beyond = np.empty(log_ratio.size), 0.0
    for k in range(ratio.size):
        ratio[k] = math.exp(min(log_ratio[k], _LARGEST_LOG))
        beyond += max(log_ratio[k] - _LARGEST_LOG, 0.0)
    for n in range(n_peaks.size):
        product, logs, odds = 1.0, beyond - n_peaks[n], n_peaks[n] / n_chance
        for k in range(ratio.size):
            product *= 1.0 + odds * ratio[k]
            if product > _LARGEST_PRODUCT:
                logs += math.log(product)
                product = 1.0
        evidence[n] = logs + math.log(product)


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
    chance: ChanceCandidates,
    log_odds: float,
    strength: NDArray[np.intp],
    log_usual: NDArray[np.float64],
    inside: NDArray[np.floating],
) -> NDArray[np.float64]:
    """Probability of each candidate to be a Bragg peak, given the whole frame.

    Parameters
    ----------
    log_ratio
        As for `log_evidence`.
    chance : ChanceCandidates
        Chance candidates of the frame.
    log_odds : float
        Log odds of the frame being a hit, its own evidence included.
    strength : ndarray of int, shape (n,)
        From `strength_bins`.
    log_usual : ndarray, shape of `STRENGTHS`
        Log of the share of peaks in each bin over all frames, which `log_ratio` supposes.
    inside : ndarray, shape (n,)
        Share of the chance candidates that lie nearer to the beam than each candidate.
    """
    ratio = np.asarray(log_ratio, np.float64)
    if not len(ratio):
        return np.empty(0)
    hit = 1 / (1 + np.exp(-log_odds))
    usual = np.exp(log_usual)
    place = np.clip((inside * _N_PLACES).astype(np.intp), 0, _N_PLACES - 1)
    probability = hit * _given_hit(ratio, chance.n)
    for _ in range(_ROUNDS):
        # Many weak peaks are doubted by so much in all, while the locator sees one at a time.
        chance = chance.but((1 - probability).sum())
        share = _share(probability, strength, usual, _SPREAD)
        # Many weak candidates may be a rough background as well: they never raise each other.
        change = np.minimum(np.log(share) - log_usual[strength], 0.0)
        change += np.log(_share(probability, place, np.ones(_N_PLACES), _AROUND))
        probability = hit * _given_hit(ratio + change, chance.n)
    return probability


def _share(
    probability: NDArray[np.float64],
    which: NDArray[np.intp],
    usual: NDArray[np.float64],
    spread: NDArray[np.float64],
) -> NDArray[np.float64]:
    """Share of peaks in the bin of each candidate, as the others tell it, the usual ones besides.

    Each of the others counts for as much as it is a peak.
    """
    share = np.empty(probability.size)
    _fill_share(probability, which, usual, spread, share)
    return share


@njit(cache=True, nogil=True)
def _fill_share(probability, which, usual, spread, share):  # type: ignore[no-untyped-def]
    """Write what `_share` returns."""
    seen, total = np.zeros(usual.size), 0.0
    for k in range(which.size):
        total += probability[k]
        for to in range(seen.size):
            seen[to] += spread[to, which[k]] * probability[k]
    for k in range(which.size):
        own = which[k]
        others = seen[own] - probability[k] * spread[own, own]
        weight = _AS_GOOD_AS + total - probability[k]
        share[k] = (_AS_GOOD_AS * usual[own] + others) / weight


def _given_hit(log_ratio: NDArray[np.float64], n_chance: float) -> NDArray[np.float64]:
    """Probability of each candidate to be a peak of a hit, over all numbers of peaks."""
    probability = np.empty(log_ratio.size)
    _fill_given_hit(log_ratio, n_chance, _ANY_PEAKS, probability)
    return probability


@njit(cache=True, nogil=True)
def _fill_given_hit(log_ratio, n_chance, n_peaks, probability):  # type: ignore[no-untyped-def]
    """Write what `_given_hit` returns; `n_peaks` are the numbers of peaks that a hit may have."""
    evidence = np.empty(n_peaks.size)
    _fill_evidence(log_ratio, n_chance, n_peaks, evidence)
    total, most = 0.0, evidence.max()
    for n in range(evidence.size):
        total += math.exp(evidence[n] - most)
    probability[:] = 0.0
    for n in range(evidence.size):
        weight = math.exp(evidence[n] - most) / total
        # Most numbers of peaks are far from those that the candidates allow.
        if weight <= _NO_WEIGHT:
            continue
        for k in range(probability.size):
            probability[k] += weight / (1.0 + n_chance / n_peaks[n] * math.exp(-log_ratio[k]))

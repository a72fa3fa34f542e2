"""What a search through all orientations finds where there is no crystal."""

from __future__ import annotations

import dataclasses
import functools
import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from scipy.special import gammainc, logsumexp

from hitfinder.finding.rings import Rings

HITS_LOST = 0.3
"""Share of hits whose right orientation is not found."""

RIGHT_SCALE = 17.0
"""By how much right orientations are better than chance, in units of the log likelihood ratio: the
scale of a gamma distribution of shape 2. There are few that are hardly better, as many such
crystals are not found. So it was in simulated frames of all Bragg scales near the limit."""

LEAST_WIDTH = 0.8
"""Least width of what chance gives: a log likelihood ratio falls off by a factor e a unit at least
where chance is rare. A few frames may happen to tell less."""

_EULER = 0.5772156649015329

_DRAWS, _MANY = 2000, 500
"""Sets of frames that are drawn to learn how parameters scatter, and frames with which they do not.
"""


@dataclasses.dataclass(frozen=True)
class Chance:
    """Distribution of the best log likelihood ratio of frames without a crystal.

    The largest of very many nearly independent numbers with an exponential tail follows Gumbel's
    distribution (E. J. Gumbel, Statistics of Extremes, 1958); its two parameters are fitted by
    moments. Shares are those of frames to come, the scatter of parameters fitted to so few frames
    included (J. F. Lawless, Statistical Models and Methods for Lifetime Data, 2003): with the
    parameters taken at their word, 1.7 % of such frames would pass for 1 %, learnt from 24.

    Parameters
    ----------
    mode, width : float
        Of the distribution.
    n : int
        Frames it was learnt from.
    """

    mode: float
    width: float
    n: int

    @staticmethod
    def fitted(best: Sequence[float]) -> Chance:
        """Fit the distribution to the best ratios of frames without a crystal.

        Raises
        ------
        ValueError
            If there are fewer than five.
        """
        if len(best) < 5:
            raise ValueError(f"five frames are needed to learn what chance does, got {len(best)}")
        width = float(np.std(best, ddof=1)) * math.sqrt(6) / math.pi
        width = max(width, LEAST_WIDTH)
        return Chance(float(np.mean(best)) - _EULER * width, width, len(best))

    def false_share(self, log_ratio: float) -> float:
        """Return the share of frames without a crystal that reach a log likelihood ratio."""
        return float(np.exp(self._log_share(log_ratio)))

    def score(self, log_ratio: float) -> float:
        """Return minus log10 of `false_share`, also where that is too small for a number."""
        return max(-self._log_share(log_ratio) / math.log(10), 0.0)

    def _log_share(self, log_ratio: float) -> float:
        mode, width = _fits(self.n)
        t = np.clip(mode + width * (log_ratio - self.mode) / self.width, -30.0, None)
        # Of 1 - exp(-e^-t); beyond 30 that is e^-t.
        log_share = np.where(t > 30.0, -t, np.log(-np.expm1(-np.exp(-np.minimum(t, 30.0)))))
        return float(logsumexp(log_share) - math.log(len(t)))

    def log_odds(self, log_ratio: float) -> float:
        """Return the natural logarithm of the odds of a crystal, were half of the frames hits."""
        beyond = max(log_ratio - self.mode, 0.0)
        mode, width = _fits(self.n)
        t = mode + width * beyond / self.width
        log_density = logsumexp(np.log(width / self.width) - t - np.exp(-t))
        return log_odds_of_hit(beyond, float(logsumexp(-np.exp(-t)) - log_density))

    def least(self, false_share: float) -> float:
        """Return the log likelihood ratio that a share of frames without a crystal reaches."""
        low, high = self.mode - 30.0 * self.width, self.mode + 1000.0 * self.width
        for _ in range(45):
            middle = 0.5 * (low + high)
            if self.false_share(middle) > false_share:
                low = middle
            else:
                high = middle
        return high


def log_odds_of_hit(beyond: float, log_rarity: float) -> float:
    """Return the natural logarithm of the odds of a crystal, were half of the frames hits.

    The best orientation of a hit is the right one or one by chance, whichever is better; of
    `HITS_LOST` of the hits it is always one by chance. With the distribution F and density f of
    right ratios, and C and c of those by chance, hits have the density f C + F c.

    Parameters
    ----------
    beyond : float
        How much better the best orientation is than what chance reaches.
    log_rarity : float
        Logarithm of C / c there.
    """
    if beyond <= 0:
        return math.log(HITS_LOST)
    folds = beyond / RIGHT_SCALE
    log_passed = math.log(gammainc(2, folds))
    log_there = math.log(folds / RIGHT_SCALE) - folds
    log_found = np.logaddexp(log_passed, log_there + log_rarity)
    return float(np.logaddexp(math.log(HITS_LOST), math.log1p(-HITS_LOST) + log_found))


@functools.cache
def _fits(n: int) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return modes and widths fitted to sets of n numbers of Gumbel's distribution, 0 and 1."""
    if n > _MANY:
        return np.zeros(1), np.ones(1)
    drawn = np.random.default_rng(0).gumbel(size=(_DRAWS, n))
    width = np.std(drawn, axis=1, ddof=1) * math.sqrt(6) / math.pi
    return drawn.mean(axis=1) - _EULER * width, width


def scrambled(
    counts: NDArray[np.int32], rings: Rings, rng: np.random.Generator
) -> NDArray[np.int32]:
    """Return a frame whose counts are at random places of their ring.

    That keeps how bright rings and single pixels are, and destroys every lattice.

    Parameters
    ----------
    counts : ndarray of int32, shape of a frame
        Counts, negative where there is no reading; those places stay.
    rings : Rings
        Of the geometry.
    rng : numpy.random.Generator
        Source of randomness.
    """
    flat, ring = counts.ravel(), rings.index.ravel()
    good = np.flatnonzero((flat >= 0) & (ring >= 0))
    ordered = good[np.argsort(ring[good], kind="stable")]
    mixed = ordered[np.lexsort((rng.random(len(ordered), np.float32), ring[ordered]))]
    out = flat.copy()
    out[ordered] = flat[mixed]
    return out.reshape(counts.shape)

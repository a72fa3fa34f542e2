"""What a search through all orientations finds where there is no crystal."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from hitfinder.finding.rings import Rings

HITS_LOST, HITS_BEYOND = 0.3, 30.0
"""Share of hits whose best orientation is one by chance, and how much better that of the others is
than chance, on average, in units of the log likelihood ratio."""

_EULER = 0.5772156649015329


@dataclasses.dataclass(frozen=True)
class Chance:
    """Distribution of the best log likelihood ratio of frames without a crystal.

    The largest of very many nearly independent numbers with an exponential tail follows Gumbel's
    distribution (E. J. Gumbel, Statistics of Extremes, 1958); its two parameters are fitted by
    moments.

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
        # A log likelihood ratio falls off by a factor e a unit at least where chance is rare.
        width = max(width, 0.8)
        return Chance(float(np.mean(best)) - _EULER * width, width, len(best))

    def false_share(self, log_ratio: float) -> float:
        """Return the share of frames without a crystal that reach a log likelihood ratio."""
        return float(-np.expm1(-np.exp(-(log_ratio - self.mode) / self.width)))

    def score(self, log_ratio: float) -> float:
        """Return minus log10 of `false_share`, also where that is too small for a number."""
        rare = (log_ratio - self.mode) / self.width
        if rare > 30:
            return rare / math.log(10)
        return 0.0 if rare < -30 else -math.log10(self.false_share(log_ratio))

    def log_odds(self, log_ratio: float) -> float:
        """Return the natural logarithm of the odds of a crystal, were half of the frames hits.

        Hits are taken to be lost in what chance gives, or to be better by an exponentially
        distributed amount, whose mean is `HITS_BEYOND` and share 1 - `HITS_LOST`.
        """
        beyond = max(log_ratio - self.mode, 0.0)
        z = beyond / self.width
        log_blank = -z - math.exp(-z) - math.log(self.width)
        log_better = math.log((1 - HITS_LOST) / HITS_BEYOND) - beyond / HITS_BEYOND
        return float(np.logaddexp(math.log(HITS_LOST), log_better - log_blank))

    def least(self, false_share: float) -> float:
        """Return the log likelihood ratio that a share of frames without a crystal reaches."""
        return self.mode - self.width * math.log(-math.log1p(-false_share))


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

"""What a search through all orientations finds where there is no crystal."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from hitfinder.finding.rings import Rings

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

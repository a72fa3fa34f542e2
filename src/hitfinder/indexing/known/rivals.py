"""Whether the best orientation of a frame is right, by the next best ones of the same frame."""

from __future__ import annotations

import dataclasses
import itertools
import math
from collections.abc import Sequence

import numpy as np
from scipy.special import binom, logsumexp

from hitfinder.crystal.lattice import Lattice
from hitfinder.indexing.known.chance import (
    HITS_LOST,
    LEAST_WIDTH,
    RIGHT_SCALE,
    Chance,
    log_odds_of_hit,
)
from hitfinder.indexing.known.search import Hypothesis, distinct

SAME_DEG = 1.0
"""Orientations closer than that have spots in common: the ratio's side maxima about one of them."""

N_RIVALS = 4
"""Next best orientations that tell what chance reaches in a frame; more say little more."""


def apart(lattice: Lattice, found: Sequence[Hypothesis]) -> list[float]:
    """Return the log likelihood ratios of the best orientation and its rivals, the best first.

    Parameters
    ----------
    lattice : Lattice
        Of the crystal.
    found : sequence of Hypothesis
        Orientations, the best first. Of those closer than `SAME_DEG` only the best counts.
    """
    some = itertools.islice(distinct(lattice, found, SAME_DEG), 1 + N_RIVALS)
    return [one.log_ratio for one in some]


@dataclasses.dataclass(frozen=True)
class Rivals:
    """How log likelihood ratios of wrong orientations fall off in one frame.

    A bright peak lifts every orientation that explains it, so what chance reaches differs from
    frame to frame. The frame's own rivals tell. The largest of very many nearly independent
    numbers with an exponential tail are so far apart that the difference of the j-th and the next
    one is exponentially distributed about 1/j of the tail's width (A. Rényi, Acta Math. Acad. Sci.
    Hung. 4, 191, 1953), wherever the tail begins.

    Parameters
    ----------
    chance : Chance
        What frames without a crystal reach.
    fall : float
        Width of the tail.
    n : int
        Differences it was learnt from.
    """

    chance: Chance
    fall: float
    n: int

    @staticmethod
    def fitted(chance: Chance, frames: Sequence[Sequence[float]]) -> Rivals:
        """Learn the width from frames without a crystal.

        Parameters
        ----------
        chance : Chance
            What their best ratios follow.
        frames : sequence of sequence of float
            The ratios of each, from `apart`.
        """
        steps = [
            (rank + 1) * (ratio - following)
            for ratios in frames
            for rank, (ratio, following) in enumerate(itertools.pairwise(ratios))
        ]
        if not steps:
            return Rivals(chance, chance.width, chance.n)
        return Rivals(chance, max(float(np.mean(steps)), LEAST_WIDTH), len(steps))

    def score(self, ratios: Sequence[float]) -> float:
        """Return minus log10 of the share of frames without a crystal that are as good.

        As good is one whose best orientation is as likely, and stands out as much from its rivals:
        the larger of both shares counts, so that bright spots in few frames make no hits. Without
        a crystal the best of K + 1 is beyond the last by the largest of K numbers of the tail.

        Parameters
        ----------
        ratios : sequence of float
            Of the frame, from `apart`; none has the score 0.
        """
        if not ratios:
            return 0.0
        of_all, rivals = self.chance.score(ratios[0]), len(ratios) - 1
        if not rivals:
            return of_all
        k = np.arange(1, rivals + 1)
        beyond = ratios[0] - ratios[-1]
        # Of 1 - (1 - e^-x)^K, on average over the tail's widths that n numbers leave likely.
        log_shares = -self.n * np.log1p(k * beyond / (self.n * self.fall))
        log_share = logsumexp(log_shares, b=binom(rivals, k) * (-1.0) ** (k + 1))
        return min(of_all, max(-float(log_share) / math.log(10), 0.0))

    def log_odds(self, ratios: Sequence[float]) -> float:
        """Return the natural logarithm of the odds of a crystal, were half of the frames hits.

        What chance reaches in a frame is the larger of what it reaches in frames without a crystal
        and of what the frame's rivals tell.

        Parameters
        ----------
        ratios : sequence of float
            Of the frame, from `apart`.
        """
        if not ratios:
            return math.log(HITS_LOST)
        of_all = self.chance.log_odds(ratios[0])
        if len(ratios) == 1:
            return of_all
        own, width, n = self._chance_of(ratios)
        beyond = max(ratios[0] - own, 0.0)
        log_rarity = math.log(width) + (n + 1) * math.log1p(beyond / (n * width))
        return min(of_all, log_odds_of_hit(beyond, log_rarity))

    def probability(self, ratios: Sequence[float], several: bool = False) -> float:
        """Return the probability that the best orientation is right, were half of the frames hits.

        Of the hits all but `HITS_LOST` are taken to have their right orientation found, which may
        be a rival too.

        Parameters
        ----------
        ratios : sequence of float
            Of the frame, from `apart`; none has the probability 0.
        several : bool
            Rivals may be right as well, being those of further crystals.
        """
        if not ratios:
            return 0.0
        own, width, n = self._chance_of(ratios)
        beyond = np.array([ratio - own for ratio in ratios if ratio > own])
        if not len(beyond):
            return 0.0
        right = 0.5 * (1 - HITS_LOST)
        log_right = np.log(right * beyond / RIGHT_SCALE**2) - beyond / RIGHT_SCALE
        # An exponential distribution whose width is known from n numbers only (Lawless, 2003).
        log_wrong = math.log((1 - right) / width) - (n + 1) * np.log1p(beyond / (n * width))
        odds = log_right - log_wrong
        instead = odds[0] if several else logsumexp(odds)
        return float(np.exp(odds[0] - np.logaddexp(0.0, instead)))

    def _chance_of(self, ratios: Sequence[float]) -> tuple[float, float, int]:
        """Return what chance reaches in a frame, the width of its tail, and the numbers behind it.

        Where the frame has rivals, the last of them tells (I. Weissman, J. Am. Stat. Assoc. 73,
        812, 1978).
        """
        rivals = len(ratios) - 1
        if not rivals:
            return self.chance.mode, self.chance.width, self.chance.n
        return ratios[-1] + self.fall * math.log(rivals), self.fall, self.n

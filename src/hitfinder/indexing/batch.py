"""Index many frames, and as many that have no lattice, to tell what chance would do."""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Callable, Iterable, Iterator

import numpy as np
from numpy.typing import NDArray

from hitfinder.executors.contract import Done, Executor
from hitfinder.indexing.indexer import Indexer, Orientation

LEAST_SCORE = 22.0
"""Score from which a frame counts as indexed: of 572 frames whose peaks were turned at random five
reached 21 and one 22."""


@dataclasses.dataclass(frozen=True, eq=False)
class FramePeaks:
    """The peaks of a frame: a task.

    Attributes
    ----------
    frame : int
        Its number.
    q : ndarray, shape (n, 3)
        Scattering vectors, in Å⁻¹ without 2π.
    probability : ndarray, shape (n,)
        Of each to be a Bragg peak.
    """

    frame: int
    q: NDArray[np.float64]
    probability: NDArray[np.float64]

    def __str__(self) -> str:
        return f"frame {self.frame}"

    @property
    def chance(self) -> NDArray[np.float64]:
        """Of each to be a Bragg peak, also where `probability` is unknown."""
        return np.nan_to_num(self.probability, nan=Indexer.UNKNOWN)


@dataclasses.dataclass(frozen=True, eq=False)
class IndexedFrame:
    """What was found in a frame.

    Attributes
    ----------
    frame : int
        Its number.
    crystals : tuple of Orientation
        The best crystal however little it is worth, if there is any; then those besides that
        reach the least score.
    chance : float
        Score that the frame's peaks reach when each is turned about the beam at random; NaN if
        they are too few.
    is_lost : bool
        Whether it ended the workers that were at it, so that nothing is known of it.
    """

    frame: int
    crystals: tuple[Orientation, ...]
    chance: float
    is_lost: bool = False


@dataclasses.dataclass(frozen=True, eq=False)
class PeaksWork:
    """The work of indexing any frame; see `hitfinder.executors.contract.Work`.

    Attributes
    ----------
    indexer : Indexer
        For the crystals' lattice.
    least_score : float
        Score from which a crystal counts, so that another one is looked for besides.
    most_crystals : int
        Crystals to look for in a frame.
    """

    indexer: Indexer
    least_score: float
    most_crystals: int

    @contextlib.contextmanager
    def opened(self) -> Iterator[Callable[[FramePeaks], IndexedFrame]]:
        """Return a function that indexes a frame."""

        def do(peaks: FramePeaks) -> IndexedFrame:
            found = _crystals(self.indexer, peaks, self.least_score, self.most_crystals)
            chance = self.indexer.index(turned_at_random(peaks), peaks.probability)
            return IndexedFrame(peaks.frame, found, chance.score if chance else np.nan)

        yield do


def index_frames(
    indexer: Indexer,
    frames: Iterable[FramePeaks],
    executor: Executor,
    *,
    least_score: float = LEAST_SCORE,
    most_crystals: int = 1,
) -> Iterator[IndexedFrame]:
    """Index frames, in their order.

    Parameters
    ----------
    indexer : Indexer
        For the crystals' lattice.
    frames : iterable of FramePeaks
        The frames.
    executor : Executor
        Has the frames indexed; the results do not depend on it.
    least_score : float
        Score from which a crystal counts, so that another one is looked for besides.
    most_crystals : int
        Crystals to look for in a frame.

    Yields
    ------
    IndexedFrame
        One for each frame.
    """
    work = PeaksWork(indexer, least_score, most_crystals)
    for outcome in executor.run(work, frames, ordered=True):
        if isinstance(outcome, Done):
            yield outcome.result
        else:
            yield IndexedFrame(outcome.task.frame, (), np.nan, is_lost=True)


def _crystals(
    indexer: Indexer, peaks: FramePeaks, least_score: float, most: int
) -> tuple[Orientation, ...]:
    """Crystals one after the other, each from what those before leave."""
    found: list[Orientation] = []
    probability = peaks.chance
    while len(found) < most:
        best = indexer.index(peaks.q, probability)
        if best is None or (found and best.score < least_score):
            break
        found.append(best)
        if best.score < least_score:
            break
        probability = probability * (1 - best.belongs)
    return tuple(found)


def turned_at_random(peaks: FramePeaks) -> NDArray[np.float64]:
    """Turn each scattering vector about the beam by an angle of its own, fixed by the frame."""
    angle = np.random.default_rng(peaks.frame).uniform(0, 2 * np.pi, len(peaks.q))
    cos, sin = np.cos(angle), np.sin(angle)
    x, y, z = peaks.q.T
    return np.stack([cos * x - sin * y, sin * x + cos * y, z], 1)

"""Index the hits of a run by their peaks."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from typing import Any

from hitfinder.crystal.lattice import Lattice
from hitfinder.crystal.orientation import to_columns
from hitfinder.executors.contract import Executor
from hitfinder.export.tables import TURN_SIGMAS
from hitfinder.indexing.batch import LEAST_SCORE, IndexedFrame, index_frames
from hitfinder.job.indexing.cell import HitPeaks
from hitfinder.job.indexing.indexed import Axes, Solved
from hitfinder.progress import Advance

_OF_PIXELS = ("false_share", "photons", "probability", *TURN_SIGMAS)
"""Columns of the table of crystals that a search by peaks knows nothing of."""


def solve_by_peaks(
    peaks: HitPeaks,
    lattice: Lattice,
    *,
    bandwidth: float,
    crystals: int,
    least_score: float | None,
    executor: Executor,
    show: Callable[[str, int], AbstractContextManager[Advance]],
) -> Solved:
    """Find the crystals of the hits.

    Parameters
    ----------
    peaks : HitPeaks
        Of the hits.
    lattice : Lattice
        Of the crystals.
    bandwidth, crystals, least_score, executor, show
        As for `hitfinder.index`.
    """
    least = LEAST_SCORE if least_score is None else least_score
    indexer = peaks.indexer(lattice, bandwidth)
    found = []
    with show("indexing", len(peaks.frames)) as advance:
        for one in index_frames(
            indexer, peaks.frames, executor, least_score=least, most_crystals=crystals
        ):
            found.append(one)
            advance(1)
    solved: dict[int, list[Axes]] = {}
    for frame in found:
        for crystal in frame.crystals:
            if crystal.score >= least:
                solved.setdefault(frame.frame, []).append(crystal.axes)
    n_lost = sum(frame.is_lost for frame in found)
    return Solved(
        solved,
        _rows(peaks.n_peaks, found, least),
        len(found) - n_lost,
        sum(bool(frame.chance >= least) for frame in found),
        {"bandwidth": bandwidth, "crystals": crystals, "least_score": least},
        n_lost,
    )


def _rows(n_peaks: list[int], found: list[IndexedFrame], least: float) -> Iterator[dict[str, Any]]:
    """Columns of the table of crystals, a frame at a time."""
    for number, frame in enumerate(found):
        for k, crystal in enumerate(frame.crystals):
            row = {
                "frame": frame.frame,
                "crystal": k,
                "indexed": crystal.score >= least,
                "score": crystal.score,
                "chance": frame.chance,
                "n_peaks": n_peaks[number],
                "n_indexed": crystal.belongs.sum(),
                **dict.fromkeys(_OF_PIXELS, math.nan),
            }
            yield {name: [value] for name, value in (row | to_columns(crystal.axes)).items()}

"""Index the frames of a run by all their pixels, and decide on its hits by what is found."""

from __future__ import annotations

import dataclasses
import logging
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from typing import Any

import numpy as np

from hitfinder.crystal.lattice import Lattice
from hitfinder.crystal.orientation import to_columns
from hitfinder.crystal.reflections import StructureFactors
from hitfinder.errors import HitfinderError, OutputError
from hitfinder.executors.contract import Executor
from hitfinder.export.tables import TURN_SIGMAS
from hitfinder.indexing.known.chance import Chance
from hitfinder.indexing.known.rivals import Rivals
from hitfinder.indexing.known.search import Hypothesis
from hitfinder.job.indexing.frames import Which, frames_to_search
from hitfinder.job.indexing.indexed import Solved
from hitfinder.job.indexing.joint_hits import JointHits, decide_by_crystal
from hitfinder.job.indexing.mosaicity import with_likeliest_mosaicity
from hitfinder.job.indexing.pixels import PixelIndexed, PixelSearch
from hitfinder.progress import Advance
from hitfinder.results.crystalhits import CrystalEvidence
from hitfinder.results.run import Run

log = logging.getLogger(__name__)

LEAST_PROBABILITY = 0.9
"""Probability of an orientation from which a frame counts as indexed. What is found in a hit whose
true orientation is missed can be beyond what chance gives in frames without a crystal."""


def solve_by_pixels(
    run: Run,
    lattice: Lattice,
    factors: StructureFactors | None,
    *,
    frames: Which,
    false_hits: float,
    crystals: int,
    bandwidth: float,
    mosaicity_deg: float | None,
    executor: Executor,
    show: Callable[[str, int], AbstractContextManager[Advance]],
) -> Solved:
    """Find the crystal in frames of a run, and decide on the run's hits by it.

    Parameters
    ----------
    run : Run
        The run.
    lattice : Lattice
        Of the crystal.
    factors : StructureFactors, optional
        Its |F|², if known.
    frames, false_hits, crystals, bandwidth, mosaicity_deg, executor, show
        As for `hitfinder.index`.

    Raises
    ------
    ValueError
        If the bandwidth is 0.
    ConfigError
        As `hitfinder.job.indexing.pixels.PixelSearch`.
    """
    if bandwidth == 0:
        raise ValueError("the pixels of a beam without bandwidth cannot be searched: give its own")
    search = PixelSearch.of(
        run, lattice, factors, bandwidth=bandwidth, executor=executor, show=show
    )
    rows = frames_to_search(run, frames)
    if mosaicity_deg is None:
        search = with_likeliest_mosaicity(search, rows)
    else:
        search = search.of_mosaicity(mosaicity_deg)
    found, judge = search.first(rows)
    wanting = set(rows.tolist()) - {one.frame for one in found}
    joint = _joint_hits(run, lattice, factors, found, judge.rivals, show)
    run = run.reread()
    hit = run.frames["hit"].to_numpy(zero_copy_only=False)
    may_count = {one.frame for one in found if joint is None or hit[one.frame]}
    looks = {one.frame: [one] for one in found}
    for _ in range(1, crystals):
        taken = {
            row: [one.orientations[0] for one in looks[row]]
            for row in looks
            if row in may_count and is_sure(looks[row][-1], false_hits, several=True)
        }
        further = search.further(taken, judge)
        wanting |= taken.keys() - {one.frame for one in further}
        for one in further:
            looks[one.frame].append(one)
    sure = {row: _sure(ones, false_hits) if row in may_count else 0 for row, ones in looks.items()}
    solved = {
        row: [one.orientations[0].turn @ lattice.cell.reciprocal for one in looks[row][:n]]
        for row, n in sure.items()
        if n
    }
    settings = {
        "bandwidth": bandwidth,
        "mosaicity_deg": search.work.mosaicity_deg,
        "frames": frames,
        "false_hits": false_hits,
        "crystals": crystals,
        "structure": factors.source if factors else None,
        "least_score": judge.chance.least(false_hits),
        "least_probability": LEAST_PROBABILITY,
    }
    table = _rows(run, lattice, looks, judge.chance, sure)
    by_chance = false_hits * len(found)
    return Solved(solved, table, len(found), by_chance, settings, len(wanting), joint)


def _joint_hits(
    run: Run,
    lattice: Lattice,
    factors: StructureFactors | None,
    found: list[PixelIndexed],
    rivals: Rivals,
    show: Callable[[str, int], AbstractContextManager[Advance]],
) -> JointHits | None:
    """Decide on the run's hits by peaks and crystal together, if the run can be decided on."""

    def evidence(least_score: float, min_peaks: int) -> CrystalEvidence:
        return CrystalEvidence(
            np.array([one.frame for one in found], np.int64),
            np.array([one.score for one in found]),
            np.array([one.log_odds for one in found]),
            least_score,
            min_peaks,
        )

    crystal = {
        "lattice": lattice.code,
        "cell": str(lattice.cell),
        "structure": factors.source if factors else None,
        "searched": len(found),
        "chance": dataclasses.asdict(rivals.chance),
    }
    try:
        return decide_by_crystal(run, evidence, crystal, show)
    except OutputError:
        raise
    except HitfinderError as error:
        log.warning("the hits stay those by their peaks alone: %s", error)
        return None


def is_sure(one: PixelIndexed, false_hits: float, *, several: bool = False) -> bool:
    """Return whether the best orientation of a frame counts.

    Parameters
    ----------
    one : PixelIndexed
        What was found in the frame.
    false_hits : float
        Share of frames without a crystal that may count as indexed.
    several : bool
        Others may be right too, being those of further crystals.
    """
    probability = one.probability_of_any if several else one.probability
    return one.false_share <= false_hits and probability >= LEAST_PROBABILITY


def _sure(ones: Sequence[PixelIndexed], false_hits: float) -> int:
    """Return how many crystals of a frame are sure, of those found one after the other.

    A crystal beside which a further one is sure need not be likelier than all other orientations.
    """
    return max((n for n, one in enumerate(ones, 1) if is_sure(one, false_hits)), default=0)


def _rows(
    run: Run,
    lattice: Lattice,
    looks: Mapping[int, Sequence[PixelIndexed]],
    chance: Chance,
    sure: Mapping[int, int],
) -> Iterator[dict[str, Any]]:
    """Columns of the table of crystals, a crystal at a time."""
    n_peaks = run.frames["n_peaks"].to_numpy()
    for frame, ones in looks.items():
        # A look for one crystal more than is sure found none.
        for number, one in enumerate(ones[: max(sure[frame], 1)]):
            if not one.orientations:
                continue
            best, is_beside = one.orientations[0], number + 1 < sure[frame]
            row = {
                "frame": frame,
                "crystal": number,
                "indexed": number < sure[frame],
                "score": best.log_ratio,
                "chance": chance.mode,
                "n_peaks": n_peaks[frame],
                "n_indexed": math.nan,
                "false_share": one.false_share,
                "photons": best.photons,
                "probability": one.probability_of_any if is_beside else one.probability,
            } | _turn_sigmas(best)
            axes = best.turn @ lattice.cell.reciprocal
            yield {name: [value] for name, value in (row | to_columns(axes)).items()}


def _turn_sigmas(best: Hypothesis) -> dict[str, float]:
    """Return the columns that say how surely an orientation is known, in degrees."""
    square = np.full(3, np.nan) if best.covariance is None else np.diag(best.covariance)
    return dict(zip(TURN_SIGMAS, np.degrees(np.sqrt(square)).tolist(), strict=True))

"""Decide which frames of a run are hits by their peaks and by a known crystal together."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Any

import numpy as np

from hitfinder import config
from hitfinder.finding.settings import FinderSettings
from hitfinder.job.outputs.findings import Findings
from hitfinder.job.outputs.registry import make_outputs
from hitfinder.job.rehit import (
    check_decidable,
    described,
    finished,
    kept_as_hits,
    kept_of,
    masked,
    opened,
    searched_again,
    settings_as_run,
    write_anew,
)
from hitfinder.progress import Advance
from hitfinder.results.chunk import ChunkResult
from hitfinder.results.crystalhits import CrystalEvidence
from hitfinder.results.run import RUN, Run
from hitfinder.results.store import Store

_ANY_SCORE = 1e9


@dataclasses.dataclass(frozen=True)
class JointHits:
    """Hits by peaks and crystal together.

    Attributes
    ----------
    by_peaks : int
        Hits by their peaks alone.
    more, fewer : int
        Frames that are hits by the crystal and were none, and those that are none any more.
    false_hits : float
        Share of frames without a crystal that are hits by either.
    """

    by_peaks: int
    more: int
    fewer: int
    false_hits: float


def decide_by_crystal(
    run: Run,
    evidence: Callable[[float, int], CrystalEvidence],
    crystal: dict[str, Any],
    show: Callable[[str, int], AbstractContextManager[Advance]],
) -> JointHits:
    """Decide on the hits of a finished run anew, and write its files so.

    The share of frames without a crystal that are hits stays that of the run: it holds for both
    looks together.

    Parameters
    ----------
    run : Run
        The run.
    evidence : callable
        Returns what the crystal says, from the score and the peaks that a hit needs.
    crystal : dict
        What ``run.json`` is to say of the crystal.
    show : callable
        As `hitfinder.progress.counting`.

    Raises
    ------
    HitfinderError
        If the run cannot be decided on again; nothing is written then. See
        `hitfinder.job.rehit.rehit`.
    """
    out = run.folder
    about = json.loads((out / RUN).read_bytes())
    check_decidable(run, about)
    settings = settings_as_run(run)
    finder = settings.finder
    experiment = opened(run)
    described(experiment, settings, about, out)
    outputs = make_outputs(settings.output)
    told, n_frames = kept_of(about), run.summary.frames
    told_by = evidence(finder.least_score, finder.min_peaks)
    with Store(out) as store:
        geometry = masked(experiment, settings)
        found = Findings(
            experiment, geometry, finished(out, finder, ChunkResult()), told, n_frames, told_by
        )
        ok, before = kept_as_hits(out, finder.least_score)
        by_peaks, hit, as_hit = _decided(found, finder.least_score)
        again = ChunkResult()
        for kept, threshold in ((True, -_ANY_SCORE), (False, _ANY_SCORE)):
            frames = np.flatnonzero(ok & (before != as_hit) & (as_hit == kept))
            searching = _with_threshold(finder, threshold)
            again.merge(searched_again(experiment, geometry, searching, frames, show))
        joint = JointHits(
            int(by_peaks.sum()),
            int((hit & ~by_peaks).sum()),
            int((by_peaks & ~hit).sum()),
            10**-finder.least_score,
        )
        told["crystal_hits"] = crystal | dataclasses.asdict(joint)
        found = Findings(
            experiment, geometry, finished(out, finder, again), told, n_frames, told_by
        )
        write_anew(store, outputs, found, about, estimate=settings.estimate)
    return joint


def _with_threshold(finder: FinderSettings, threshold: float) -> FinderSettings:
    return config.override(finder, hit_threshold=threshold)


def _decided(found: Findings, least_score: float) -> tuple[np.ndarray, ...]:
    """Return the hits by peaks alone, those by both, and the frames to keep peaks of as of hits."""
    alone = dataclasses.replace(found, crystal=None)
    by_peaks = np.concatenate([chunk.rows["hit"] for chunk in alone.chunks()])
    rows = np.concatenate([chunk.rows[["hit", "score", "doubt"]] for chunk in found.chunks()])
    as_hit = rows["hit"] | ((rows["score"] >= least_score) & (rows["doubt"] != ""))
    return by_peaks, rows["hit"], as_hit

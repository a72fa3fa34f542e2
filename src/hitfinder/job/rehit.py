"""Decide anew which frames of a finished run are hits, from the scores that it kept."""

from __future__ import annotations

import dataclasses
import datetime
import json
import logging
import os
import shutil
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet
from numpy.typing import NDArray

from hitfinder import atomic, config
from hitfinder.errors import ConfigError
from hitfinder.executors.inline import Inline
from hitfinder.experiment.experiment import Experiment
from hitfinder.finding.registry import FINDERS
from hitfinder.finding.settings import FinderSettings
from hitfinder.geometry.geometry import Geometry
from hitfinder.job.chunks import Chunk, ChunkWork
from hitfinder.job.finder_trial import FinderTrial
from hitfinder.job.folder import compare_jobs, fingerprint
from hitfinder.job.outputs.contract import Output
from hitfinder.job.outputs.findings import Findings
from hitfinder.job.outputs.registry import make_outputs
from hitfinder.job.outputs.write import write_outputs
from hitfinder.job.settings import JobSettings, settings_of_run
from hitfinder.job.static import learn_static
from hitfinder.progress import Advance, counting
from hitfinder.results.chunk import OK, ChunkResult
from hitfinder.results.finished import FinishedResults, maxima_of_hits, read_support, read_totals
from hitfinder.results.hits import FRAMES
from hitfinder.results.run import CRYSTALS, RUN, Run
from hitfinder.results.store import PARTS, Store

log = logging.getLogger(__name__)

BEFORE = "rehit.json"
"""In ``.parts``: ``run.json`` as it was, for a decision that was cut short to be made again."""

FRAMES_A_CHUNK = 8


def rehit(
    folder: str | os.PathLike[str],
    *,
    false_hits: float | None = None,
    hit_threshold: float | None = None,
    min_peaks: int | None = None,
    show: Callable[[str, int], AbstractContextManager[Advance]] = counting,
) -> Run:
    """Decide anew which frames of a finished run are hits; its files become as if run that way.

    The scores are those of the run. Frames that become hits, or are none any more, are searched
    again, since which peaks are kept depends on it; no other frame is read.

    Parameters
    ----------
    folder : str or PathLike
        Folder of the run.
    false_hits : float, optional
        Share of blank frames that may be called hits.
    hit_threshold : float, optional
        Least score of a hit, before `false_hits`.
    min_peaks : int, optional
        Least number of peaks of a hit.
    show : callable
        As `hitfinder.progress.counting`, which is the default.

    Raises
    ------
    HitfinderError
        If the folder holds no finished run, its frames are not there any more or have changed, or
        its finder decides on hits by itself. Nothing is written then.
    """
    out = Path(folder)
    restore(out)
    run = Run(out)
    about = json.loads((out / RUN).read_bytes())
    check_decidable(run, about)
    before = settings_as_run(run)
    after = _changed(before, false_hits, hit_threshold, min_peaks)
    experiment = opened(run)
    description = described(experiment, before, about, out)
    settings = dataclasses.replace(before, finder=after)
    outputs = make_outputs(settings.output)
    with Store(out) as store:
        geometry = masked(experiment, before)
        frames = _on_another_side(out, before.finder.least_score, after.least_score)
        again = searched_again(experiment, geometry, after, frames, show)
        results = finished(out, after, again)
        told = {
            **kept_of(about),
            "settings": config.flatten(settings),
            "hits_from": {"score": after.least_score, "false_hits": 10**-after.least_score},
            "fingerprint": description | config.flatten(after, "finder."),
            "decided_again": [*about.get("decided_again", []), _note(about, len(frames))],
        }
        found = Findings(experiment, geometry, results, told, run.summary.frames)
        write_anew(store, outputs, found, about, estimate=settings.estimate)
    if (out / CRYSTALS).exists():
        log.warning("%s is of the hits before: index the run again", out / CRYSTALS)
    return Run(out)


def kept_of(about: Mapping[str, Any]) -> dict[str, Any]:
    """Return what ``run.json`` says that does not follow from which frames are hits."""
    gone = ("counts", "verdict", "files", "wanting", "crystal_hits")
    return {key: value for key, value in about.items() if key not in gone}


def finished(out: Path, settings: FinderSettings, again: ChunkResult) -> FinishedResults:
    """Return the results of a run, decided by other settings of its finder.

    Parameters
    ----------
    out : Path
        Folder of the run.
    settings : FinderSettings
        What a hit needs.
    again : ChunkResult
        Frames that were searched again.
    """
    return FinishedResults(
        out,
        settings.least_score,
        settings.min_peaks,
        again,
        read_totals(out),
        read_support(out),
        maxima_of_hits(out),
    )


def write_anew(
    store: Store,
    outputs: Mapping[str, Output],
    found: Findings,
    about: Mapping[str, Any],
    *,
    estimate: bool,
) -> None:
    """Write the outputs of a finished run anew, so that it can be done again if it is cut short.

    Parameters
    ----------
    store : Store
        That of the run's folder; it is removed.
    outputs : mapping of str to Output
        The run's.
    found : Findings
        What to write.
    about : mapping
        ``run.json`` as it was.
    estimate : bool
        As for `hitfinder.job.outputs.write.write_outputs`.
    """
    with atomic.replacing(store.folder / BEFORE) as part:
        part.write_text(json.dumps(about, ensure_ascii=False), encoding="utf-8")
    write_outputs(outputs, found, store.folder.parent, estimate=estimate)
    store.remove()


def restore(out: Path) -> None:
    """Undo what a decision that was cut short has done to ``run.json``."""
    kept = out / PARTS / BEFORE
    if not kept.exists():
        return
    if not (out / RUN).exists():
        with atomic.replacing(out / RUN) as part:
            part.write_bytes(kept.read_bytes())
    Store(out).close()  # an error if another process is at it
    shutil.rmtree(out / PARTS)


def check_decidable(run: Run, about: Mapping[str, Any]) -> None:
    """Refuse runs that cannot be decided on again."""
    where = str(run.folder)
    if "live" in about:
        what = "a live run cannot be decided again: its frames are not kept, only those of its hits"
        raise ConfigError(what, where, "Look at other thresholds with 'hitfinder monitor RUN'.")
    if not run.summary.complete or about.get("wanting") or (run.folder / PARTS).exists():
        raise ConfigError("the run is not complete", where, "Complete it with --resume first.")
    name = run.settings.get("finder.finder", "")
    if about["hits_from"]["false_hits"] is None or not FINDERS.find(name).is_ours:
        raise ConfigError(f"finder {name!r} decides on hits by itself", where, "Run it again.")


def settings_as_run(run: Run) -> JobSettings:
    """Return the settings of a run, its files as they are reached from here."""
    settings = settings_of_run(run.settings, str(run.folder / RUN))
    return dataclasses.replace(settings, geometry=run.geometry_settings())


def _changed(
    settings: JobSettings, false_hits: float | None, threshold: float | None, least: int | None
) -> FinderSettings:
    if false_hits is None and threshold is None and least is None:
        raise ConfigError("nothing is to change", hint="Give --false-hits, for example.")
    finder = settings.finder
    if false_hits is not None:
        finder = dataclasses.replace(
            config.override(finder, false_hits=false_hits), hit_threshold=None
        )
    return config.override(finder, hit_threshold=threshold, min_peaks=least)


def opened(run: Run) -> Experiment:
    """Open the frames of a run."""
    return run.open_experiment(run.geometry) if run.has_given_geometry else run.experiment


def described(
    experiment: Experiment, settings: JobSettings, about: Mapping[str, Any], out: Path
) -> dict[str, Any]:
    """Return the fingerprint of the run, which must be what it was."""
    tried = FinderTrial.of(experiment.source, experiment.geometry, settings.finder).by(Inline())
    experiment.stored.close()
    now = fingerprint(experiment.stored, experiment.geometry, settings, tried.fingerprint)
    compare_jobs(about["fingerprint"], now, out, "Run hitfinder on the frames again.")
    return now


def masked(experiment: Experiment, settings: JobSettings) -> Geometry:
    """Return the geometry with what does not move masked, learnt as the run has learnt it."""
    geometry = experiment.geometry
    if not settings.hot_pixel_frames:
        return geometry
    static = learn_static(experiment.source, geometry, settings.hot_pixel_frames)
    detector = geometry.detector.with_mask(static.mask)
    return dataclasses.replace(geometry, detector=detector)


def kept_as_hits(out: Path, least_score: float) -> tuple[NDArray[np.bool_], ...]:
    """Return which frames of a run have results, and whose peaks are those of hits.

    Parameters
    ----------
    out : Path
        Folder of the run.
    least_score : float
        Score of a hit of the run.
    """
    table = pyarrow.parquet.read_table(out / FRAMES)
    ok = table["status"].to_numpy() == OK
    as_hit = table["score"].to_numpy() >= least_score
    joint = table["joint_score"] if "joint_score" in table.column_names else None
    if joint is not None and joint.null_count < len(joint):
        as_hit &= table["doubt"].to_numpy() != ""
        as_hit |= table["hit"].to_numpy()
    return ok, as_hit


def _on_another_side(out: Path, before: float, after: float) -> NDArray[np.int64]:
    """Return the frames whose peaks are kept as of a hit by one threshold and not by the other."""
    ok, as_hit = kept_as_hits(out, before)
    score = pyarrow.parquet.read_table(out / FRAMES, columns=["score"])["score"].to_numpy()
    return np.flatnonzero(ok & (as_hit != (score >= after)))


def searched_again(
    experiment: Experiment,
    geometry: Geometry,
    settings: FinderSettings,
    frames: NDArray[np.int64],
    show: Callable[[str, int], AbstractContextManager[Advance]],
) -> ChunkResult:
    """Search frames again.

    Raises
    ------
    ConfigError
        If one cannot be read.
    """
    source, whole = experiment.source, ChunkResult()
    work = ChunkWork(source, source.shape, source.dtype, geometry, settings)
    with show("frames that change", len(frames)) as advance, work.opened() as find:
        for start in range(0, len(frames), FRAMES_A_CHUNK):
            some = frames[start : start + FRAMES_A_CHUNK].tolist()
            found = find(Chunk(some, some[0]))
            for frame, problem in found.problems.items():
                raise ConfigError(f"frame {frame} cannot be searched again: {problem}")
            # They are in the totals of the run already.
            whole.merge(ChunkResult(found.frames, found.rows, found.peaks))
            advance(len(some))
    return whole


def _note(about: Mapping[str, Any], n_frames: int) -> dict[str, Any]:
    now = datetime.datetime.now().astimezone().isoformat(sep=" ", timespec="seconds")
    return {"at": now, "hits_from_before": about["hits_from"], "frames_searched_again": n_frames}

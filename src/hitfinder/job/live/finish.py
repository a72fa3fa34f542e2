"""Finishing a live run that was killed: what `hitfinder finish` runs."""

from __future__ import annotations

import contextlib
import dataclasses
import datetime
import json
import os
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from hitfinder import atomic
from hitfinder.errors import ConfigError
from hitfinder.experiment.open import open_experiment
from hitfinder.finding.static.places import Places
from hitfinder.io.ledger import FrameLedger
from hitfinder.io.open import open_source
from hitfinder.io.simplon.images import DAMAGED
from hitfinder.io.simplon.series import NOT_RECEIVED, PASSED_OVER
from hitfinder.job.live.kept import (
    FRAMES_FILE,
    described,
    fill_gaps,
    remove_shards,
    write_places,
)
from hitfinder.job.live.status import INTERRUPTED, LIVE
from hitfinder.job.live.work import SHARDS
from hitfinder.job.outputs.findings import Findings, FrameCounts
from hitfinder.job.outputs.registry import make_outputs
from hitfinder.job.pipeline import load_static
from hitfinder.job.prepared import PreparedJob
from hitfinder.job.settings import JobSettings, settings_of_run
from hitfinder.results.chunk import OK
from hitfinder.results.following import FollowedStore
from hitfinder.results.run import RUN, Run
from hitfinder.results.store import PARTS, Store

KILLED = "the program was killed"


def finish(folder: str | os.PathLike[str]) -> Run:
    """Write what a live run would have written that was killed.

    Every frame whose result was on disk is in the outputs, as after Ctrl-C. It may be killed, and
    begun again, itself.

    Parameters
    ----------
    folder : str or PathLike
        Folder of the run, of one series.

    Returns
    -------
    Run
        The results; ``summary.complete`` is False, unless only tidying was left.

    Raises
    ------
    HitfinderError
        If the folder holds no live run that was killed, or it is at work.
    """
    out = Path(folder)
    if not (out / PARTS).is_dir():
        return _tidied(out)
    with Store(out) as store:
        job = store.load_job()
        if job is not None and "live" not in job:
            hint = "Complete it by the same `hitfinder run` with --resume."
            raise ConfigError("the unfinished run is none of `hitfinder live`", str(out), hint)
        if _is_complete(out) or ((out / RUN).exists() and not (out / SHARDS).is_dir()):
            # All was written; the end of the tidying was missing.
            store.remove()
            return _tidied(out)
        if job is None or not (out / PARTS / RUN).exists():
            what = "the run was killed before its first frame: nothing was recorded"
            raise ConfigError(what, str(out), "Delete the folder.")
        _write(out, store, job)
    return Run(out)


def _tidied(out: Path) -> Run:
    run = Run(out)
    remove_shards(out)
    return run


def _is_complete(out: Path) -> bool:
    with contextlib.suppress(OSError, ValueError, KeyError, TypeError):
        return bool(json.loads((out / RUN).read_bytes())["complete"])
    return False


def _write(out: Path, store: Store, job: dict[str, Any]) -> None:
    about = FollowedStore(out).about
    store.resume(again=False)
    settings = _settings(out, about)
    n_frames = fill_gaps(store, KILLED)
    with open_source(str(out / FRAMES_FILE)) as source:
        description = described(source)
    write_places(out, description, max(n_frames, 1))
    experiment = open_experiment([out / FRAMES_FILE], settings.geometry)
    experiment.stored.close()
    told, from_score = _last_told(out), about["hits_from"]
    least = None if from_score["false_hits"] is not None else from_score["score"]
    outputs = make_outputs(settings.output)
    prepared = PreparedJob(
        [str(out / FRAMES_FILE)], out, settings, experiment, store, outputs, least
    )
    started = datetime.datetime.fromisoformat(about["started"])
    ledger = _ledger(store, told.get("ledger", {}))
    live = {
        **about["live"],
        "ended": KILLED,
        "ledger": ledger,
        "messages": told.get("messages", {}),
    }
    seconds = max(float(told.get("updated", 0)) - started.timestamp(), 0.0)
    timings = {
        "seconds": round(seconds, 3),
        "frames_in_this_session": ledger["processed"],
        "frames_per_second": round(ledger["processed"] / seconds, 3) if seconds else None,
        "workers": settings.workers,
    }
    static = load_static(store) or Places.none(experiment.geometry.shape)
    found = prepared.findings(job, static, started, timings, complete=False, live=live)
    found = dataclasses.replace(found, n_frames=n_frames)
    prepared.write(found, interrupted=True)
    if told:
        _tell(out, told | {"ledger": ledger}, found)
    remove_shards(out)
    store.remove()


def _tell(out: Path, told: dict[str, Any], found: Findings) -> None:
    """Let ``live.json`` say how it ended."""
    counts = FrameCounts.of(found).told()
    told["counts"] = {name: counts[name] for name in told["counts"] if name in counts}
    told |= {"state": INTERRUPTED, "updated": round(time.time(), 3)}
    with atomic.replacing(out / LIVE) as part:
        part.write_text(json.dumps(told, allow_nan=False) + "\n", encoding="utf-8")


def _settings(out: Path, about: Mapping[str, Any]) -> JobSettings:
    """Return the settings of the run, its files as they are reached from here."""
    run = Run.at_work(out, about)
    settings = settings_of_run(run.settings, str(out / PARTS / RUN))
    return dataclasses.replace(settings, geometry=run.geometry_settings())


def _last_told(out: Path) -> dict[str, Any]:
    """Return what the run said of itself last; nothing if that cannot be read."""
    with contextlib.suppress(OSError, ValueError, TypeError):
        return dict(json.loads((out / LIVE).read_bytes()))
    return {}


def _ledger(store: Store, last: Mapping[str, Any]) -> dict[str, Any]:
    """Return the ledger by the rows on disk; what no row tells is as it was told last."""
    n: dict[str, int] = {}
    for chunk in store.chunks():
        for status, count in zip(*np.unique(chunk.rows["status"], return_counts=True), strict=True):
            n[str(status)] = n.get(str(status), 0) + int(count)
    passed, gaps = n.pop(PASSED_OVER, 0), n.pop(NOT_RECEIVED, 0)
    processed, damaged = n.pop(OK, 0), n.pop(DAMAGED, 0)
    failed, duplicates = sum(n.values()), int(last.get("duplicates", 0))
    received = processed + damaged + failed + passed + duplicates
    expected = last.get("expected")
    return FrameLedger(
        None if expected is None else max(int(expected), received - duplicates),
        received=received,
        duplicates=duplicates,
        passed_over=passed,
        damaged=damaged,
        processed=processed,
        failed=failed,
        written=processed + damaged + failed,
        gaps=gaps,
        slowest_s=float(last.get("slowest_s", 0)),
    ).told()


def refuse_leftovers(out: Path, overwrite: bool) -> None:
    """Refuse a folder that is not empty before a detector is waited for.

    Raises
    ------
    ConfigError
        If something is in it that is not to be replaced.
    """
    if overwrite or not out.is_dir() or not any(out.iterdir()):
        return
    if (out / PARTS).is_dir():
        hint = f"`hitfinder finish {out}` writes what it had found; --overwrite throws it away."
        raise ConfigError("holds a run that did not end", str(out), hint)
    raise ConfigError(
        "the folder is not empty", str(out), "Choose another one, or --overwrite to replace it."
    )

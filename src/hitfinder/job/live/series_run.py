"""One series, from its first frame to a folder as `hitfinder run` leaves it."""

from __future__ import annotations

import dataclasses
import datetime
import logging
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

import hitfinder
from hitfinder import config
from hitfinder.errors import ConfigError, SourceError
from hitfinder.executors.contract import Done, Executor, Lost
from hitfinder.experiment.experiment import Experiment, open_experiment
from hitfinder.export.cxi import CxiSummary, write_cxi_geom
from hitfinder.finding.static.learner import StaticLearner
from hitfinder.geometry.geometry import Geometry
from hitfinder.io.ledger import open_ends
from hitfinder.io.simplon.images import DAMAGED, PackedFrame
from hitfinder.io.simplon.series import Batch, Series
from hitfinder.job.chunks import ChunkWork
from hitfinder.job.folder import open_folder
from hitfinder.job.live.feeds import Feed
from hitfinder.job.live.kept import (
    FRAMES_FILE,
    SeriesDescription,
    remove_shards,
    write_places,
)
from hitfinder.job.live.status import (
    FINISHED,
    INTERRUPTED,
    LIVE_FILES,
    RUNNING,
    WRITING,
    LiveStatus,
)
from hitfinder.job.live.work import SHARDS, ChunkFrames, LiveChunk, LiveWork, masked
from hitfinder.job.outputs.registry import make_outputs
from hitfinder.job.outputs.write import write_outputs
from hitfinder.job.pipeline import try_out
from hitfinder.job.run import PreparedJob, check_model
from hitfinder.job.settings import TABLES, JobSettings
from hitfinder.results.chunk import FAILED, OK, ChunkResult
from hitfinder.results.hits import HITS_GEOM
from hitfinder.results.run import Run
from hitfinder.results.store import Store

log = logging.getLogger(__name__)

FRAMES_AT_ONCE = 8
"""Frames that a worker is given together, at most."""

TABLES_EVERY_S, TABLES_SHARE = 5.0, 20
"""The tables are written so often, or less often if that takes more than this part of the time."""

FIRST_LESSON = 16
"""Frames after which it is first asked what is static; then when twice as many were looked at, or
as many more as are remembered."""

_LOOK_AGAIN_S = 0.01


@dataclasses.dataclass(frozen=True)
class LiveSettings:
    """What is special of a live run.

    Parameters
    ----------
    longest_wait_s : float
        Frames that wait longer to be processed are passed over for newer ones.
    timeout_s : float, optional
        A series ends if no message comes for so long; never if None.
    """

    longest_wait_s: float = 2.0
    timeout_s: float | None = None


class SeriesRun:
    """Processes the frames of a series as they come.

    Parameters
    ----------
    folder : Path
        Where the results go.
    source : str
        Where the frames come from, as the user named it.
    feed : Feed
        Gives the frames.
    series : Series
        The series, of which an image has come.
    description : SeriesDescription
        What is known of it.
    settings : JobSettings
        Everything that can be set about a run.
    live : LiveSettings
        What is special of this one.
    overwrite : bool
        Replace the results in the folder.

    Raises
    ------
    HitfinderError
        If folder, settings or geometry cannot be used; nothing is left in the folder then.
    """

    def __init__(
        self,
        folder: Path,
        source: str,
        feed: Feed,
        series: Series,
        description: SeriesDescription,
        settings: JobSettings,
        live: LiveSettings,
        overwrite: bool = False,
    ) -> None:
        self._folder, self._source, self._feed = folder, source, feed
        self._series, self._description = series, description
        self._settings, self._live = settings, live
        self._began, self._started = time.perf_counter(), datetime.datetime.now().astimezone()
        self._print: dict[str, Any] = {
            "hitfinder version": hitfinder.__version__,
            "live": source,
            **config.flatten(settings.finder, "finder."),
        }
        outputs = make_outputs(settings.output)
        files = [file for output in outputs.values() for file in output.files]
        ours = (*files, *LIVE_FILES, FRAMES_FILE)
        store = open_folder(folder, self._print, False, overwrite, ours)
        assert store is not None
        try:
            self._job = self._begin(store, outputs)
        except BaseException:
            store.remove()
            remove_shards(folder)
            for name in (FRAMES_FILE, HITS_GEOM):
                (folder / name).unlink(missing_ok=True)
            raise

    def _begin(self, store: Store, outputs: Mapping[str, Any]) -> PreparedJob:
        remove_shards(self._folder)
        (self._folder / SHARDS).mkdir()
        write_places(self._folder, self._description)
        experiment = self._experiment()
        experiment.log()
        check_model(self._settings.finder, experiment.geometry)
        tried = try_out(experiment.source, experiment.geometry, self._settings.finder)
        write_cxi_geom(
            self._folder / HITS_GEOM,
            experiment.geometry,
            CxiSummary(
                0, 0, experiment.geometry.photon_energy_ev, experiment.geometry.camera_length_m
            ),
            directives=experiment.directives,
            comments=["Goes with the shards of a live run, written by hitfinder."],
        )
        least = getattr(tried, "least_score", None)
        inputs = [str(self._folder / FRAMES_FILE)]
        return PreparedJob(inputs, self._folder, self._settings, experiment, store, outputs, least)

    def _experiment(self) -> Experiment:
        experiment = open_experiment([self._folder / FRAMES_FILE], self._settings.geometry)
        experiment.stored.close()
        if experiment.source is not experiment.stored:
            what = "the counts of a stream are photons as they come"
            hint = "Leave out --adu-per-photon, and flags of the geometry file."
            raise ConfigError(what, str(self._settings.geometry.file or ""), hint)
        return experiment

    def run(self) -> Run:
        """Process the series until it ends, and write the folder."""
        geometry = self._job.experiment.geometry
        about = {
            "source": self._source,
            "protocol": self._feed.protocol,
            "series": None if self._feed.one_series else self._series.id.number,
            "hits_from": self._job.hits_from(),
            "geometry": self._job.geometry_told(geometry),
        }
        status = LiveStatus(self._folder, about, self._series.told, self._feed.messages)
        searching = _Searching(self, status, geometry)
        with self._job.store, status:
            interrupted = False
            try:
                with self._job.executor() as executor:
                    n_workers = executor.n_workers
                    searching.run(executor)
            except KeyboardInterrupt:
                interrupted = True
                log.warning("interrupted; writing what was found so far")
            self._series.give_up()
            status.state = WRITING
            self._finish(searching, n_workers, interrupted, status)
            status.state = INTERRUPTED if interrupted else FINISHED
        return Run(self._folder)

    def _finish(
        self, searching: _Searching, n_workers: int, interrupted: bool, status: LiveStatus
    ) -> None:
        """Write what `hitfinder run` writes; then what was for the time being can go."""
        n_frames = max(self._series.n_numbered, 1)
        write_places(self._folder, self._description, n_frames)
        self._job = dataclasses.replace(self._job, experiment=self._experiment())
        found = self.findings(searching, n_workers, complete=not interrupted)
        status.learn(found.doubts, self.store.chunks())
        wrong = open_ends(found.about["live"]["ledger"])
        if wrong:
            log.error("the ledger does not close: %s", "; ".join(wrong))
        self._job.write(found, interrupted)
        remove_shards(self._folder)
        if self._job.store.folder.exists():
            self._job.store.remove()

    def findings(self, searching: _Searching, n_workers: int, *, complete: bool) -> Any:
        """Put together what was found so far, and what ``run.json`` says of it."""
        seconds = time.perf_counter() - self._began
        done = self._series.ledger.processed
        timings = {
            "seconds": round(seconds, 3),
            "frames_in_this_session": done,
            "frames_per_second": round(done / seconds, 3),
            "workers": n_workers,
        }
        live = {
            "source": self._source,
            "protocol": self._feed.protocol,
            "series": self._series.id.number,
            "ended": self._series.ended,
            "ledger": self._series.told(),
            "messages": self._feed.messages(),
        }
        found = self._job.findings(
            self._print,
            searching.learner.places,
            self._started,
            timings,
            complete=complete,
            live=live,
        )
        return dataclasses.replace(found, n_frames=self._series.n_numbered)

    def write_tables(self, searching: _Searching, n_workers: int, status: LiveStatus) -> None:
        """Write the tables and ``run.json`` of what was found so far; let the status know."""
        found = self.findings(searching, n_workers, complete=False)
        # The frames have no file yet that has a place for each of them.
        shape, dtype = self._description.shape, self._description.dtype
        places = ChunkFrames(str(self._folder / FRAMES_FILE), {}, shape, dtype)
        experiment = dataclasses.replace(found.experiment, stored=places)
        found = dataclasses.replace(found, experiment=experiment)
        tables = {TABLES: self._job.outputs[TABLES]}
        write_outputs(tables, found, self._folder, estimate=False)
        status.learn(found.doubts, self.store.chunks())

    @property
    def settings(self) -> JobSettings:
        """Everything that can be set about a run."""
        return self._settings

    @property
    def live(self) -> LiveSettings:
        """What is special of this run."""
        return self._live

    @property
    def series(self) -> Series:
        """The series."""
        return self._series

    @property
    def store(self) -> Store:
        """Where results are kept."""
        return self._job.store

    def work(self, geometry: Geometry) -> LiveWork:
        """Return the work of a worker."""
        description = self._description
        search = ChunkWork(
            None,
            description.shape,
            description.dtype,
            geometry,
            self._settings.finder,
            self._settings.estimate,
        )
        return LiveWork(search, self._folder, str(self._folder / FRAMES_FILE))

    @property
    def heard_s(self) -> float | None:
        """When something last came."""
        return self._feed.heard_s


class _Searching:
    """The flow of the frames through an executor, and what is learnt on the way."""

    def __init__(self, run: SeriesRun, status: LiveStatus, geometry: Geometry) -> None:
        self._run, self._status, self._geometry = run, status, geometry
        self.learner = StaticLearner(geometry, most=run.settings.hot_pixel_frames or 1)
        self._learns = run.settings.hot_pixel_frames > 0
        self._seen, self._next_look, self._looks, self._lesson = 0, 0, 0, FIRST_LESSON
        self._came: dict[int, float] = {}
        self._is_over, self._has_learnt = False, False
        # Until workers have started, no frame is too old.
        self._ready_s = float("inf")
        self._tables_at = time.monotonic() + TABLES_EVERY_S

    def run(self, executor: Executor) -> None:
        """Process the frames until the series is over."""
        while not self._is_over:
            # What was just learnt is masked in all that comes after.
            self._has_learnt = False
            geometry = masked(self._geometry, self.learner.places.mask)
            for outcome in executor.run(self._run.work(geometry), self._tasks()):
                self._settle(outcome)
                self._write_tables(executor.n_workers)

    def _tasks(self) -> Iterator[LiveChunk | None]:
        series, live = self._run.series, self._run.live
        while not self._has_learnt:
            self._end_if_quiet()
            if series.is_over:
                self._is_over = True
                return
            batch = series.batch(
                FRAMES_AT_ONCE, longest_wait_s=live.longest_wait_s, since_s=self._ready_s
            )
            if batch is None:
                time.sleep(_LOOK_AGAIN_S)
                yield None
                continue
            self._came |= {number: one.at_s for number, one in batch.images.items()}
            self._look(batch)
            images = {number: one.image for number, one in batch.images.items()}
            yield LiveChunk(batch.first, batch.stop, images, batch.others)

    def _end_if_quiet(self) -> None:
        timeout, heard = self._run.live.timeout_s, self._run.heard_s
        if timeout is not None and heard is not None and time.monotonic() - heard > timeout:
            self._run.series.end(self._run.series.ended or f"nothing came for {timeout:g} s")

    def _look(self, batch: Batch) -> None:
        """Let the learner see the first frames, and then one now and then."""
        for number, one in batch.images.items() if self._learns else ():
            self._seen += 1
            if self._seen > self._next_look and not isinstance(one.image, str):
                self._next_look = self._seen + self._seen // self._run.settings.hot_pixel_frames
                self._learn_from(number, one.image)

    def _learn_from(self, number: int, image: PackedFrame) -> None:
        try:
            frame = image.unpacked()
        except SourceError:
            return
        if frame.shape != self._geometry.shape:
            return
        self.learner.look(number, frame)
        self._looks += 1
        if self._looks >= self._lesson:
            self._lesson += min(self._looks, self._run.settings.hot_pixel_frames)
            self._has_learnt |= self.learner.learn()
            self._status.static_pixels = int(self.learner.places.mask.sum())

    def _settle(self, outcome: Done[LiveChunk, ChunkResult] | Lost[LiveChunk]) -> None:
        """Keep the results of a chunk, and note what became of its frames."""
        chunk = outcome.task
        if isinstance(outcome, Lost):
            result = chunk.without_results(FAILED, f"the worker process died: {outcome.why}")
        else:
            result = outcome.result
        self._run.store.add(chunk.first, result)
        now = time.monotonic()
        delays = {number: now - self._came.pop(number) for number in chunk.images}
        rows = result.rows["status"][np.isin(result.frames, list(chunk.images))]
        processed, damaged = int((rows == OK).sum()), int((rows == DAMAGED).sum())
        self._run.series.settle(
            processed=processed,
            damaged=damaged,
            failed=len(rows) - processed - damaged,
            slowest_s=max(delays.values()),
        )
        self._ready_s = min(self._ready_s, now)
        self._status.take(result, delays)

    def _write_tables(self, n_workers: int) -> None:
        began = time.monotonic()
        if began < self._tables_at or self._status.state != RUNNING:
            return
        self._run.write_tables(self, n_workers, self._status)
        took = time.monotonic() - began
        self._tables_at = time.monotonic() + max(TABLES_EVERY_S, TABLES_SHARE * took)

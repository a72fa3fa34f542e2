"""One series, from its first frame to a folder as `hitfinder run` leaves it."""

from __future__ import annotations

import dataclasses
import datetime
import logging
import threading
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import hitfinder
from hitfinder import config
from hitfinder.executors.contract import Executor
from hitfinder.executors.inline import Inline
from hitfinder.experiment.experiment import Experiment
from hitfinder.experiment.open import open_experiment
from hitfinder.export.cxi import CxiSummary, write_cxi_geom
from hitfinder.export.hit_message import message_geom_lines
from hitfinder.geometry.crystfel import write_geom
from hitfinder.geometry.geometry import Geometry
from hitfinder.io.ledger import open_ends
from hitfinder.io.simplon.series import Series
from hitfinder.job.chunks import ChunkWork
from hitfinder.job.finder_trial import FinderTrial
from hitfinder.job.folder import open_folder
from hitfinder.job.live.beam import BeamWatch
from hitfinder.job.live.checks import counts_are_photons
from hitfinder.job.live.feeds import Feed
from hitfinder.job.live.follower import Follower, Followers
from hitfinder.job.live.handing import HandingOn
from hitfinder.job.live.index_rate import IndexPool
from hitfinder.job.live.kept import (
    FRAMES_FILE,
    SeriesDescription,
    fill_gaps,
    remove_shards,
    write_places,
)
from hitfinder.job.live.remarks import remarks
from hitfinder.job.live.searching import Searching
from hitfinder.job.live.settings import LiveSettings
from hitfinder.job.live.status import FINISHED, INTERRUPTED, LIVE_FILES, WRITING, LiveStatus
from hitfinder.job.live.upkeep import Upkeep
from hitfinder.job.live.work import SHARDS, LiveWork
from hitfinder.job.outputs.registry import make_outputs
from hitfinder.job.outputs.write import write_outputs
from hitfinder.job.prepared import PreparedJob
from hitfinder.job.run import check_model
from hitfinder.job.settings import TABLES, JobSettings
from hitfinder.results.hits import HITS_GEOM
from hitfinder.results.run import Run
from hitfinder.results.store import Store

log = logging.getLogger(__name__)

MESSAGE_GEOM = "hits-zmq.geom"
"""The geometry file by which CrystFEL reads hits that are handed on."""


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
        self._messages_before = feed.messages()
        self._settings, self._live = settings, live
        self._began, self._started = time.perf_counter(), datetime.datetime.now().astimezone()
        self._print: dict[str, Any] = {
            "hitfinder version": hitfinder.__version__,
            "live": source,
            **config.flatten(settings.finder, "finder."),
        }
        outputs = make_outputs(settings.output)
        files = [file for output in outputs.values() for file in output.files]
        ours = (*files, *LIVE_FILES, FRAMES_FILE, MESSAGE_GEOM)
        store = open_folder(folder, self._print, False, overwrite, ours)
        assert store is not None
        try:
            self._job = self._begin(store, outputs)
            self._followers = Followers(self._following())
            # With it `hitfinder finish` can write what was found if this is killed.
            store.save_about(self._job.beforehand(self._started) | {"live": self._source_told()})
        except BaseException:
            store.remove()
            remove_shards(folder)
            for name in (FRAMES_FILE, HITS_GEOM, MESSAGE_GEOM):
                (folder / name).unlink(missing_ok=True)
            raise

    def _begin(self, store: Store, outputs: Mapping[str, Any]) -> PreparedJob:
        remove_shards(self._folder)
        (self._folder / SHARDS).mkdir()
        write_places(self._folder, self._description)
        experiment = self._experiment()
        experiment.log()
        check_model(self._settings.finder, experiment.geometry)
        tried = FinderTrial.of(experiment.source, experiment.geometry, self._settings.finder).by(
            Inline()
        )
        write_cxi_geom(
            self._folder / HITS_GEOM,
            experiment.geometry,
            CxiSummary(
                0, 0, experiment.geometry.photon_energy_ev, experiment.geometry.camera_length_m
            ),
            directives=experiment.directives,
            comments=["Goes with the shards of a live run, written by hitfinder."],
        )
        if self._live.senders:
            lines = message_geom_lines(
                experiment.geometry,
                experiment.directives,
                ["Goes with the hits that a live run hands on over ZeroMQ, written by hitfinder."],
            )
            write_geom(self._folder / MESSAGE_GEOM, lines)
        least = tried.least_score
        inputs = [str(self._folder / FRAMES_FILE)]
        return PreparedJob(inputs, self._folder, self._settings, experiment, store, outputs, least)

    def _experiment(self) -> Experiment:
        experiment = open_experiment([self._folder / FRAMES_FILE], self._settings.geometry)
        experiment.stored.close()
        if experiment.source is not experiment.stored:
            raise counts_are_photons(self._settings.geometry)
        return experiment

    def run(self, executor: Executor) -> Run:
        """Process the series until it ends, and write the folder.

        Parameters
        ----------
        executor : Executor
            Whose workers do it.
        """
        status = LiveStatus(
            self._folder, self._about(), self._series.told, self._feed.messages, self._followers
        )
        searching = Searching(self, status, self._followers, self._job.experiment.geometry)
        with self._job.store, status:
            interrupted = False
            try:
                with (
                    self._followers,
                    Upkeep(
                        self._folder,
                        self.store,
                        lambda stopping: self._write_tables(searching, executor, status, stopping),
                    ),
                ):
                    searching.run(executor)
            except KeyboardInterrupt:
                interrupted = True
                log.warning("interrupted; writing what was found so far")
            self._series.give_up()
            status.state = WRITING
            self._finish(searching, executor.n_workers, interrupted, status)
            status.state = INTERRUPTED if interrupted else FINISHED
        return Run(self._folder)

    def _source_told(self) -> dict[str, Any]:
        """Return where the frames come from."""
        return {
            "source": self._source,
            "protocol": self._feed.protocol,
            "series": self._series.id.number,
        }

    def _about(self) -> dict[str, Any]:
        """Return what ``live.json`` says that does not change."""
        return {
            "source": self._source,
            "protocol": self._feed.protocol,
            "series": None if self._feed.one_series else self._series.id.number,
            "hits_from": self._job.hits_from(),
            "geometry": self._job.geometry_told(self._job.experiment.geometry),
        }

    def _following(self) -> Iterator[Follower]:
        """Yield what takes in the results as they come."""
        experiment = self._job.experiment
        if self._settings.estimate and not experiment.geometry.detector.full_mask.all():
            yield BeamWatch(experiment.geometry, experiment.origin)
        live = self._live
        if live.lattice is not None:
            yield IndexPool(experiment.geometry, live.lattice, live.index_workers, live.bandwidth)
        if self._live.senders:
            yield HandingOn(self._live.senders, self._source, self._series.id.number)

    def _finish(
        self, searching: Searching, n_workers: int, interrupted: bool, status: LiveStatus
    ) -> None:
        """Write what `hitfinder run` writes; then what was for the time being can go."""
        series = self._series
        fill_gaps(self.store, "the run was ended", series.n_numbered, series.missing)
        n_frames = max(self._series.n_numbered, 1)
        write_places(self._folder, self._description, n_frames)
        self._job = dataclasses.replace(self._job, experiment=self._experiment())
        found = self._findings(searching, n_workers, complete=not interrupted)
        status.learn(found.doubts, self.store.chunks())
        wrong = open_ends(found.about["live"]["ledger"])
        if wrong:
            log.error("the ledger does not close: %s", "; ".join(wrong))
        came = {
            kind: n - self._messages_before.get(kind, 0)
            for kind, n in self._feed.messages().items()
        }
        for words in remarks(self._series.told(), self._series.ended, came):
            log.warning("%s: %s", self._source if self._feed.one_series else series.id, words)
        self._job.write(found, interrupted)
        remove_shards(self._folder)
        if self._job.store.folder.exists():
            self._job.store.remove()

    def _findings(self, searching: Searching, n_workers: int, *, complete: bool) -> Any:
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
            **self._source_told(),
            "ended": self._series.ended,
            "ledger": self._series.told(),
            "messages": self._feed.messages(),
            **self._followers.told(),
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

    def _write_tables(
        self,
        searching: Searching,
        executor: Executor,
        status: LiveStatus,
        stopping: threading.Event,
    ) -> None:
        """Write the tables and ``run.json`` of what was found so far; let the status know."""
        with searching.settling:
            store, then = self.store.as_it_is(stopping), status.counts()
        found = self._findings(searching, executor.n_workers, complete=False)
        # The frames have no file yet that has a place for each of them.
        places = self.work(found.experiment.geometry).frames({})
        experiment = dataclasses.replace(found.experiment, stored=places)
        found = dataclasses.replace(found, experiment=experiment, store=store)
        tables = {TABLES: self._job.outputs[TABLES]}
        write_outputs(tables, found, self._folder, estimate=False)
        status.learn(found.doubts, store.chunks(), then)

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

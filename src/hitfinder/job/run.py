"""A whole job, from inputs to the files in the output folder; what `hitfinder run` runs."""

from __future__ import annotations

import contextlib
import dataclasses
import datetime
import importlib.metadata
import logging
import os
import platform
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any, Unpack

import numpy as np

import hitfinder
from hitfinder import config
from hitfinder.errors import ConfigError
from hitfinder.estimate import temperature
from hitfinder.executors.contract import Executor
from hitfinder.executors.inline import Inline
from hitfinder.executors.processes import Processes, available_cores
from hitfinder.experiment.experiment import Experiment
from hitfinder.experiment.open import open_experiment
from hitfinder.finding.registry import FINDERS
from hitfinder.finding.settings import FinderSettings
from hitfinder.finding.static.places import Places
from hitfinder.geometry.geometry import Geometry
from hitfinder.interrupts import terminate_as_interrupt
from hitfinder.io.open import Input, listed
from hitfinder.job.folder import changed_inputs, check_name, fingerprint, open_folder
from hitfinder.job.outputs.contract import Output
from hitfinder.job.outputs.findings import Findings
from hitfinder.job.outputs.registry import make_outputs
from hitfinder.job.outputs.write import write_outputs
from hitfinder.job.pipeline import Pipeline, chunk_size, load_static, try_out
from hitfinder.job.settings import JobSettings, RunOptions, job_settings
from hitfinder.lazy import import_meanwhile
from hitfinder.network import model as peak_model
from hitfinder.plugins import is_of_this_session
from hitfinder.progress import Advance, counting
from hitfinder.results.chunk import PENDING
from hitfinder.results.run import Run
from hitfinder.results.store import Store

log = logging.getLogger(__name__)

MOST_PLACES = 500
"""Static places that ``run.json`` lists, those that make most hits first."""

LIBRARIES = ("numpy", "numba", "h5py", "hdf5plugin", "scipy", "pyarrow", "onnxruntime")


def run(
    inputs: Input | Sequence[Input],
    out: str | os.PathLike[str],
    settings: JobSettings | str | os.PathLike[str] | None = None,
    *,
    geometry: Geometry | str | os.PathLike[str] | None = None,
    resume: bool = False,
    overwrite: bool = False,
    executor: Executor | None = None,
    structure: str | os.PathLike[str] | None = None,
    cell: str | os.PathLike[str] | Sequence[float] | None = None,
    bandwidth: float | None = None,
    show: Callable[[str, int], AbstractContextManager[Advance]] = counting,
    **changes: Unpack[RunOptions],
) -> Run:
    """Find the hits and peaks in frames and write them to a folder.

    This is what the command ``hitfinder run`` runs.

    Parameters
    ----------
    inputs : str, Path, ndarray, or sequence of them
        Files, folders, patterns or lists, as for `hitfinder.open`; or arrays of photon counts.
    out : str or PathLike
        Output folder.
    settings : JobSettings, str or PathLike, optional
        Everything that can be set, or a TOML file of it.
    geometry : Geometry, str or PathLike, optional
        Where the pixels are, or a CrystFEL geometry file. Without it the frames' files say it.
    resume, overwrite : bool
        Go on with the run in the folder; replace the results in it.
    executor : Executor, optional
        Has the frames processed; by default as many processes as the settings say.
    structure, cell : optional
        What is known of the crystal, as for `hitfinder.index`. Then the pixels of the hits and
        near misses are searched for it, and both looks decide on the hits.
    bandwidth : float, optional
        For that search, as for `hitfinder.index`.
    show : callable
        As `hitfinder.progress.counting`, which is the default.
    **changes
        Single settings, which come before `settings`: the fields of `JobSettings` and of the
        tables in it, `GeometrySettings`, `FinderSettings` and `OutputSettings`. ``finder`` is the
        finder's name, ``module:Class`` or class, ``finder_options`` are its options.

    Returns
    -------
    Run
        The results. After Ctrl-C they hold what was finished, and ``summary.complete`` is False.

    Raises
    ------
    HitfinderError
        If inputs, settings, geometry, crystal or folder cannot be used; no output is written then.
        If only the search for the crystal fails, the run is written without it.
    ValueError
        If an input is neither a path nor an array.

    Examples
    --------
    >>> import hitfinder as hf
    >>> run = hf.run("run7_master.h5", "found", finder="likelihood", workers=1)
    >>> run.summary.hits
    8
    >>> run.frames.select(["hit", "n_peaks"]).slice(0, 2).to_pylist()
    [{'hit': True, 'n_peaks': 8}, {'hit': False, 'n_peaks': 0}]
    """
    folder, given = Path(out), listed(inputs)
    if resume and overwrite:
        raise ConfigError("resume and overwrite exclude each other")
    for name in (*map(_name, given), str(folder), os.getcwd()):
        check_name(name)
    if structure is not None or cell is not None:
        from hitfinder.job.indexing.index import known_of, search_finished

        known_of(cell, structure)  # its errors come before the frames are read
    in_python, file = (geometry, None) if isinstance(geometry, Geometry) else (None, geometry)
    chosen = job_settings(settings, {**changes, "geometry": file})
    doing, own = executor, None
    if doing is None:
        doing = own = executor_of(chosen)
    with contextlib.ExitStack() as workers:
        if own is not None:
            workers.enter_context(own)
        experiment = open_experiment(
            given,
            chosen.geometry,
            in_python,
            reader=chosen.reader,
            frames=chosen.frames,
            limit=chosen.limit,
            executor=own,
        )
        experiment.log()
        if own is not None:
            # They import what they need while this process looks at what it is given.
            start_workers(own, chosen.finder, len(experiment.stored))
        check_model(chosen.finder, experiment.geometry)
        tried = try_out(experiment.source, experiment.geometry, chosen.finder)
        experiment.stored.close()
        model = getattr(tried, "fingerprint", "")
        description = fingerprint(experiment.stored, experiment.geometry, chosen, model)
        outputs = make_outputs(chosen.output)
        files = [file for output in outputs.values() for file in output.files]
        store = open_folder(folder, description, resume, overwrite, files)
        if store is None:
            log.info("the run in %s is complete already", folder)
        else:
            with store:
                names, least = [_name(item) for item in given], getattr(tried, "least_score", None)
                job = PreparedJob(names, folder, chosen, experiment, store, outputs, least)
                job.run(description, doing, workers, show)
    done = Run(folder, was_complete=store is None)
    if structure is None and cell is None:
        return done
    searched = search_finished(
        done,
        cell,
        structure,
        bandwidth=bandwidth,
        workers=chosen.workers,
        executor=executor,
        csv=chosen.output.csv,
        show=show,
    )
    return done if searched is None else Run(folder)


def _name(item: Input) -> str:
    if isinstance(item, np.ndarray):
        return f"array of shape {item.shape}"
    return os.fspath(item)


def check_model(settings: FinderSettings, geometry: Geometry) -> None:
    """Warn if the network of the settings was not trained for such an experiment.

    Raises
    ------
    hitfinder.network.folder.ModelError
        If it cannot be used.
    """
    if settings.finder != "network":
        return
    for outside in peak_model.load(settings.model).outside(geometry):
        log.warning("%s; --finder likelihood does without the network", outside)


def executor_of(settings: JobSettings) -> Processes | Inline:
    """Return as many processes as the settings say, or this one if others lack the finder."""
    if any(map(is_of_this_session, (settings.finder.finder, settings.reader or ""))):
        log.info("a class of this session is used: all is done in this process, by one core")
        return Inline()
    # One worker is a process too: what ends it, a fault of a decompressor or want of memory,
    # costs some frames and not the run.
    return Processes(settings.workers or available_cores())


def start_workers(executor: Processes | Inline, settings: FinderSettings, n_frames: int) -> None:
    """Start as many workers as so many frames need, and let them import what finds in them."""
    finder, _, _ = FINDERS.find(settings.finder).path.partition(":")
    executor.start(-(-n_frames // chunk_size(n_frames)), ["hitfinder.job.ready", finder])


@dataclasses.dataclass(frozen=True, eq=False)
class PreparedJob:
    """A job whose frames, folder and outputs are known."""

    inputs: list[str]
    out: Path
    settings: JobSettings
    experiment: Experiment
    store: Store
    outputs: Mapping[str, Output]
    least_score: float | None
    """Score of a hit, if the finder's scores are of its own kind."""

    def run(
        self,
        job: dict[str, Any],
        executor: Executor,
        workers: AbstractContextManager[object],
        show: Callable[..., Any],
    ) -> None:
        """Process the frames that are not done yet, leave `workers`, and write the outputs."""
        began, started = time.perf_counter(), datetime.datetime.now().astimezone()
        before = self.store.counts.frames
        if before:
            log.info("going on after %d of %d frames", before, len(self.experiment.stored))
        self.store.save_about(self.beforehand(started))
        late = [n for output in self.outputs.values() for n in getattr(output, "imports", ())]
        import_meanwhile([*late, *(temperature.IMPORTS if self.settings.estimate else ())])
        with workers:
            n_workers = executor.n_workers
            static, interrupted = self._find(executor, show)
        finding = time.perf_counter() - began
        for file in changed_inputs(job):
            log.warning("%s has changed while it was read: its frames may be old or new", file)
        if interrupted:
            log.warning("interrupted; writing what was found so far")
        done = self.store.counts.frames - before
        timings = {
            "seconds": round(finding, 3),
            "frames_in_this_session": done,
            "frames_per_second": round(done / finding, 3) if finding else None,
            "workers": n_workers,
        }
        found = self.findings(job, static, started, timings, complete=not interrupted)
        self.write(found, interrupted)

    def findings(
        self,
        job: dict[str, Any],
        static: Places,
        started: datetime.datetime,
        timings: Mapping[str, Any],
        *,
        complete: bool,
        **more: Any,
    ) -> Findings:
        """Put together what was found, and what ``run.json`` is to say of the run.

        Parameters
        ----------
        job : dict
            The fingerprint.
        static : Places
            What is masked as static.
        started : datetime
            When the run began.
        timings : mapping
            How long it took.
        complete : bool
            Whether all frames are done.
        **more
            What else is to be said.
        """
        geometry = self._masked(static)
        run = {
            **self.beforehand(started),
            "complete": complete,
            "geometry": self.geometry_told(geometry),
            "static": static.told(MOST_PLACES),
            "timings": dict(timings),
            "fingerprint": job,
            **more,
        }
        n_frames = len(self.experiment.stored)
        return Findings(self.experiment, geometry, self.store, run, n_frames)

    def write(self, found: Findings, interrupted: bool) -> None:
        """Write the outputs, and say what should be known of the results."""
        counts = write_outputs(self.outputs, found, self.out, estimate=self.settings.estimate)
        if counts.frames_with_peaks_left_out:
            log.warning(
                "%d frames have more peaks than are looked at; the weakest are left out "
                "(peaks_left_out in frames.parquet)",
                counts.frames_with_peaks_left_out,
            )
        if counts.doubted_frames or counts.doubtful_hits:
            log.warning(
                "%d frames are no hits though their scores are those of hits, and %d hits are "
                "doubtful: they rest on one bright pixel, track or place (doubt in frames.parquet)",
                *(counts.doubted_frames, counts.doubtful_hits),
            )
        if counts.processed and not counts.hits:
            log.warning(
                "no hits in %d frames; if there should be some, is the geometry right? %s",
                *(counts.processed, self.experiment.placed),
            )
        if self.settings.finder.finder == "network":
            outside = peak_model.load(self.settings.finder.model).outside_background(
                counts.background
            )
            if outside:
                log.warning("%s; look at its hits, or try --finder likelihood", outside)
        if found.wanting and not interrupted:
            log.warning(
                "%d frames or hits could not be had, for want of a file or since workers died; the "
                "same command with --resume tries them again",
                found.wanting,
            )
        elif not interrupted:
            self.store.remove()

    def beforehand(self, started: datetime.datetime) -> dict[str, Any]:
        """Return what is known of the run before its frames are processed."""
        n_frames, none = (
            len(self.experiment.stored),
            dict.fromkeys(("processed", "hits", "peaks"), 0),
        )
        return {
            "started": started.isoformat(sep=" ", timespec="seconds"),
            "complete": False,
            "inputs": self.inputs,
            "directory": os.getcwd(),
            "versions": _versions(),
            "geometry": self.geometry_told(self.experiment.geometry),
            "origin": self.experiment.origin,
            "settings": config.flatten(self.settings),
            "hits_from": self.hits_from(),
            "counts": {"frames": n_frames, **none, "by_status": {PENDING: n_frames}},
        }

    def _find(self, executor: Executor, show: Callable[..., Any]) -> tuple[Places, bool]:
        """Process the frames; return what is static in them, and whether that was cut short."""
        geometry, settings = self.experiment.geometry, self.settings
        pipeline = Pipeline(
            self.experiment.source,
            geometry,
            settings.finder,
            self.store,
            settings.hot_pixel_frames,
            settings.estimate,
        )
        static: Places | None = None
        interrupted = False
        try:
            with terminate_as_interrupt(), show("frames", len(self.experiment.stored)) as advance:
                static = pipeline.run(executor, advance)
        except KeyboardInterrupt:
            interrupted = True
            static = load_static(self.store)
        return static or Places.none(geometry.shape), interrupted

    def _masked(self, static: Places) -> Geometry:
        """Return the geometry with static pixels masked."""
        geometry = self.experiment.geometry
        return dataclasses.replace(geometry, detector=geometry.detector.with_mask(static.mask))

    def hits_from(self) -> dict[str, float | None]:
        """Say which score a hit needs, and what share of blank frames reaches it."""
        if self.least_score is not None:
            return {"score": self.least_score, "false_hits": None}
        least = self.settings.finder.least_score
        return {"score": least, "false_hits": 10**-least}

    def geometry_told(self, geometry: Geometry) -> dict[str, Any]:
        """Return what ``run.json`` says of a geometry."""
        detector, first = geometry.detector, geometry.detector.panels[0]
        center, noise = detector.beam_center, self.experiment.noise
        analog = {"noise_photons": noise.sigma, "offset_photons": noise.offset} if noise else {}
        return {
            "detector": detector.name,
            "shape": list(detector.shape),
            "photon_energy_ev": geometry.photon_energy_ev,
            "camera_length_m": geometry.camera_length_m,
            "polarisation": geometry.polarisation,
            "beam_center": None if center is None else [round(place, 4) for place in center],
            "pixel_size_m": first.pixel_size_m,
            "saturation": detector.saturation,
            "masked_pixels": int(self.experiment.geometry.detector.full_mask.sum()),
            "static_pixels": int(detector.full_mask.sum())
            - int(self.experiment.geometry.detector.full_mask.sum()),
            "adu_per_photon": self.experiment.adu_per_photon,
            **{name: round(value, 4) for name, value in analog.items()},
        }


def _versions() -> dict[str, str]:
    versions = {"hitfinder": hitfinder.__version__, "python": platform.python_version()}
    return versions | {name: importlib.metadata.version(name) for name in LIBRARIES}

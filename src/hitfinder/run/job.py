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
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

import hitfinder
from hitfinder import config, logs
from hitfinder.errors import SourceError
from hitfinder.executors.contract import Executor
from hitfinder.executors.processes import Processes, available_cores
from hitfinder.experiment.experiment import Experiment, experiment_of, read_geometry_file
from hitfinder.finding.settings import FinderSettings
from hitfinder.geometry.geometry import Geometry
from hitfinder.interrupts import terminate_as_interrupt
from hitfinder.io.open import open_source
from hitfinder.io.source import FrameSource
from hitfinder.network import model as peak_model
from hitfinder.progress import Advance, counting
from hitfinder.results.store import Store
from hitfinder.run.folder import fingerprint, open_folder
from hitfinder.run.outputs import REPORT, Outputs
from hitfinder.run.pipeline import Pipeline, try_out
from hitfinder.run.settings import JobSettings

log = logging.getLogger(__name__)

LIBRARIES = ("numpy", "numba", "h5py", "hdf5plugin", "scipy", "pyarrow", "onnxruntime")


@dataclasses.dataclass(frozen=True)
class Result:
    """How a job ended.

    Attributes
    ----------
    page : Path
        What to look at first.
    frames, processed, hits, peaks : int
        Frames of the inputs, frames with results, hits, peaks of all frames.
    interrupted : bool
        Whether it was stopped before all frames were done.
    was_complete : bool
        Whether the folder held all results before.
    """

    page: Path
    frames: int = 0
    processed: int = 0
    hits: int = 0
    peaks: int = 0
    interrupted: bool = False
    was_complete: bool = False

    @property
    def unreadable(self) -> bool:
        """Whether there are frames that could not be processed."""
        return not (self.interrupted or self.was_complete) and self.processed < self.frames

    @property
    def exit_code(self) -> int:
        """What the command ends with."""
        return 130 if self.interrupted else 1 if self.unreadable else 0


def run_job(
    inputs: Sequence[str],
    out: Path,
    settings: JobSettings,
    *,
    resume: bool = False,
    overwrite: bool = False,
    executor: Executor | None = None,
    show: Callable[[str, int], AbstractContextManager[Advance]] = counting,
) -> Result:
    """Find the hits and peaks in frames and write them to a folder.

    Parameters
    ----------
    inputs : sequence of str
        Files, folders, patterns or lists.
    out : Path
        Output folder.
    settings : JobSettings
        Everything that can be set.
    resume, overwrite : bool
        Go on with the job in the folder; replace the results in it.
    executor : Executor, optional
        Has the frames processed; by default as many processes as the settings say.
    show : callable
        As `hitfinder.progress.counting`, which is the default.

    Returns
    -------
    Result
        How it ended; after Ctrl-C too, when the outputs hold what was finished.

    Raises
    ------
    HitfinderError
        If inputs, geometry or folder cannot be used; no output is written then.
    """
    geom = read_geometry_file(settings.geometry)
    stored = open_source(inputs, layout=geom.layout if geom else None)
    check_readable(stored)
    experiment = experiment_of(settings.geometry, geom, stored)
    experiment.log()
    check_model(settings.finder, experiment.geometry)
    finder = try_out(experiment.source, experiment.geometry, settings.finder)
    stored.close()
    model = getattr(finder, "fingerprint", "")
    job = fingerprint(stored, experiment.geometry, settings, model)
    store = open_folder(out, job, resume, overwrite)
    if store is None:
        log.info("the run in %s is complete already", out)
        return Result(out / REPORT, was_complete=True)
    with store:
        least = getattr(finder, "least_score", None)
        made = _Job(list(map(str, inputs)), out, settings, stored, experiment, store, least)
        return made.run(job, executor, show)


def check_readable(source: FrameSource) -> None:
    """Report what is known to be wrong with the inputs, or odd about what they say of the beam.

    Raises
    ------
    SourceError
        If no frame is readable.
    """
    problems = source.problems
    if not source.n_readable:
        if problems:
            raise problems[0]
        raise SourceError("no-frames", "there is no frame", source.ref(0).file)
    logs.warn_of_first(log, problems, "problems with the inputs")
    for note in source.metadata.notes:
        log.warning("%s: %s", source.ref(0).file, note)


def check_model(settings: FinderSettings, geometry: Geometry) -> None:
    """Warn if the network of the settings was not trained for such an experiment.

    Raises
    ------
    hitfinder.network.model.ModelError
        If it cannot be used.
    """
    if settings.finder != "network":
        return
    for outside in peak_model.load(settings.model).outside(geometry):
        log.warning("%s; --finder likelihood does without the network", outside)


@dataclasses.dataclass(frozen=True, eq=False)
class _Job:
    inputs: list[str]
    out: Path
    settings: JobSettings
    stored: FrameSource
    experiment: Experiment
    store: Store
    least_score: float | None
    """Score of a hit, if the finder's scores are of its own kind."""

    def run(
        self, job: dict[str, Any], executor: Executor | None, show: Callable[..., Any]
    ) -> Result:
        began, started = time.perf_counter(), datetime.datetime.now().astimezone()
        before = self.store.counts.frames
        if before:
            log.info("going on after %d of %d frames", before, len(self.stored))
        with contextlib.ExitStack() as stack:
            if executor is None:
                n_workers = self.settings.workers or available_cores()
                executor = stack.enter_context(Processes(n_workers))
            n_workers = executor.n_workers
            geometry, interrupted = self._find(executor, show)
        finding = time.perf_counter() - began
        if interrupted:
            log.warning("interrupted; writing what was found so far")
        outputs = Outputs(
            self.out, self.store, self.stored, self.experiment, geometry, self.settings
        )
        done = self.store.counts.frames - before
        run = {
            "started": started.isoformat(sep=" ", timespec="seconds"),
            "complete": not interrupted,
            "inputs": self.inputs,
            "directory": os.getcwd(),
            "versions": _versions(),
            "geometry": self._geometry(geometry),
            "origin": self.experiment.origin,
            "settings": config.flatten(self.settings),
            "hits_from": self._hits_from(),
            "timings": {
                "seconds": round(finding, 3),
                "frames_in_this_session": done,
                "frames_per_second": round(done / finding, 3) if finding else None,
                "workers": n_workers,
            },
            "fingerprint": job,
        }
        collected = outputs.write(run)
        if self.settings.finder.finder == "network":
            outside = peak_model.load(self.settings.finder.model).outside_background(
                collected.background
            )
            if outside:
                log.warning("%s; look at its hits, or try --finder likelihood", outside)
        if not interrupted:
            self.store.remove()
        return Result(
            self.out / REPORT,
            len(collected.ok),
            int(collected.ok.sum()),
            int(collected.hit.sum()),
            collected.total_peaks,
            interrupted,
        )

    def _find(self, executor: Executor, show: Callable[..., Any]) -> tuple[Geometry, bool]:
        """Process the frames; return the geometry with hot pixels masked, and if cut short."""
        geometry, settings = self.experiment.geometry, self.settings
        pipeline = Pipeline(
            self.experiment.source,
            geometry,
            settings.finder,
            self.store,
            settings.hot_pixel_frames,
            settings.estimate,
        )
        hot: NDArray[np.bool_] | None = None
        interrupted = False
        try:
            with terminate_as_interrupt(), show("frames", len(self.stored)) as advance:
                hot = pipeline.run(executor, advance)
        except KeyboardInterrupt:
            interrupted = True
            hot = self.store.load_array("hot")
        if hot is not None:
            geometry = dataclasses.replace(geometry, detector=geometry.detector.with_mask(hot))
        return geometry, interrupted

    def _hits_from(self) -> dict[str, float | None]:
        """Say which score a hit needs, and what share of blank frames reaches it."""
        if self.least_score is not None:
            return {"score": self.least_score, "false_hits": None}
        least = self.settings.finder.least_score
        return {"score": least, "false_hits": 10**-least}

    def _geometry(self, geometry: Geometry) -> dict[str, Any]:
        detector, first = geometry.detector, geometry.detector.panels[0]
        center = detector.beam_center
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
            "hot_pixels": int(detector.full_mask.sum())
            - int(self.experiment.geometry.detector.full_mask.sum()),
        }


def _versions() -> dict[str, str]:
    versions = {"hitfinder": hitfinder.__version__, "python": platform.python_version()}
    return versions | {name: importlib.metadata.version(name) for name in LIBRARIES}

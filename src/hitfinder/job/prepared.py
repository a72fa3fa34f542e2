"""A job whose frames, folder and outputs are known: its frames are processed, its files written."""

from __future__ import annotations

import dataclasses
import datetime
import importlib.metadata
import logging
import os
import platform
import time
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import hitfinder
from hitfinder import config
from hitfinder.executors.beside import Beside
from hitfinder.executors.contract import Executor
from hitfinder.executors.processes import Processes
from hitfinder.experiment.experiment import Experiment
from hitfinder.finding.static.places import Places
from hitfinder.geometry.geometry import Geometry
from hitfinder.interrupts import terminate_as_interrupt
from hitfinder.job.folder import changed_inputs
from hitfinder.job.outputs.contract import Output
from hitfinder.job.outputs.findings import Findings
from hitfinder.job.outputs.write import write_outputs
from hitfinder.job.pipeline import Pipeline, load_static
from hitfinder.job.settings import JobSettings
from hitfinder.network import model as peak_model
from hitfinder.results.chunk import PENDING
from hitfinder.results.store import Store

log = logging.getLogger(__name__)

MOST_PLACES = 500
"""Static places that ``run.json`` lists, those that make most hits first."""

LIBRARIES = ("numpy", "numba", "h5py", "hdf5plugin", "scipy", "pyarrow", "onnxruntime")


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
        imported: Callable[[], None],
    ) -> None:
        """Process the frames that are not done yet, write the outputs, and leave `workers`.

        Outputs are written when `imported` has returned.
        """
        began, started = time.perf_counter(), datetime.datetime.now().astimezone()
        before = self.store.counts.frames
        if before:
            log.info("going on after %d of %d frames", before, len(self.experiment.stored))
        self.store.save_about(self.beforehand(started))
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
            if not interrupted:
                found = dataclasses.replace(found, beside=self._beside(executor))
            imported()
            self.write(found, interrupted)

    def _beside(self, executor: Executor) -> Beside:
        """Let workers of this machine do what they can while outputs are written."""
        # Frames in memory would be sent to them once more.
        in_memory = any(member.digest for member in self.experiment.stored.members)
        return Beside(executor if isinstance(executor, Processes) and not in_memory else None)

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
        told = []
        if counts.doubted_frames:
            told.append(f"{counts.doubted_frames} frames have scores of hits and are none")
        if counts.doubtful_hits:
            told.append(f"{counts.doubtful_hits} hits are doubtful")
        if told:
            log.warning(
                "%s: they rest on one bright pixel, track or place, on ice or on a line (doubt in "
                "frames.parquet)",
                " and ".join(told),
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

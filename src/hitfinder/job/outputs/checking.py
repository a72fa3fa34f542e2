"""The check that an output keeps its contract, for ours and for those of others."""

from __future__ import annotations

import contextlib
import dataclasses
import tempfile
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hitfinder.contracts import require, requires
from hitfinder.errors import OutputError
from hitfinder.executors.inline import Inline
from hitfinder.experiment.open import open_experiment
from hitfinder.finding.settings import FinderSettings
from hitfinder.finding.static.places import Places
from hitfinder.geometry.geometry import Geometry
from hitfinder.io.memory import ArraySource
from hitfinder.job.outputs.contract import Output
from hitfinder.job.outputs.findings import Findings, FrameCounts
from hitfinder.job.outputs.registry import is_plain_name
from hitfinder.job.outputs.write import account
from hitfinder.job.pipeline import Pipeline
from hitfinder.job.settings import OutputSettings
from hitfinder.results.store import Store

SHAPE, N_FRAMES, N_LATER = (96, 100), 20, 10
"""Frames of the runs that an output is tried on, of which every other one has spots, and frames
that an interrupted run has not come to."""


def check_output(
    build: Callable[[OutputSettings], Output], settings: OutputSettings | None = None
) -> None:
    """Check that an output can be written by any run.

    Parameters
    ----------
    build : callable
        The output's class.
    settings : OutputSettings, optional
        To build it with.

    Raises
    ------
    hitfinder.contracts.BrokenContractError
        If it does not keep `hitfinder.job.outputs.contract.Output`, saying how.
    """
    with requires("building the output"):
        output = build(settings or OutputSettings())
    require(isinstance(output, Output), "an output has files and write")
    plain = isinstance(output.files, tuple) and all(map(is_plain_name, output.files))
    require(plain, f"files must be a tuple of names of files, is {output.files!r}")
    require(len(set(output.files)) == len(output.files), "files must name each file once")
    with _trial(_frames(with_spots=True)) as found, _folder() as folder:
        whole = dataclasses.replace(found, n_frames=N_FRAMES)
        _check_write(output, whole, folder, "a run")
        _check_write(output, whole, folder, "a run once more, over its files")
        _check_write(output, found, folder, "a run of nobody knows how many frames")
        later = dataclasses.replace(found, n_frames=N_FRAMES + N_LATER)
        _check_write(output, later, folder, "a run that was interrupted")
        _check_refusal(output, whole, folder)
    with _trial(_frames(with_spots=False)) as found, _folder() as folder:
        _check_write(output, found, folder, "a run without hits")
    with _trial(_frames(with_spots=True), done=False) as found, _folder() as folder:
        waiting = dataclasses.replace(found, n_frames=N_FRAMES)
        _check_write(output, waiting, folder, "a run of which no frame is done")


def _check_write(output: Output, found: Findings, folder: Path, what: str) -> None:
    with requires(f"writing {what}"):
        output.write(_counted(found), folder)
    there = {path.name for path in folder.iterdir()}
    missing, others = set(output.files) - there, there - set(output.files)
    require(not missing, f"writing {what}: there is no {', '.join(sorted(missing))}")
    told = f"writing {what}: {', '.join(sorted(others))} is not among its files"
    require(not others, told)


def _check_refusal(output: Output, found: Findings, folder: Path) -> None:
    """Check that a folder that cannot be written to is an OutputError."""
    if output.files:
        with contextlib.suppress(OutputError), requires("a folder that is none", OutputError):
            output.write(_counted(found), folder / output.files[0])


def _counted(found: Findings) -> Findings:
    told = account(found, FrameCounts.of(found), estimate=False)
    return dataclasses.replace(found, about={**found.about, **told})


@contextlib.contextmanager
def _folder() -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix="hitfinder-check") as folder:
        yield Path(folder)


def _frames(with_spots: bool) -> NDArray[np.uint16]:
    rng = np.random.default_rng(4)
    frames = rng.poisson(0.05, (N_FRAMES + N_LATER, *SHAPE)).astype(np.uint16)
    for frame in frames[::2] if with_spots else ():
        frame[rng.integers(5, SHAPE[0] - 5, 8), rng.integers(5, SHAPE[1] - 5, 8)] += 30
    return frames


@contextlib.contextmanager
def _trial(frames: NDArray, done: bool = True) -> Iterator[Findings]:
    """Search frames as a run does, and give what was found."""
    geometry = Geometry.flat(SHAPE, 75e-6, camera_length_m=0.05, photon_energy_ev=6000)
    experiment = open_experiment([frames], geometry=geometry)
    settings = FinderSettings(finder="likelihood")
    with _folder() as folder, Store(folder) as store:
        if done:
            pipeline = Pipeline(ArraySource(frames[:N_FRAMES]), geometry, settings, store, 0)
            with Inline() as executor:
                pipeline.run(executor, lambda n, note="": None)
        yield Findings(experiment, geometry, store, _about(geometry, ["array"]))


def _about(geometry: Geometry, inputs: Sequence[str]) -> dict[str, Any]:
    """Return what a run says of itself, as far as outputs may want it."""
    return {
        "started": "2026-01-01 12:00:00",
        "complete": True,
        "inputs": list(inputs),
        "versions": {"hitfinder": "0"},
        "geometry": {
            "detector": geometry.detector.name,
            "shape": list(geometry.shape),
            "photon_energy_ev": geometry.photon_energy_ev,
            "camera_length_m": geometry.camera_length_m,
        },
        "origin": {},
        "static": Places.none(geometry.shape).told(0),
        "settings": {},
        "hits_from": {"score": 2.0, "false_hits": 0.01},
        "timings": {"seconds": 1.0, "frames_per_second": 20.0, "workers": 1},
    }

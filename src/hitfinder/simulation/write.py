"""A simulation on disk: an NXmx series, its truth, its geometry and its settings."""

from __future__ import annotations

import dataclasses
import hashlib
import logging
import shutil
from pathlib import Path

import hitfinder
from hitfinder import config
from hitfinder.atomic import clear_unfinished, make_folder, replacing, sha256
from hitfinder.errors import OutputError
from hitfinder.executors.contract import Executor, results
from hitfinder.geometry.crystfel import geom_lines, write_geom
from hitfinder.io.write import SeriesFiles
from hitfinder.locks import locked
from hitfinder.progress import Advance
from hitfinder.simulation.settings import SimulationSettings
from hitfinder.simulation.simulator import Simulator
from hitfinder.simulation.tables import join_tables
from hitfinder.simulation.workers import SeriesTask, SeriesWork

LOGGER = logging.getLogger("hitfinder.simulation")

MASTER, GEOMETRY, PARTS = "frames_master.h5", "frames.geom", ".parts"

LEAST_FILES, MOST_FRAMES = 32, 250
"""Data files of a simulation, if it has so many frames, and most frames of one: a file is the work
of one process, so few are not enough for many, and large ones take long to make."""


def file_tasks(n_frames: int, frames_per_file: int | None) -> list[SeriesTask]:
    """Return the data files of a series; they do not depend on who makes them.

    Raises
    ------
    ValueError
        If a file is to have no frame.
    """
    if frames_per_file is not None and frames_per_file < 1:
        raise ValueError(f"frames_per_file must be at least 1, got {frames_per_file}")
    step = frames_per_file or min(-(-n_frames // LEAST_FILES), MOST_FRAMES)
    starts = range(0, n_frames, step)
    return [SeriesTask(i, s, min(s + step, n_frames)) for i, s in enumerate(starts, 1)]


def write_simulation(
    simulator: Simulator,
    settings: SimulationSettings,
    folder: Path,
    executor: Executor,
    files: list[SeriesTask],
    *,
    overwrite: bool,
    advance: Advance,
) -> None:
    """Simulate the frames of a series and write them to a folder.

    The folder gets ``frames_master.h5`` with its data files, ``truth.parquet``,
    ``shots.parquet``, ``crystals.parquet``, ``frames.geom`` and ``settings.toml``. Each file
    appears under its name only when it is complete, the master last. Until then the folder
    ``.parts`` holds the data files that are done: another simulation of the same settings goes on
    with them.

    Parameters
    ----------
    simulator : Simulator
        Makes the frames.
    settings : SimulationSettings
        What it was made of.
    folder : Path
        The folder; made if it is not there.
    executor : Executor
        Has the data files written.
    files : list of SeriesTask
        The data files.
    overwrite : bool
        Replace the simulation that is in the folder.
    advance : Advance
        Told of frames done.

    Raises
    ------
    HitfinderError
        If the folder cannot be written.
    """
    _tell_what_varies(settings)
    series = SeriesFiles(folder / MASTER)
    make_folder(folder)
    with locked(folder, "simulation"), executor:
        series.claim(overwrite)
        clear_unfinished(folder)
        parts = _parts(folder, settings, files)
        work = SeriesWork(simulator, parts)
        try:
            _write_files(work, files, executor, advance)
            # The tables of an earlier simulation are replaced from here on.
            series.withdraw()
            join_tables(folder, parts, [file.suffix for file in files])
            _write_rest(simulator, settings, folder)
            written = [(work.path(file), len(file)) for file in files]
            series.finish(simulator.geometry, written, simulator.dtype)
        except BaseException:
            _keep(work, files)
            raise
        shutil.rmtree(parts.parent, ignore_errors=True)


def _parts(folder: Path, settings: SimulationSettings, files: list[SeriesTask]) -> Path:
    """Return the folder for what this simulation writes, without what others have left."""
    # Its name tells simulations apart: a worker that outlives its command can only write what
    # the next one would write.
    parts = folder.resolve() / PARTS / _fingerprint(settings, files)
    for other in parts.parent.glob("*"):
        if other != parts:
            shutil.rmtree(other, ignore_errors=True)
    try:
        parts.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OutputError.unwritable(error.strerror, parts.parent) from error
    clear_unfinished(parts)
    return parts


def _fingerprint(settings: SimulationSettings, files: list[SeriesTask]) -> str:
    """Return what differs between simulations of different frames, in hexadecimal."""
    said = [hitfinder.__version__, config.to_toml(settings), repr(files)]
    groups = (vars(settings)[field.name] for field in dataclasses.fields(settings))
    for group in filter(dataclasses.is_dataclass, groups):
        for value in vars(group).values():
            if isinstance(value, str) and value and Path(value).is_file():
                said.append(sha256(Path(value)))
    return hashlib.sha256("\0".join(said).encode()).hexdigest()[:16]


def _write_files(
    work: SeriesWork, files: list[SeriesTask], executor: Executor, advance: Advance
) -> None:
    todo = [file for file in files if not work.path(file).exists()]
    if len(todo) < len(files):
        LOGGER.info("%d of %d data files are there already", len(files) - len(todo), len(files))
        advance(sum(map(len, files)) - sum(map(len, todo)))
    for made in results(executor.run(work, todo)):
        advance(made)


def _keep(work: SeriesWork, files: list[SeriesTask]) -> None:
    """Say what is left of a simulation that was cut short; where nothing is done, leave nothing."""
    done = sum(work.path(file).exists() for file in files)
    if done:
        kept = f"{done} of {len(files)} data files are kept in {work.folder.parent}"
        LOGGER.info("%s: the same command goes on with them", kept)
    else:
        shutil.rmtree(work.folder.parent, ignore_errors=True)


def _write_rest(simulator: Simulator, settings: SimulationSettings, folder: Path) -> None:
    write_geom(
        folder / GEOMETRY,
        geom_lines(
            simulator.geometry,
            data_path="/entry/data/data",
            adu_per_photon=settings.detector.adu_per_photon if settings.noise else 1,
            comments=(f"hitfinder {hitfinder.__version__} simulate",),
        ),
    )
    with replacing(folder / "settings.toml") as part:
        made = f"# hitfinder {hitfinder.__version__}: {len(simulator)} frames\n"
        part.write_text(made + config.to_toml(settings))


def _tell_what_varies(settings: SimulationSettings) -> None:
    names = ("beam.photon_energy_ev", "detector.camera_length_m")
    varying = [name for name in names if not settings.value(name).is_fixed]
    if varying:
        LOGGER.info(
            "%s from frame to frame: the master and .geom state the middle, shots.parquet each one",
            " and ".join(varying) + (" varies" if len(varying) == 1 else " vary"),
        )

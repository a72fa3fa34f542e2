"""A whole job, from inputs to the files in the output folder; what `hitfinder run` runs."""

from __future__ import annotations

import contextlib
import logging
import os
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import TYPE_CHECKING, Unpack

import numpy as np

from hitfinder.errors import ConfigError
from hitfinder.executors.contract import Executor
from hitfinder.executors.inline import Inline
from hitfinder.executors.processes import Processes, available_cores
from hitfinder.experiment.open import open_experiment
from hitfinder.finding.registry import FINDERS
from hitfinder.finding.settings import FinderSettings
from hitfinder.geometry.geometry import Geometry
from hitfinder.io.open import Input, listed
from hitfinder.job.chunksize import chunk_size
from hitfinder.job.finder_trial import FinderTrial
from hitfinder.job.names import check_name
from hitfinder.job.settings import JobSettings, RunOptions, job_settings
from hitfinder.lazy import import_all
from hitfinder.network import model as peak_model
from hitfinder.plugins import is_of_this_session
from hitfinder.progress import Advance, counting

if TYPE_CHECKING:
    from hitfinder.results.run import Run

log = logging.getLogger(__name__)

AFTER_OPENING = ("hitfinder.job.carry_out", "hitfinder.results.run", "hitfinder.job.outputs.page")
"""What is imported when the inputs are open: it takes as long as to open them."""


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
        log.debug("the inputs are open")
        if own is not None:
            # They import what they need while this process looks at what it is given.
            start_workers(own, chosen.finder, len(experiment.stored))
        check_model(chosen.finder, experiment.geometry)
        experiment.stored.close()
        trial = FinderTrial.of(experiment.source, experiment.geometry, chosen.finder)
        tried = trial.begun(own or Inline())
        # Slow to import; workers get ready meanwhile.
        import_all(AFTER_OPENING)
        from hitfinder.job.carry_out import carry_out

        is_new = carry_out(
            *([_name(item) for item in given], folder, chosen, experiment, tried, doing, workers),
            *(show,),
            resume=resume,
            overwrite=overwrite,
        )
    if not is_new:
        log.info("the run in %s is complete already", folder)
    from hitfinder.results.run import Run

    done = Run(folder, was_complete=not is_new)
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

"""A job whose frames are open and whose finder was tried: into its folder."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

from hitfinder.executors.contract import Executor
from hitfinder.experiment.experiment import Experiment
from hitfinder.job.finder_trial import FinderTold
from hitfinder.job.folder import fingerprint, open_folder
from hitfinder.job.outputs.registry import make_outputs
from hitfinder.job.prepared import PreparedJob
from hitfinder.job.settings import JobSettings
from hitfinder.lazy import import_meanwhile


def carry_out(
    inputs: list[str],
    folder: Path,
    settings: JobSettings,
    experiment: Experiment,
    tried: Callable[[], FinderTold],
    executor: Executor,
    workers: AbstractContextManager[object],
    show: Callable[..., Any],
    *,
    resume: bool,
    overwrite: bool,
) -> bool:
    """Process the frames of a job that are not done yet, leave `workers`, and write the outputs.

    Parameters
    ----------
    inputs : list of str
        What the job was given.
    folder : Path
        Where its results go.
    settings : JobSettings
        What was chosen.
    experiment : Experiment
        The frames, not open.
    tried : callable
        Waits for what the finder says.
    executor : Executor
        Has the frames processed.
    workers : context manager
        Ends the workers when it is left.
    show : callable
        As for `hitfinder.run`.
    resume, overwrite : bool
        Go on with the run in the folder; replace the results in it.

    Returns
    -------
    bool
        False if the run in the folder was complete.

    Raises
    ------
    HitfinderError
        If there can be no such outputs, or the folder cannot be used.
    """
    outputs = make_outputs(settings.output)
    late = [name for output in outputs.values() for name in getattr(output, "imports", ())]
    imported = import_meanwhile(late)
    try:
        told = tried()
        job = fingerprint(experiment.stored, experiment.geometry, settings, told.fingerprint)
        files = [file for output in outputs.values() for file in output.files]
        store = open_folder(folder, job, resume, overwrite, files)
        if store is None:
            return False
        least = told.least_score
        with store:
            prepared = PreparedJob(inputs, folder, settings, experiment, store, outputs, least)
            prepared.run(job, executor, workers, show, imported)
        return True
    finally:
        imported()

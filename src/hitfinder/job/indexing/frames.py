"""The frames of a run that are indexed."""

from __future__ import annotations

import dataclasses
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from hitfinder.errors import ConfigError
from hitfinder.experiment.experiment import Experiment
from hitfinder.geometry.geometry import Geometry
from hitfinder.results.run import Run

Which = Literal["hits", "near", "all"]
NEAR_SCORE = 0.3
"""Score of a frame that is nearly a hit: half of the blanks have less."""


def frames_to_search(run: Run, which: Which) -> NDArray[np.intp]:
    """Return the frames to search.

    Parameters
    ----------
    run : Run
        The run.
    which : {"hits", "near", "all"}
        The run's hits, those with a score of `NEAR_SCORE` too, or all.

    Raises
    ------
    ConfigError
        If there is none.
    """
    table = run.frames
    ok = np.array(table["status"].to_pylist()) == "ok"
    hit = table["hit"].to_numpy(zero_copy_only=False)
    near = table["score"].to_numpy() >= NEAR_SCORE
    rows = np.flatnonzero(ok & {"hits": hit, "near": hit | near, "all": ok}[which])
    if not len(rows):
        raise ConfigError("the run has no such frame", str(run.folder), "Try --frames all.")
    return rows


def frames_of(run: Run) -> tuple[Experiment, Geometry]:
    """Open the run's frames as the run had them.

    Returns
    -------
    experiment : Experiment
        The frames.
    geometry : Geometry
        With every mask that the run found.

    Raises
    ------
    ConfigError
        If they cannot be found any more.
    """
    if run.has_given_geometry:
        what = "the run had frames or a geometry from Python, which no file holds"
        raise ConfigError(what, str(run.folder))
    experiment = run.experiment
    if len(experiment.source) != run.frames.num_rows:
        what = f"the inputs hold {len(experiment.source)} frames, the run {run.frames.num_rows}"
        raise ConfigError(what, str(run.folder), "Run hitfinder on the frames again.")
    mask = run.geometry.detector.full_mask
    detector = experiment.geometry.detector.with_mask(mask)
    return experiment, dataclasses.replace(experiment.geometry, detector=detector)

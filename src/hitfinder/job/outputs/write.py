"""Write the outputs of a job, and ``run.json`` last, which tells that the rest is there."""

from __future__ import annotations

import dataclasses
import json
import logging
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from hitfinder import atomic
from hitfinder.estimate.beam_center import ring_center
from hitfinder.estimate.estimator import GeometryEstimator
from hitfinder.estimate.run import RunSums
from hitfinder.estimate.temperature import fit_temperature
from hitfinder.experiment.reach import doubt
from hitfinder.finding.squares import bin_side
from hitfinder.job.outputs.contract import Output
from hitfinder.job.outputs.findings import Findings, FrameCounts
from hitfinder.job.outputs.registry import is_plain_name, write_output
from hitfinder.report.verdict import judge
from hitfinder.results.run import RUN

log = logging.getLogger(__name__)

_TEMPERATURE_SIGMA_C = 5.0
"""How well the temperature of the water is taken to be known beforehand, around 25 °C."""


def write_outputs(
    outputs: Mapping[str, Output], found: Findings, folder: Path, *, estimate: bool
) -> FrameCounts:
    """Write the outputs of a job, finished or not.

    Parameters
    ----------
    outputs : mapping of str to Output
        What to write, by name.
    found : Findings
        What was found. What is known of the run beforehand is completed for the outputs.
    folder : Path
        Where to write.
    estimate : bool
        Whether to estimate photon energy and camera length from all frames together.

    Returns
    -------
    FrameCounts
        The frames, counted.

    Raises
    ------
    OutputError
        If something cannot be written.
    """
    counts = FrameCounts.of(found)
    log.debug("the results are put together")
    files = [file for output in outputs.values() for file in output.files]
    estimated = estimated_geometry(found) if estimate else None
    about = {**found.about, **account(found, counts, estimated), "files": files}
    for file in set(files_of(folder)) - set(files):
        (folder / file).unlink(missing_ok=True)
    (folder / RUN).unlink(missing_ok=True)
    complete = dataclasses.replace(found, about=about)
    for name, output in outputs.items():
        write_output(name, output, complete, folder)
        log.debug("output %s is written", name)
    about["wanting"] = found.wanting
    with atomic.replacing(folder / RUN) as part:
        part.write_text(json.dumps(about, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    return counts


def account(
    found: Findings, counts: FrameCounts, estimated: Mapping[str, Any] | None
) -> dict[str, Any]:
    """Return what ``run.json`` says of the results.

    Parameters
    ----------
    found : Findings
        What was found.
    counts : FrameCounts
        Its frames, counted.
    estimated : mapping, optional
        What `estimated_geometry` has returned.
    """
    doubts = found.doubts.told()
    told = {"counts": counts.told(), "doubts": doubts, "estimated_geometry": estimated}
    against = doubt(found.geometry), misplaced(found)
    evidence = counts.evidence.evidence({**found.about, **told}, *against)
    return {**told, "verdict": judge(evidence).told(evidence)}


def misplaced(found: Findings) -> str:
    """Say that the rings of the background are not about the beam centre; empty if they are."""
    image, experiment = found.totals.image.image, found.experiment
    if image is None or experiment.masks is not None or experiment.noise is not None:
        # Of frames with masks of their own nobody knows how often each pixel was looked at.
        return ""
    rings = ring_center(image, bin_side(found.geometry.shape), found.geometry)
    if rings is None or not rings.far:
        return ""
    used = found.geometry.detector.beam_center or (math.nan, math.nan)
    by = found.about["origin"].get("beam_center", "")
    return (
        f"the background has its centre at about fs {rings.fs:.0f}, ss {rings.ss:.0f}, beam centre "
        f"{used[0]:.0f}, {used[1]:.0f} was used" + (f" ({by})" if by else "")
    )


def files_of(folder: Path) -> list[str]:
    """Return the names of the files that the outputs of the run in a folder have written."""
    try:
        files = json.loads((folder / RUN).read_bytes())["files"]
    except (OSError, ValueError, KeyError, TypeError):
        return []
    return [name for name in files if is_plain_name(name)] if isinstance(files, list) else []


def estimated_geometry(found: Findings) -> dict[str, Any] | None:
    """Return photon energy and camera length from all frames; None if every pixel is masked."""
    if found.geometry.detector.full_mask.all():
        return None
    estimator = GeometryEstimator(found.geometry)
    total = found.totals.geometry or RunSums.of(estimator)
    result = total.result(estimator, found.n_frames)
    told = dataclasses.asdict(result.estimate) | {"frames": result.n_frames}
    if result.estimate.flag == "ok":
        fitted = fit_temperature(estimator, total.total, _TEMPERATURE_SIGMA_C)
        told["with_temperature"] = dataclasses.asdict(fitted)
    told["drift"] = dataclasses.asdict(result.drift) | {"drifts": result.drift.drifts}
    return json.loads(json.dumps(told), parse_constant=lambda _: None)

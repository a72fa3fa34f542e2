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
from hitfinder.estimate.beam_center import RingCenter
from hitfinder.experiment.reach import doubt
from hitfinder.job.outputs.background import BACKGROUND, BackgroundCall
from hitfinder.job.outputs.contract import Output
from hitfinder.job.outputs.findings import Findings, FrameCounts
from hitfinder.job.outputs.registry import is_plain_name, prepare_outputs, write_output
from hitfinder.report.verdict import judge
from hitfinder.results.run import RUN

log = logging.getLogger(__name__)


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
    found.beside.add(BACKGROUND, BackgroundCall.of(found, estimate))
    prepare_outputs(outputs, found, folder)
    files = [file for output in outputs.values() for file in output.files]
    for file in set(files_of(folder)) - set(files):
        (folder / file).unlink(missing_ok=True)
    (folder / RUN).unlink(missing_ok=True)

    def write(found: Findings, before_verdict: bool) -> None:
        for name, output in outputs.items():
            if getattr(output, "before_verdict", False) == before_verdict:
                write_output(name, output, found, folder)
                log.debug("output %s is written", name)

    write(found, True)
    counts = FrameCounts.of(found)
    about = {**found.about, **account(found, counts, estimate=estimate), "files": files}
    write(dataclasses.replace(found, about=about), False)
    about["wanting"] = found.wanting
    with atomic.replacing(folder / RUN) as part:
        part.write_text(json.dumps(about, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    return counts


def account(found: Findings, counts: FrameCounts, *, estimate: bool) -> dict[str, Any]:
    """Return what ``run.json`` says of the results.

    Parameters
    ----------
    found : Findings
        What was found.
    counts : FrameCounts
        Its frames, counted.
    estimate : bool
        As for `write_outputs`.
    """
    doubts = found.doubts.told()
    estimated, rings = found.beside.result(BACKGROUND, BackgroundCall.of(found, estimate))
    told = {"counts": counts.told(), "doubts": doubts, "estimated_geometry": estimated}
    against = doubt(found.geometry), misplaced(found, rings)
    evidence = counts.evidence.evidence({**found.about, **told}, *against)
    return {**told, "verdict": judge(evidence).told(evidence)}


def misplaced(found: Findings, rings: RingCenter | None) -> str:
    """Say that the rings of the background are not about the beam centre; empty if they are."""
    if rings is None or not rings.far:
        return ""
    used = found.geometry.detector.beam_center or (math.nan, math.nan)
    by = found.about["origin"].get("beam_center", "")
    return (
        f"the background has its centre at about fs {rings.fs:.0f}, ss {rings.ss:.0f} "
        f"(± {max(rings.bound_px, 1):.0f} pixels), beam centre {used[0]:.0f}, {used[1]:.0f} "
        "was used" + (f" ({by})" if by else "")
    )


def files_of(folder: Path) -> list[str]:
    """Return the names of the files that the outputs of the run in a folder have written."""
    try:
        files = json.loads((folder / RUN).read_bytes())["files"]
    except (OSError, ValueError, KeyError, TypeError):
        return []
    return [name for name in files if is_plain_name(name)] if isinstance(files, list) else []

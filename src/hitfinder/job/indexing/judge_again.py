"""Judge a run once more when it has been indexed, in ``run.json`` and in its report."""

from __future__ import annotations

import dataclasses
import json
import logging
from pathlib import Path

from hitfinder.atomic import replacing
from hitfinder.crystal.lattice import Lattice
from hitfinder.indexing.cellfit import FittedCell
from hitfinder.report.intensities import intensities_part
from hitfinder.report.summary import indexing_part, renewed, verdict_part
from hitfinder.report.verdict import Evidence, IndexRate, judge
from hitfinder.results.run import REPORT, RUN

log = logging.getLogger(__name__)


def judge_again(
    folder: Path, rate: IndexRate, lattice: Lattice, fit: FittedCell | None = None
) -> None:
    """Write the verdict that follows from what indexing found.

    Parameters
    ----------
    folder : Path
        Folder of the run. If ``run.json`` has no verdict, as of an earlier version, nothing is
        done.
    rate : IndexRate
        What indexing found.
    lattice : Lattice
        Of the crystals.
    fit : FittedCell, optional
        The cell that the peaks fit best.

    Raises
    ------
    OutputError
        If the folder cannot be written to.
    """
    try:
        run = json.loads((folder / RUN).read_bytes())
        before = Evidence.told(run["verdict"]["evidence"])
    except (ValueError, KeyError, TypeError, AttributeError):
        log.info("%s holds no verdict to judge again", folder / RUN)
        return
    evidence = dataclasses.replace(before, index=rate)
    run["verdict"] = judge(evidence).told(evidence)
    with replacing(folder / RUN) as part:
        part.write_text(json.dumps(run, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    if not (folder / REPORT).exists():
        return
    # Intensities of an earlier indexing are gone; those of this one are told when measured.
    parts = verdict_part(run["verdict"]), indexing_part(rate, lattice, fit), intensities_part()
    page = (folder / REPORT).read_text(encoding="utf-8")
    with replacing(folder / REPORT) as part:
        part.write_text(renewed(page, *parts), encoding="utf-8")

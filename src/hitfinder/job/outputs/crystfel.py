"""The hits with their peaks, and the geometry that belongs to them, for CrystFEL."""

from __future__ import annotations

import dataclasses
import logging
from pathlib import Path

from hitfinder.export.cxi import write_cxi, write_cxi_geom
from hitfinder.export.hits import Hit
from hitfinder.finding.peaks import doubtful
from hitfinder.job.outputs.findings import Findings
from hitfinder.job.settings import OutputSettings
from hitfinder.results.hits import HITS_CXI, HITS_GEOM

log = logging.getLogger(__name__)


def without_doubtful(hit: Hit) -> Hit:
    """Return a hit with the peaks that are likelier true than false.

    Programs that read ``hits.cxi`` take every peak at its word; the tables keep all of them, with
    their probabilities.
    """
    return dataclasses.replace(hit, peaks=hit.peaks[~doubtful(hit.peaks)])


class CxiOutput:
    """The hits as a CXI file with a peak list, and a geometry file."""

    files = (HITS_CXI, HITS_GEOM)
    before_verdict = True

    def __init__(self, settings: OutputSettings) -> None:
        self._copy, self._all_peaks = settings.copy_frames, settings.all_peaks

    def write(self, found: Findings, folder: Path) -> None:
        """Write both files."""
        experiment = found.experiment
        with experiment.stored as stored:
            summary = write_cxi(
                folder / HITS_CXI,
                stored,
                found.geometry,
                found.hits() if self._all_peaks else map(without_doubtful, found.hits()),
                copy_frames=self._copy,
                mask_of=None if experiment.masks is None else experiment.masks.of,
                on_lost=found.lose,
            )
        if found.lost:
            log.warning(
                "%d hits are not in hits.cxi: their frames cannot be read any more (%s)",
                len(found.lost),
                next(iter(found.lost.values())),
            )
        if summary.n_copied and not self._copy:
            log.info(
                "%d hits were copied into hits.cxi: no HDF5 file holds them as they are",
                summary.n_copied,
            )
        write_cxi_geom(
            folder / HITS_GEOM,
            found.geometry,
            summary,
            adu_per_photon=experiment.adu_per_photon,
            directives=experiment.directives,
            comments=["Goes with hits.cxi, written by hitfinder."],
        )

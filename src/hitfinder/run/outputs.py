"""What a job leaves in its folder: tables, hits for CrystFEL, the report, and run.json."""

from __future__ import annotations

import dataclasses
import json
import logging
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from hitfinder import atomic
from hitfinder.estimate.estimator import GeometryEstimator
from hitfinder.estimate.run import RunSums
from hitfinder.estimate.temperature import fit_temperature
from hitfinder.experiment.experiment import Experiment
from hitfinder.export import tables
from hitfinder.export.cxi import write_cxi, write_cxi_geom
from hitfinder.export.hits import Hit
from hitfinder.finding.rings import Rings
from hitfinder.geometry.geometry import Geometry
from hitfinder.io.lst import write_lst
from hitfinder.report.collect import Collector
from hitfinder.report.detector_view import DetectorView
from hitfinder.report.pictures import THUMBNAIL_PX, take_shots
from hitfinder.report.report import Report
from hitfinder.results.binned import bin_size
from hitfinder.results.chunk import PENDING, ChunkResult
from hitfinder.results.run import REPORT, RUN
from hitfinder.results.store import Store
from hitfinder.run.settings import JobSettings

log = logging.getLogger(__name__)

_TEMPERATURE_SIGMA_C = 5.0
"""How well the temperature of the water is taken to be known beforehand, around 25 °C."""


@dataclasses.dataclass(frozen=True, eq=False)
class Outputs:
    """Writes the outputs of a job, finished or not.

    Parameters
    ----------
    out : Path
        The folder.
    store : Store
        What was found.
    experiment : Experiment
        The frames, and how the geometry came to be.
    geometry : Geometry
        Geometry with every mask, static pixels too.
    settings : JobSettings
        What to write.
    """

    out: Path
    store: Store
    experiment: Experiment
    geometry: Geometry
    settings: JobSettings

    def write(self, run: dict[str, Any]) -> Collector:
        """Write everything; ``run.json`` last, so that it tells the rest is there.

        Parameters
        ----------
        run : dict
            What is known of the run; the counts are added.

        Returns
        -------
        Collector
            Figures over all frames.
        """
        view = DetectorView.of(self.geometry, bin_size(self.geometry.shape))
        gallery = self.settings.output.gallery
        collected = Collector(len(self.experiment.stored), self.geometry, view, gallery)
        self._write_tables(collected)
        collected.profile = self.store.totals.profile.mean
        hits = np.flatnonzero(collected.hit)
        write_lst(self.out / "hits.lst", (self.experiment.stored.ref(int(i)) for i in hits))
        run["counts"] = {
            "frames": len(collected.ok),
            "processed": int(collected.ok.sum()),
            "hits": len(hits),
            "peaks": collected.total_peaks,
            "frames_with_peaks_left_out": collected.n_left_out,
            "by_status": collected.statuses,
        }
        run["estimated_geometry"] = self._estimated()
        self._write_report(run, collected, view)
        with self.experiment.stored:
            self._write_cxi()
        with atomic.replacing(self.out / RUN) as part:
            part.write_text(json.dumps(run, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
        return collected

    def _all(self) -> Iterator[ChunkResult]:
        """All frames in order, with rows for those that are not done yet."""
        at = 0
        for chunk in self.store.chunks():
            yield from _pending(at, int(chunk.frames[0]))
            yield chunk
            at = int(chunk.frames[-1]) + 1
        yield from _pending(at, len(self.experiment.stored))

    def _write_tables(self, collected: Collector) -> None:
        csv = self.settings.output.csv

        def frames() -> Iterator[tables.Columns]:
            for chunk in self._all():
                collected.add(chunk)
                refs = [self.experiment.stored.ref(int(frame)) for frame in chunk.frames]
                yield tables.frame_columns(refs, chunk.rows)

        def peaks() -> Iterator[tables.Columns]:
            for chunk in self.store.chunks():
                yield tables.peak_columns(chunk.frame_of_peak, chunk.peaks)

        tables.write_table(self.out / "frames.parquet", tables.frame_schema(), frames(), csv=csv)
        tables.write_table(self.out / "peaks.parquet", tables.peak_schema(), peaks(), csv=csv)

    def _estimated(self) -> dict[str, Any] | None:
        """Photon energy and camera length from all frames together; None if not asked for."""
        if not self.settings.estimate or self.geometry.detector.full_mask.all():
            return None
        estimator = GeometryEstimator(self.geometry)
        total = self.store.totals.geometry or RunSums.of(estimator)
        found = total.result(estimator, len(self.experiment.stored))
        told = dataclasses.asdict(found.estimate) | {"frames": found.n_frames}
        if found.estimate.flag == "ok":
            fitted = fit_temperature(estimator, total.total, _TEMPERATURE_SIGMA_C)
            told["with_temperature"] = dataclasses.asdict(fitted)
        told["drift"] = dataclasses.asdict(found.drift) | {"drifts": found.drift.drifts}
        return json.loads(json.dumps(told), parse_constant=lambda _: None)

    def _hits(self) -> Iterator[Hit]:
        """Hits in frame order."""
        for chunk in self.store.chunks():
            ends = np.cumsum(chunk.rows["n_peaks"])
            for row in np.flatnonzero(chunk.rows["hit"]):
                found, index = chunk.rows[row], int(chunk.frames[row])
                peaks = chunk.peaks[ends[row] - found["n_peaks"] : ends[row]]
                energy, length = self.experiment.of_frame(index)
                yield Hit(index, peaks, found, energy, length)

    def _write_cxi(self) -> None:
        copy = self.settings.output.copy_frames
        summary = write_cxi(
            self.out / "hits.cxi",
            self.experiment.stored,
            self.geometry,
            self._hits(),
            copy_frames=copy,
            mask_of=None if self.experiment.masks is None else self.experiment.masks.of,
        )
        if summary.n_copied and not copy:
            log.info(
                "%d hits were copied into hits.cxi: no HDF5 file holds them as they are",
                summary.n_copied,
            )
        write_cxi_geom(
            self.out / "hits.geom",
            self.geometry,
            summary,
            adu_per_photon=self.experiment.adu_per_photon,
            directives=self.experiment.directives,
            comments=["Goes with hits.cxi, written by hitfinder."],
        )

    def _write_report(self, run: dict[str, Any], collected: Collector, view: DetectorView) -> None:
        mask = self.geometry.detector.full_mask
        small = DetectorView.of(self.geometry, max(1.0, max(self.geometry.shape) / THUMBNAIL_PX))
        image = self.store.totals.image.image
        with self.experiment.source as source:
            best = take_shots(collected.best, source, small, mask)
            misses = take_shots(collected.misses, source, small, mask)
        if image is not None:
            image = view.unbin(image, bin_size(self.geometry.shape), mask)
        least, bin_q = run["hits_from"]["score"], Rings.of(self.geometry).q
        report = Report(run, collected, view, image, bin_q, least, best, misses)
        report.write(self.out / REPORT)


def _pending(start: int, stop: int) -> Iterator[ChunkResult]:
    for at in range(start, stop, tables.ROWS_PER_GROUP):
        frames = range(at, min(at + tables.ROWS_PER_GROUP, stop))
        yield ChunkResult.without_results(frames, PENDING)

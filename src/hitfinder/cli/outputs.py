"""What a job leaves in its folder: tables, hits for CrystFEL, the report, and run.json."""

from __future__ import annotations

import dataclasses
import json
import logging
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hitfinder import atomic
from hitfinder.evaluate.collect import Collector
from hitfinder.evaluate.detector_view import DetectorView
from hitfinder.evaluate.pictures import THUMBNAIL_PX, take_shots
from hitfinder.evaluate.report import Report
from hitfinder.export import tables
from hitfinder.geometry.experiment import Geometry
from hitfinder.inference.binned import bin_size
from hitfinder.inference.finder import PEAK_DTYPE
from hitfinder.inference.rings import Rings
from hitfinder.inference.settings import JobSettings
from hitfinder.inference.store import PENDING, Part, Store, empty_rows
from hitfinder.io.lst import write_lst
from hitfinder.io.source import FrameSource

log = logging.getLogger(__name__)


@dataclasses.dataclass(frozen=True, eq=False)
class Outputs:
    """Writes the outputs of a job, finished or not.

    Parameters
    ----------
    out : Path
        The folder.
    store : Store
        What was found.
    stored : FrameSource
        The frames as they are stored.
    source : FrameSource
        The frames in photons.
    geometry : Geometry
        Geometry with every mask, hot pixels too.
    settings : JobSettings
        What to write.
    """

    out: Path
    store: Store
    stored: FrameSource
    source: FrameSource
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
        collected = Collector(len(self.source), self.geometry, view, gallery)
        self._write_tables(collected)
        hits = np.flatnonzero(collected.hit)
        write_lst(self.out / "hits.lst", (self.source.ref(int(i)) for i in hits))
        self._write_cxi(hits)
        run["counts"] = {
            "frames": len(collected.ok),
            "processed": int(collected.ok.sum()),
            "hits": len(hits),
            "peaks": collected.total_peaks,
            "by_status": collected.statuses,
        }
        self._write_report(run, collected, view)
        with atomic.replacing(self.out / "run.json") as part:
            part.write_text(json.dumps(run, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
        return collected

    def _parts(self) -> Iterator[Part]:
        """All frames in order, with rows for those that are not done yet."""
        at = 0
        for part in self.store.parts():
            yield from self._pending(at, part.start)
            yield part
            at = part.start + len(part.rows)
        yield from self._pending(at, len(self.source))

    def _pending(self, start: int, stop: int) -> Iterator[Part]:
        none, nothing = np.empty(0, PEAK_DTYPE), np.zeros((2, 0))
        for at in range(start, stop, tables.ROWS_PER_GROUP):
            rows = empty_rows(min(tables.ROWS_PER_GROUP, stop - at), PENDING)
            yield Part(at, rows, none, nothing, {})

    def _write_tables(self, collected: Collector) -> None:
        csv = self.settings.output.csv

        def frames() -> Iterator[tables.Columns]:
            for part in self._parts():
                collected.add(part)
                refs = [self.source.ref(part.start + k) for k in range(len(part.rows))]
                yield tables.frame_columns(refs, part.rows)

        def peaks() -> Iterator[tables.Columns]:
            for part in self.store.parts():
                yield tables.peak_columns(part.frame_of_peak, part.peaks)

        tables.write_table(self.out / "frames.parquet", tables.frame_schema(), frames(), csv=csv)
        tables.write_table(self.out / "peaks.parquet", tables.peak_schema(), peaks(), csv=csv)

    def _hit_peaks(self) -> Iterator[tuple[int, NDArray[np.void]]]:
        """Hits in frame order: index and peaks."""
        for part in self.store.parts():
            ends = np.cumsum(part.rows["n_peaks"])
            for row in np.flatnonzero(part.rows["hit"]):
                first = ends[row] - part.rows["n_peaks"][row]
                yield part.start + int(row), part.peaks[first : ends[row]]

    def _write_cxi(self, hits: NDArray[np.intp]) -> None:
        pass

    def _write_report(self, run: dict[str, Any], collected: Collector, view: DetectorView) -> None:
        mask = self.geometry.detector.full_mask
        small = DetectorView.of(self.geometry, max(1.0, max(self.geometry.shape) / THUMBNAIL_PX))
        image = self.store.image
        with self.source as source:
            best = take_shots(collected.best, source, small, mask)
            misses = take_shots(collected.misses, source, small, mask)
        if image is not None:
            image = view.unbin(image, bin_size(self.geometry.shape), mask)
        finder = self.settings.finder
        bin_q = Rings.of(self.geometry).q
        report = Report(run, collected, view, image, bin_q, finder.least_score, best, misses)
        report.write(self.out / "report.html")

"""The report of a run."""

from __future__ import annotations

import copy
import importlib
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from hitfinder.finding.rings import ring_centres
from hitfinder.finding.squares import bin_side
from hitfinder.job.outputs.findings import Findings
from hitfinder.job.settings import OutputSettings
from hitfinder.report.collect import Collector
from hitfinder.report.detector_view import DetectorView
from hitfinder.report.pictures import THUMBNAIL_PX, take_shots
from hitfinder.report.report import Report
from hitfinder.results.run import REPORT


class ReportOutput:
    """Everything at a glance, in one HTML file."""

    files = (REPORT,)
    imports = ("matplotlib.figure", "matplotlib.backends.backend_svg", "PIL.PngImagePlugin")

    def __init__(self, settings: OutputSettings) -> None:
        self._gallery = settings.gallery

    def write(self, found: Findings, folder: Path) -> None:
        """Write the page."""
        # Before there are threads, which would find modules half imported by one another.
        for name in self.imports:
            importlib.import_module(name)
        geometry, mask = found.geometry, found.geometry.detector.full_mask
        binned = bin_side(geometry.shape)
        view = DetectorView.of(geometry, binned)
        collected = Collector(geometry, view, self._gallery)
        for chunk in found.chunks():
            collected.add(chunk)
        collected.profile = found.totals.profile.mean
        small = DetectorView.of(geometry, max(1.0, max(geometry.shape) / THUMBNAIL_PX))
        least = found.about["hits_from"]["score"]
        # Frames are read and encoded by code that lets charts be drawn at the same time, each
        # gallery from a source of its own.
        with found.experiment.source as source, ThreadPoolExecutor(2) as pool:
            best, misses = (
                pool.submit(take_shots, picks, copy.deepcopy(source), small, mask)
                for picks in (collected.best, collected.misses)
            )
            image = found.totals.image.image
            if image is not None:
                image = view.unbin(image, binned, mask)
            report = Report(
                *(found.about, collected, view, image, ring_centres(geometry), least),
                *(best.result, misses.result),
            )
            report.write(folder / REPORT)

"""The report of a run."""

from __future__ import annotations

import functools
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from hitfinder.finding.rings import ring_centres
from hitfinder.finding.squares import bin_side
from hitfinder.job.outputs.findings import Findings
from hitfinder.job.settings import OutputSettings
from hitfinder.report.collect import Collector
from hitfinder.report.detector_view import DetectorView
from hitfinder.report.pictures import THUMBNAIL_PX, GalleryCall
from hitfinder.report.report import Report, draw
from hitfinder.results.run import REPORT

_GALLERIES = "galleries"
"""Name of the call among those that are made beside."""


class ReportOutput:
    """Everything at a glance, in one HTML file."""

    files = (REPORT,)
    imports = ("matplotlib.figure", "matplotlib.backends.backend_svg", "PIL.PngImagePlugin")

    def __init__(self, settings: OutputSettings) -> None:
        self._gallery = settings.gallery
        self._parts: _Parts | None = None

    def share(self, found: Findings) -> None:
        """Have the galleries drawn beside this process: that reads frames."""
        self._parts = _Parts(found, self._gallery)
        found.beside.add(_GALLERIES, self._parts.galleries)

    def prepare(self, found: Findings) -> None:
        """Draw what does not depend on the verdict."""
        self._parts = self._parts or _Parts(found, self._gallery)
        _ = self._parts.drawn

    def write(self, found: Findings, folder: Path) -> None:
        """Write the page."""
        parts, self._parts = self._parts or _Parts(found, self._gallery), None
        best, misses = found.beside.result(_GALLERIES, parts.galleries)
        report = Report(
            found.about, parts.collected, parts.view, parts.image, parts.drawn, best, misses
        )
        report.write(folder / REPORT)


class _Parts:
    """Parts of a report, each made when it is asked for."""

    def __init__(self, found: Findings, gallery: int) -> None:
        self._found, geometry = found, found.geometry
        self.view = DetectorView.of(geometry, bin_side(geometry.shape))
        q = geometry.pixels.q
        self._bin_q = ring_centres(geometry, q)
        self.collected = Collector(geometry, self.view, gallery, q)
        for chunk in found.chunks():
            self.collected.add(chunk)
        self.collected.profile = found.totals.profile.mean
        small = DetectorView.of(geometry, max(1.0, max(geometry.shape) / THUMBNAIL_PX))
        picks = self.collected.best, self.collected.misses
        self.galleries = GalleryCall(picks, found.experiment.source, small)

    @functools.cached_property
    def image(self) -> NDArray[np.floating] | None:
        """Counts per pixel of the picture, summed over the frames."""
        image, geometry = self._found.totals.image.image, self._found.geometry
        if image is None:
            return None
        return self.view.unbin(image, bin_side(geometry.shape), geometry.detector.full_mask)

    @functools.cached_property
    def drawn(self) -> str:
        """The charts and pictures of all frames."""
        hits_from = self._found.about["hits_from"]
        return draw(self.collected, self.view, self.image, self._bin_q, hits_from)

"""Pictures of the detector for the report: image, resolution rings, circled peaks."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from html import escape

import numpy as np
from numpy.typing import NDArray

from hitfinder.errors import SourceError
from hitfinder.finding.peaks import doubtful
from hitfinder.io.source import FrameSource
from hitfinder.report import png
from hitfinder.report.collect import Pick
from hitfinder.report.detector_view import DetectorView
from hitfinder.report.svg import number

THUMBNAIL_PX = 420
"""Longer side of a picture in the gallery."""

MOST_CIRCLES = 400


@dataclasses.dataclass(frozen=True, eq=False)
class GalleryFrame:
    """A frame of the gallery as it is shown.

    Attributes
    ----------
    pick : Pick
        The frame.
    name : str
        File and event.
    picture : str
        Markup of the picture, or of why there is none.
    """

    pick: Pick
    name: str
    picture: str

    def figure(self) -> str:
        """Return the picture with its caption."""
        score, n_peaks = number(self.pick.score), len(self.pick.peaks)
        peaks = f"{n_peaks} peak{'' if n_peaks == 1 else 's'}"
        return (
            f"<figure>{self.picture}<figcaption><b>score {score}, {peaks}</b> · frame "
            f"{self.pick.index}<br>{escape(self.name)}</figcaption></figure>"
        )


def take_shots(
    picks: Sequence[Pick], source: FrameSource, view: DetectorView, mask: NDArray[np.bool_]
) -> list[GalleryFrame]:
    """Read the frames of the gallery again and draw them.

    Parameters
    ----------
    picks : sequence of Pick
        What to show.
    source : FrameSource
        Where the frames are.
    view : DetectorView
        Picture to draw on, about `THUMBNAIL_PX` pixels.
    mask : ndarray of bool, shape of a frame
        What was ignored.
    """
    shots = []
    for pick in picks:
        ref = source.ref(pick.index)
        try:
            image = view.mean_image(source.read(pick.index), mask) * view.pitch_px**2
            drawn = picture(view, image, pick.peaks)
        except SourceError as error:
            drawn = f'<p class="note">cannot be read any more: {escape(str(error))}</p>'
        shots.append(GalleryFrame(pick, f"{ref.file} {ref.event}".rstrip(), drawn))
    return shots


def picture(
    view: DetectorView,
    image: NDArray[np.floating],
    peaks: NDArray[np.void] | None = None,
    unit: str = "",
) -> str:
    """Draw an image of the detector on a logarithmic scale.

    Parameters
    ----------
    view : DetectorView
        Where things are on the picture.
    image : ndarray, shape of `view`
        Values, NaN where masked.
    peaks : structured ndarray, optional
        Peaks to circle.
    unit : str
        If given, a colour scale in this unit stands below.
    """
    low, high = png.log_limits(image)
    url = png.data_url(png.encode(png.log_levels(image, low, high)))
    rows, columns = view.shape
    # A picture with a scale stands large, one without small.
    overlay = _rings(view, 34 if unit else 21) + ("" if peaks is None else _circles(view, peaks))
    legend = _legend(low, high, unit) if unit else ""
    return (
        f'<div class="picture"><img alt="detector image" width="{columns}" height="{rows}" '
        f'src="{url}"><svg viewBox="0 0 {columns} {rows}" aria-hidden="true">{overlay}</svg>'
        f"</div>{legend}"
    )


def _rings(view: DetectorView, lines: int) -> str:
    """Rings and their resolutions, in letters of which `lines` would fill the picture."""
    out, size = [], max(view.shape) / lines
    for resolution, (column, row, radius) in view.rings():
        x, y = column + 0.707 * radius, row - 0.707 * radius
        out.append(f'<circle class="ring" cx="{column:.1f}" cy="{row:.1f}" r="{radius:.1f}"/>')
        if 0 <= x < view.shape[1] - 2 * size and size <= y < view.shape[0]:
            text = f"{resolution:.2g} Å"
            out.append(f'<text x="{x:.1f}" y="{y:.1f}" font-size="{size:.1f}">{text}</text>')
    return "".join(out)


def _circles(view: DetectorView, peaks: NDArray[np.void]) -> str:
    """Circle peaks, doubtful ones in dots."""
    radius = max(view.shape) / 85
    at = view.place(peaks["fs"], peaks["ss"])
    kind = np.where(doubtful(peaks), "peak doubtful", "peak")
    return "".join(
        f'<circle class="{k}" cx="{x:.1f}" cy="{y:.1f}" r="{radius:.1f}"/>'
        for k, (x, y) in zip(kind[:MOST_CIRCLES], at[:MOST_CIRCLES], strict=True)
        if np.isfinite(x)
    )


def _legend(low: float, high: float, unit: str) -> str:
    stops = ", ".join(f"rgb({r} {g} {b})" for r, g, b in png.palette()[::7])
    return (
        f'<div class="scale">{number(low, 2)}<i style="background:linear-gradient(90deg, {stops})">'
        f"</i>{number(high, 2)} {escape(unit)} (logarithmic)</div>"
    )

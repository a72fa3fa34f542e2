"""Pictures of the detector for the report: image, resolution rings, circled peaks."""

from __future__ import annotations

import copy
import dataclasses
import io
import math
from collections.abc import Sequence
from html import escape

import numpy as np
from numpy.typing import NDArray

from hitfinder.errors import SourceError
from hitfinder.finding.peaks import doubtful
from hitfinder.io.source import FrameSource
from hitfinder.report.collect import Pick
from hitfinder.report.colours import LEVELS, PEAK, RING, log_limits, log_ticks, palette
from hitfinder.report.detector_view import DetectorView
from hitfinder.report.figures import data_url
from hitfinder.report.numbers import number
from hitfinder.report.overlay import ring_labels

THUMBNAIL_PX = 420
"""Longer side of a picture in the gallery."""

MOST_CIRCLES = 400

_STRETCHED = 'preserveAspectRatio="none"'
_RING_STYLE = f'stroke="{RING}" stroke-width="0.8" stroke-dasharray="3.2" opacity="0.6"'
_PEAK_STYLE = f'stroke="{PEAK}" stroke-width="1.2"'
_DOTTED = ' stroke-dasharray="1.2 2"'


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
        score, peaks = number(self.pick.score), _peaks(len(self.pick.peaks))
        return (
            f"<figure>{self.picture}<figcaption><b>score {score}, {peaks}</b> · frame "
            f"{self.pick.index}<br>{escape(self.name)}</figcaption></figure>"
        )


@dataclasses.dataclass(frozen=True, eq=False)
class GalleryCall:
    """The call that reads the frames of galleries again and draws them.

    Attributes
    ----------
    galleries : sequence of sequence of Pick
        What to show.
    source : FrameSource
        Where the frames are; not open, so that it can be pickled.
    view : DetectorView
        Picture to draw on, about `THUMBNAIL_PX` pixels.
    """

    galleries: Sequence[Sequence[Pick]]
    source: FrameSource
    view: DetectorView

    def __call__(self) -> list[list[str]]:
        """Return the figures of each gallery."""
        mask = self.view.geometry.detector.full_mask
        with copy.deepcopy(self.source) as source:
            return [
                [shot.figure() for shot in take_shots(picks, source, self.view, mask)]
                for picks in self.galleries
            ]


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
    shots, n_good = [], view.n_good(mask)
    for pick in picks:
        ref = source.ref(pick.index)
        try:
            image = view.mean_image(source.read(pick.index), mask, n_good) * view.pitch_px**2
            told = f"Counts of frame {pick.index}, {_peaks(len(pick.peaks))} circled"
            drawn = picture(view, image, told, pick.peaks)
        except SourceError as error:
            drawn = f'<p class="note">cannot be read any more: {escape(str(error))}</p>'
        shots.append(GalleryFrame(pick, f"{ref.file} {ref.event}".rstrip(), drawn))
    return shots


def picture(
    view: DetectorView,
    image: NDArray[np.floating],
    told: str,
    peaks: NDArray[np.void] | None = None,
    unit: str = "",
    whole: bool = False,
) -> str:
    """Draw an image of the detector on a logarithmic scale.

    Parameters
    ----------
    view : DetectorView
        Where things are on the picture.
    image : ndarray, shape of `view`
        Values, NaN where masked.
    told : str
        What it shows, for those who cannot see it.
    peaks : structured ndarray, optional
        Peaks to circle.
    unit : str
        If given, a colour scale in this unit stands below.
    whole : bool
        Whether the values are whole counts.
    """
    rows, columns = view.shape
    low, high = log_limits(image)
    labels = list(ring_labels(view, (0, 0.94 * columns, 0.03 * rows, rows)))
    if labels:
        told += f", with rings of {', '.join(text for text, _, _ in labels)}"
    marks = "".join(
        f'<span style="left:{100 * x / columns:.1f}%;top:{100 * y / rows:.1f}%">{text}</span>'
        for text, x, y in labels
    )
    return (
        f'<div class="picture"><img alt="{escape(told, quote=True)}" width="{columns}" '
        f'height="{rows}" src="{data_url(encode(log_levels(image, low, high)))}">'
        f"{_overlay(view, peaks)}{marks}</div>{_legend(low, high, unit, whole)}"
    )


def log_levels(image: NDArray[np.floating], low: float, high: float) -> NDArray[np.uint8]:
    """Return each pixel's step on a logarithmic scale; `LEVELS` where the image is NaN.

    Parameters
    ----------
    image : ndarray, 2-D
        Values; those below `low` get the darkest colour.
    low, high : float
        Values of the darkest and the brightest colour, ``0 < low < high``.
    """
    with np.errstate(invalid="ignore"):
        scaled = np.log(np.maximum(image, low) / low) / np.log(high / low)
    levels = np.clip(scaled, 0, 1) * (LEVELS - 1)
    return np.where(np.isnan(image), LEVELS, np.nan_to_num(levels)).astype(np.uint8)


def encode(levels: NDArray[np.uint8]) -> bytes:
    """Encode steps of the colour scale as a PNG file; step `LEVELS` is transparent."""
    from PIL import Image

    image = Image.fromarray(levels, "P")
    image.putpalette(palette().tobytes() + bytes(3))
    buffer = io.BytesIO()
    image.save(buffer, "PNG", transparency=LEVELS)
    return buffer.getvalue()


def _overlay(view: DetectorView, peaks: NDArray[np.void] | None) -> str:
    """Draw rings and peaks, doubtful ones in dots; lines stay as thin whatever the size."""
    rows, columns = view.shape
    rings = _circles("ring", [ring for _, ring in view.rings()], _RING_STYLE)
    drawn = [f'<svg viewBox="0 0 {columns} {rows}" aria-hidden="true" {_STRETCHED}>{rings}']
    if peaks is not None:
        shown = peaks[:MOST_CIRCLES]
        at = view.place(shown["fs"], shown["ss"])
        on, dotted = np.isfinite(at).all(axis=1), doubtful(shown)
        for some, css, style in (
            (on & ~dotted, "peak", _PEAK_STYLE),
            (on & dotted, "peak doubtful", _PEAK_STYLE + _DOTTED),
        ):
            around = [(x, y, max(view.shape) / 85) for x, y in at[some]]
            drawn.append(_circles(css, around, style))
    return "".join([*drawn, "</svg>"])


def _circles(css: str, circles: Sequence[tuple[float, float, float]], style: str) -> str:
    """Return circles, given as (column, row, radius), as a group of a class; none if empty."""
    if not circles:
        return ""
    drawn = (f'<circle cx="{x:.2f}" cy="{y:.2f}" r="{r:.2f}"/>' for x, y, r in circles)
    return f'<g class="{css}" fill="none" {style}>{"".join(drawn)}</g>'


def _legend(low: float, high: float, unit: str, whole: bool) -> str:
    """Return the colour scale with round values at their places."""
    if not unit:
        return ""
    stops = ", ".join(f"rgb({r} {g} {b})" for r, g, b in palette()[::7])
    ticks = log_ticks(low, high, whole)
    places = [100 * math.log(tick / low) / math.log(high / low) for tick in ticks]
    marks = "".join(
        f'<span style="left:{place:.1f}%">{number(tick, 2)}</span>'
        for place, tick in zip(places, ticks, strict=True)
    )
    return (
        f'<div class="scale"><i style="background:linear-gradient(90deg, {stops})">{marks}</i>'
        f"{escape(unit)}</div>"
    )


def _peaks(n: int) -> str:
    return f"{n} peak{'' if n == 1 else 's'}"

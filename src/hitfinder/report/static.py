"""The part of a report on what does not move: a picture with the places, and their list."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hitfinder.finding.peaks import peak_table
from hitfinder.finding.static.shape import KINDS
from hitfinder.report.detector_view import DetectorView
from hitfinder.report.numbers import number
from hitfinder.report.page import section, table
from hitfinder.report.pictures import picture

_MOST_ROWS = 40


def static_section(
    static: Mapping[str, Any], view: DetectorView, image: NDArray[np.floating] | None
) -> str:
    """Return the section.

    Parameters
    ----------
    static : mapping
        What ``run.json`` says of it (`hitfinder.finding.static.places.Places.told`).
    view : DetectorView
        Picture of the detector.
    image : ndarray, shape of `view`, or None
        Counts per pixel, summed over the frames.
    """
    places, looked = static["places"], number(static["frames_looked_at"])
    if not places:
        nothing = f'<p class="note">Nothing, in {looked} frames that were looked at.</p>'
        return section("static", "What does not move", nothing)
    note = (
        f"Places that are bright in many of {looked} frames which otherwise share nothing: "
        f"{number(static['places_masked'])} are masked, {number(static['pixels_masked'])} pixels "
        f"in all. {number(static['places_left'])} are left (dotted), as they may be the spots of a "
        "crystal that never turns, or powder."
    )
    drawn = ""
    if image is not None:
        marks = peak_table(
            [place["fs"] for place in places],
            [place["ss"] for place in places],
            probability=[float(place["masked"]) for place in places],
        )
        told = f"Summed pattern, {len(places)} places that do not move circled"
        drawn = picture(view, image, told, marks, "photons")
    rows = [
        (
            "masked" if place["masked"] else "left",
            KINDS[place["kind"]],
            f"{place['fs']:.1f}, {place['ss']:.1f}",
            *(number(place[name]) for name in ("pixels", "frames", "frames_it_would_make_hits")),
        )
        for place in places[:_MOST_ROWS]
    ]
    head = ("", "kind", "fs, ss", "pixels", "frames", "it alone would make hits")
    more = static["places_masked"] + static["places_left"] - len(rows)
    rest = f'<p class="note">And {number(more)} more, in run.json.</p>' if more > 0 else ""
    return section(
        "static", "What does not move", drawn + table(head, rows, {3, 4, 5}) + rest, note
    )

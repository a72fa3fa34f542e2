"""The part of a report on hits in doubt: what they rest on, and what the run says of them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from hitfinder.report.numbers import number
from hitfinder.report.page import section, table

KINDS = {
    "one-pixel": "one pixel, or two, bright alone, as a cosmic ray leaves it",
    "track": "a straight track that is not along a radius",
    "spot": "one thing that looks like a spot, where things come alone that do",
    "static-place": "a place on which other frames rest that share nothing else",
    "ice": "peaks on rings of ice, with hardly one elsewhere",
    "line": "peaks on one row, column or line through the beam, with hardly one elsewhere",
}
"""Reasons for doubt and what they mean."""


def doubts_section(told: Mapping[str, Any], by_doubt: Mapping[str, tuple[int, int]]) -> str:
    """Return the section; empty if no frame is in doubt.

    Parameters
    ----------
    told : mapping
        What ``run.json`` says (`hitfinder.results.doubts.Doubts.told`).
    by_doubt : mapping of str to (int, int)
        By reason, the frames that are hits all the same, and those that are none.
    """
    if not by_doubt:
        return ""
    rows = [
        (kind, KINDS.get(kind, ""), number(kept), number(dropped))
        for kind, (kept, dropped) in sorted(by_doubt.items())
    ]
    rate, seen = told["lone_things_per_blank_frame"], told["bright_peaks_of_sure_hits"]
    note = (
        "Frames whose score rests on what may be no Bragg peak of the sample. Of frames without a "
        f"crystal, {100 * rate:.2g} % hold a thing bright alone; of {number(seen)} bright peaks of "
        f"hits that rest on several, {number(told['of_them_without_light_beside'])} have no light "
        "beside them. Hits are those of which no more than the stated share would be false."
    )
    head = ("doubt", "what it rests on", "hits", "no hits")
    return section("doubts", "Hits in doubt", table(head, rows, {2, 3}), note)

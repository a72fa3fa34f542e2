"""What a suite's page says of known crystals."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from hitfinder.report import page

Results = Mapping[str, Any]

HALF_NOTE = (
    "Smaller is better; with 68 % intervals. Values beyond the scales that were tried are guesses. "
    "The limit is what a search reached that always found the true orientation, with the "
    "threshold of the first column's search."
)
COUNTS_NOTE = (
    "A hit is likelier than all but 1 % of the blanks, by Gumbel's distribution fitted to the "
    "blanks, which are searched in the same way. It is indexed if 'hitfinder index' would call it "
    "so. Right is the true orientation within 0.5°, up to the lattice's symmetry. Limit: hits if "
    "the true orientation were always found."
)
PATTERN_SIM_NOTE = (
    "Right orientations of thinned frames of CrystFEL's pattern_sim under fresh water noise, by "
    "their Bragg photons on average; whether sure or not."
)


def sections(results: Results) -> list[str]:
    """Return the sections on known crystals: none if there are no such results."""
    known = results.get("known") or []
    simulated = [one for one in known if one["frames"] == "simulated"]
    others = [one for one in known if one["frames"] == "pattern_sim"]
    out = []
    if simulated:
        heading = "Bragg scale at which half of the frames are hits"
        note = f"Crystal: {simulated[0]['crystal']}. {HALF_NOTE}"
        out.append(page.section("known-half", heading, _half(simulated), note))
        out.append(page.section("known-counts", "Hits and orientations", _counts(simulated),
                                COUNTS_NOTE))  # fmt: skip
    if others:
        heading = "Orientations in frames of pattern_sim"
        out.append(page.section("known-pattern-sim", heading, _right(others), PATTERN_SIM_NOTE))
    return out


def cards(results: Results) -> list[str]:
    """Return the numbers in large type: half of the hits with the structure."""
    return [
        page.card(f"{one['half_scale']['value']:.2g}", f"Bragg scale of half the hits, structure "
                  f"known: {one['title']}")
        for one in results.get("known") or []
        if one["frames"] == "simulated" and one["known"] == "structure"
    ]  # fmt: skip


def _half(parts: list[Results]) -> str:
    """Tell the scale of half of the hits, by background and what is known."""
    kinds = list(dict.fromkeys(one["known"] for one in parts))
    titles = list(dict.fromkeys(one["title"] for one in parts))
    by = {(one["title"], one["known"]): one for one in parts}
    rows = []
    for title in titles:
        here = [by.get((title, kind)) for kind in kinds]
        first = next(one for one in here if one is not None)
        shown = ["–" if one is None else _interval(one["half_scale"]) for one in here]
        rows.append((title, *shown, _interval(first["half_scale_limit"])))
    return page.table(("background", *kinds, "limit"), rows)


def _interval(half: Mapping[str, float]) -> str:
    return f"{half['value']:.2g} ({half['low']:.2g} to {half['high']:.2g})"


def _counts(parts: list[Results]) -> str:
    head = ("background", "known", "Bragg scale", "frames", "hits", "right", "hits not right",
            "indexed", "indexed, wrong", "limit", "median time of a frame")  # fmt: skip
    names = ("of", "hits", "right", "hits_not_right", "indexed", "indexed_wrong", "limit")
    rows = [
        (one["title"], one["known"], scale, *(row[name] for name in names),
         f"{one['seconds_a_frame']:.2f} s")
        for one in parts
        for scale, row in one["scales"].items()
    ]  # fmt: skip
    return page.table(head, rows, set(range(3, len(head))))


def _right(parts: list[Results]) -> str:
    rows = [
        (one["title"], one["known"], photons, n, one["of"], f"{one['seconds_a_frame']:.2f} s")
        for one in parts
        for photons, n in one["right"].items()
    ]
    head = ("background", "known", "Bragg photons", "right", "frames", "median time of a frame")
    return page.table(head, rows, {2, 3, 4, 5})

"""The top of a report: the verdict, the numbers, and what indexing found."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Mapping
from html import escape
from typing import TYPE_CHECKING, Any

import numpy as np

from hitfinder.metrics.classification import wilson_interval
from hitfinder.report.collect import Collector
from hitfinder.report.evidence import compared
from hitfinder.report.numbers import number
from hitfinder.report.page import card
from hitfinder.report.verdict import IndexRate

if TYPE_CHECKING:
    # What is slow to import; a run that is not indexed does without.
    from hitfinder.crystal.cell import Cell
    from hitfinder.crystal.lattice import Lattice
    from hitfinder.indexing.cellfit import FittedCell

MEANING = {
    "keep": "There are more hits than frames without a crystal give. Nothing casts doubt on them.",
    "look": "Something casts doubt on the run. Look at it before it is used, or thrown away.",
    "discard": "There are no more hits than frames without a crystal give.",
}
"""What each verdict says."""


def verdict_part(told: Mapping[str, Any]) -> str:
    """Return the verdict of ``run.json`` as a part that `renewed` can replace."""
    word = told["word"]
    # A number keeps its unit beside it.
    held = (re.sub(r" (?=[%Å])", "\u00a0", escape(reason)) for reason in told["reasons"])
    reasons = "".join(f"<li>{reason}</li>" for reason in held)
    body = (
        f'<section id="verdict" class="verdict {word}"><h2>Verdict: {word}</h2>'
        f'<p class="note">{escape(MEANING[word])}</p><ul>{reasons}</ul></section>'
    )
    return marked("verdict", body)


def indexing_part(
    rate: IndexRate | None = None, lattice: Lattice | None = None, fit: FittedCell | None = None
) -> str:
    """Return what indexing found, as a part that `renewed` can replace; nothing without a rate."""
    if rate is None or lattice is None or not rate.searched:
        return marked("indexing", "")
    low, high = (100 * float(end) for end in wilson_interval(rate.indexed, rate.searched, 0.68))
    share = f"{100 * rate.indexed / rate.searched:.3g} %"
    interval = f"index rate (68\u00a0%: {number(low, 2)}\u00a0–\u00a0{number(high, 2)}\u00a0%)"
    cards = (
        card(number(rate.indexed), f"indexed of {number(rate.searched)} searched frames", "good"),
        card(share, interval),
        card(number(rate.by_chance, 2), "would be indexed by chance"),
        card(f"{lattice.system} {lattice.centring}", f"unit cell {_lengths(lattice.cell)}"),
    )
    body = f'<h2>Indexing</h2><div class="cards">{"".join(cards)}</div>{_cell_told(fit)}'
    return marked("indexing", f'<section id="indexing">{body}</section>')


def _cell_told(fit: FittedCell | None) -> str:
    """Say that the peaks fit another cell than the given one."""
    if fit is None or not fit.is_given_one_wrong:
        return ""
    change = f"{100 * abs(fit.larger_by):.1f} % {'longer' if fit.larger_by > 0 else 'shorter'}"
    return (
        f"<p><strong>The given cell does not fit.</strong> Edges {change} than given fit the peaks "
        f"best: {_lengths(fit.fitted)}. Of the {fit.frames} hits with the most peaks "
        f"{fit.indexed_fitted} are indexed with them, {fit.indexed_given} with the given ones. A "
        "photon energy or a camera length that is off by as much looks the same.</p>"
    )


def _lengths(cell: Cell) -> str:
    """Return the unit cell with its units."""
    shown = [f"{length_or_angle:.6g}" for length_or_angle in dataclasses.astuple(cell)]
    return f"{' '.join(shown[:3])} Å, {' '.join(shown[3:])}°"


def renewed(page: str, *parts: str) -> str:
    """Return a report with parts in place of those of the same names.

    A page that has no such part, as one of an earlier version, stays as it is.
    """
    for part in parts:
        begin, end = part[: part.index("-->") + 3], part[part.rindex("<!--") :]
        before, found, rest = page.partition(begin)
        _, closed, after = rest.partition(end)
        if found and closed:
            page = before + part + after
    return page


def marked(name: str, body: str) -> str:
    """Return markup as a part that `renewed` can replace."""
    return f"<!--{name}-->{body}<!--/{name}-->"


def cards(run: Mapping[str, Any], collected: Collector) -> str:
    """Return the numbers of a run.

    Parameters
    ----------
    run : mapping
        What ``run.json`` holds.
    collected : Collector
        Figures over all frames.
    """
    c = collected
    n_ok, n_hits = int(c.ok.sum()), int(c.hit.sum())
    low, high = (100 * float(v) for v in wilson_interval(n_hits, n_ok, 0.68))
    rate = f"{100 * n_hits / n_ok:.3g} %" if n_ok else "–"
    ends = f" (68\u00a0%: {number(low, 2)}\u00a0–\u00a0{number(high, 2)}\u00a0%)" if n_ok else ""
    n_bad = len(c.ok) - n_ok - c.pending
    median = float(np.median(c.n_peaks[c.hit])) if n_hits else float("nan")
    known = c.background[c.ok & np.isfinite(c.background)]
    background = float(known.mean()) if known.size else float("nan")
    speed = run["timings"]["frames_per_second"]
    drawn = [
        card(number(n_ok), f"frames processed of {number(len(c.ok))}"),
        card(number(n_hits), "hits", "good" if n_hits else ""),
        card(rate, f"hit rate{ends}"),
        card(number(median), "peaks in the median hit"),
        card(number(background, 2), "background photons per pixel"),
        card(number(speed, 3) if speed else "–", "frames per second"),
        card(number(n_bad), "frames without a result", "warn" if n_bad else ""),
        *_estimates(run),
    ]
    return f'<div class="cards" id="summary">{"".join(drawn)}</div>'


def _estimates(run: Mapping[str, Any]) -> list[str]:
    """Photon energy and camera length that the water in the frames says, if it says any."""
    told = run.get("estimated_geometry")
    drawn = [
        card(
            f"{number(one.value, 4)} ± {number(one.sigma, 1)} {one.unit}",
            f"{one.name} by the water ({one.used:.5g} {one.unit} used)",
            "warn" if one.far else "",
        )
        for one in compared(told, run["geometry"])
    ]
    if told and drawn and told["drift"]["drifts"]:
        drawn.append(card("drift", "of photon energy or camera length in the run", "warn"))
    return drawn

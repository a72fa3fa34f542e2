"""A plan for people: text, a picture, and a page."""

from __future__ import annotations

import json
import math
import tomllib
from collections.abc import Mapping
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

import hitfinder
from hitfinder import config
from hitfinder.atomic import make_folder, replacing
from hitfinder.errors import OutputError
from hitfinder.report import page
from hitfinder.report.axes import FULL, HALF, NARROW, Chart, mark
from hitfinder.report.figures import new_figure, png
from hitfinder.report.numbers import number
from hitfinder.suite.plan import PulsePlan, Rate

if TYPE_CHECKING:
    from matplotlib.axes import Axes

JSON, PICTURE, PAGE = "plan.json", "plan.png", "plan.html"
OUTPUTS = (JSON, PICTURE, PAGE)

_STEPS = 61
_LEAST = 0.5
_THIN, _THIN_AND_FIRM = "\u2009", "\u202f"
METHOD = (
    "Pulses that meet a crystal were simulated, searched by the finder and indexed with the known "
    "cell, as real frames are; indexed counts those within 0.5° of the true orientation. Numbers "
    "for more pulses are extrapolated: the share times the pulses, with the 68 % interval of the "
    "share (Wilson) and the counting error of the pulses (binomial) in quadrature. Completeness "
    "supposes crystals in random orientations; a reflection that an indexed frame records k times "
    "on average is missed by N frames with the probability exp(-N k)."
)


def text(plan: PulsePlan, told: Mapping[str, Any]) -> str:
    """Return the plan as lines.

    Parameters
    ----------
    plan : PulsePlan
        The plan.
    told : mapping
        What `PulsePlan.told` says of it.
    """
    tried, share = told["tried"], told["share_of_pulses_with_crystal"]
    lines = [
        _experiment(plan),
        "",
        f"pulses with a crystal tried: {tried['pulses']}",
        f"hits: {tried['hits']} ({_per_cent(told['hits_of_pulses_with_crystal'])})",
        f"indexed: {tried['indexed_rightly']} "
        f"({_per_cent(told['indexed_of_pulses_with_crystal'])})",
        _peaks(told),
    ]
    if share < 1:
        lines.append(
            f"{100 * share:.3g} % of the pulses meet a crystal; of the others "
            f"{100 * told['false_hits']:.2g} % are called hits at most"
        )
    wrong = tried["indexed"] - tried["indexed_rightly"]
    if wrong:
        lines.append(f"indexed in a wrong orientation, which does not count: {wrong}")
    head = ("pulses", "hits", "indexed", f"complete to {told['resolution_a']:.3g} Å", "multiple")
    lines += ["", f"{head[0]:>12}{head[1]:>22}{head[2]:>22}{head[3]:>22}{head[4]:>10}"]
    for row in told["pulses"]:
        lines.append(
            f"{number(row['pulses']):>12}{_count(row['hits']):>22}{_count(row['indexed']):>22}"
            f"{100 * row['completeness']:>20.3g} %{number(row['multiplicity'], 3):>10}"
        )
    return "\n".join([*lines, "", *_needs(told)])


def _needs(told: Mapping[str, Any]) -> list[str]:
    frames, whole = told["needed"]["indexed_frames"], told["needed"]["completeness"]
    lines = [f"{number(frames['wanted'])} indexed frames take {_pulses(frames['pulses'])}"]
    what = f"{100 * whole['wanted']:.3g} % completeness to {told['resolution_a']:.3g} Å"
    if whole["indexed_frames"] is None:
        return [*lines, f"{what} is not reached by any number: the detector does not see that far"]
    n = number(math.ceil(whole["indexed_frames"]))
    return [*lines, f"{what} takes {n} indexed frames: {_pulses(whole['pulses'])}"]


def _pulses(needed: Mapping[str, float | None]) -> str:
    """Pulses that are needed, with their interval; a bound where nothing was indexed."""
    value, low, high = (needed[name] for name in ("value", "low", "high"))
    if value is None:
        return f"more than {number(float(f'{low:.2g}'))} pulses: none was indexed" if low else "?"
    ends = ["∞" if end is None else _rounded(end, 3) for end in (low, high)]
    return f"about {_rounded(value, 3)} pulses (68 %: {ends[0]} to {ends[1]})"


def _count(rate: Mapping[str, float]) -> str:
    value, high = rate["value"], rate["high"]
    if value == 0:
        return f"under {_rounded(high)}"
    return f"{number(round(value))} ± {_rounded(max(value - rate['low'], high - value))}"


def _rounded(value: float, digits: int = 2) -> str:
    return number(float(f"{value:.{digits}g}"), digits)


def _per_cent(rate: Mapping[str, float]) -> str:
    return f"{100 * rate['value']:.3g} %, 68 %: {100 * rate['low']:.3g} to {100 * rate['high']:.3g}"


def _peaks(told: Mapping[str, Any]) -> str:
    peaks = told["peaks_per_hit"]
    photons = f"photons on the detector: {number(told['tried']['photons_per_pulse'])} (median)"
    if peaks["median"] is None:
        return photons
    low, high = peaks["quartiles"]
    return (
        f"peaks in a hit: {number(peaks['median'])} (median; half have {low:.0f} to {high:.0f})\n"
        f"{photons}"
    )


def _experiment(plan: PulsePlan) -> str:
    chosen = plan.settings
    shots = chosen.background.shots
    summed = "" if str(shots) == "1" else f", each frame with the background of {shots} pulses"
    return (
        f"{chosen.crystal.structure}, {chosen.crystal.size_um} µm, in {chosen.background.water_um} "
        f"µm of water; {chosen.beam.flux} photons per pulse at {chosen.beam.photon_energy_ev} eV; "
        f"{chosen.detector.name} at {chosen.detector.camera_length_m} m{summed}"
    )


def write(plan: PulsePlan, told: Mapping[str, Any], folder: Path, *, overwrite: bool) -> None:
    """Write ``plan.json``, ``plan.png`` and ``plan.html`` to a folder.

    Raises
    ------
    OutputError
        If there is a plan already and it is not to be replaced, or the folder cannot be used.
    """
    check_folder(folder, overwrite=overwrite)
    written = {
        "hitfinder": hitfinder.__version__,
        **told,
        "settings": tomllib.loads(config.to_toml(plan.settings)),
    }
    with replacing(folder / JSON) as part:
        numbers = json.dumps(written, indent=1, ensure_ascii=False)
        part.write_text(numbers + "\n", encoding="utf-8")
    with replacing(folder / PICTURE) as part:
        part.write_bytes(picture(plan, told))
    with replacing(folder / PAGE) as part:
        part.write_text(html(plan, told), encoding="utf-8")


def check_folder(folder: Path, *, overwrite: bool) -> None:
    """Make the folder of a plan, and refuse one that holds a plan; before the work is done.

    Raises
    ------
    OutputError
        If it cannot be made, or there is a plan that is not to be replaced.
    """
    make_folder(folder)
    if not overwrite and any((folder / name).exists() for name in OUTPUTS):
        raise OutputError("there is a plan already", str(folder), "Use --overwrite.")


def _axis(told: Mapping[str, Any]) -> np.ndarray:
    """Pulses at which curves are drawn."""
    asked = [row["pulses"] for row in told["pulses"]]
    needed = [n["pulses"]["value"] or 0 for n in told["needed"].values()]
    low, high = max(10, min(asked) / 2), 2 * max(*asked, *needed)
    return np.geomspace(low, max(high, 10 * low), _STEPS)


def _draw_counts(axes: Axes, plan: PulsePlan, pulses: np.ndarray) -> None:
    """Draw hits and indexed frames against pulses, with their intervals."""
    for rate, kind, name in ((plan.hits, "line", "hits"), (plan.indexed, "good", "indexed")):
        style = dict(mark("line"))
        band = dict(mark("band"))
        if kind == "good":
            colour = mark("hit")["facecolor"]
            style["color"], band["color"] = colour, colour
        ends = [rate.expected(float(n)) for n in pulses]
        middle, low, high = (
            np.maximum([getattr(e, side) for e in ends], _LEAST)
            for side in ("value", "low", "high")
        )
        axes.fill_between(pulses, low, high, **band)
        axes.plot(pulses, middle, label=name, **style)
        below = kind == "good"
        axes.annotate(
            name,
            (pulses[_STEPS // 2], middle[_STEPS // 2]),
            (6, -6) if below else (-6, 6),
            ha="left" if below else "right",
            va="top" if below else "bottom",
            textcoords="offset points",
            **mark("note") | {"color": style["color"]},
        )


def _draw_completeness(axes: Axes, plan: PulsePlan, pulses: np.ndarray) -> None:
    """Draw completeness against pulses, with the interval of the index rate."""
    at = {
        side: [100 * plan.completeness(getattr(plan.indexed, side) * n) for n in pulses]
        for side in ("value", "low", "high")
    }
    axes.fill_between(pulses, at["low"], at["high"], **mark("band"))
    axes.plot(pulses, at["value"], **mark("line"))


def picture(plan: PulsePlan, told: Mapping[str, Any]) -> bytes:
    """Return the two curves as a PNG."""
    pulses = _axis(told)
    figure, ((left, right),) = new_figure((9.5, 3.9), 1, 2)
    _draw_counts(left, plan, pulses)
    left.set(xscale="log", yscale="log", xlabel="pulses", ylabel="frames")
    left.set_ylim(bottom=_LEAST)
    _draw_completeness(right, plan, pulses)
    to = f"completeness to {plan.resolution_a:.3g} Å (%)"
    right.set(xscale="log", xlabel="pulses", ylabel=to, ylim=(0, 101))
    for axes in (left, right):
        axes.grid(color="0.9")
    return png(figure)


def html(plan: PulsePlan, told: Mapping[str, Any]) -> str:
    """Return the page."""
    pulses = _axis(told)
    ends = float(pulses[0]), float(pulses[-1])
    top = max(10.0, 2 * plan.hits.expected(ends[1]).high)
    counts = Chart(
        "counts", "Hits and indexed frames against pulses, with 68 % intervals",
        lambda axes: _draw_counts(axes, plan, pulses), ends, (_LEAST, top), "pulses", "frames",
        log=("x", "y"), named=_decades(*ends),
    ).html((NARROW, HALF, FULL))  # fmt: skip
    complete = Chart(
        "complete", "Completeness in per cent against pulses, with its 68 % interval",
        lambda axes: _draw_completeness(axes, plan, pulses), ends, (0, 101), "pulses",
        "completeness (%)", log=("x",), named=_decades(*ends),
    ).html((NARROW, HALF, FULL))  # fmt: skip
    tried, needs = told["tried"], _needs(told)
    cards = "".join(
        (
            page.card(_short(plan.found), "of the pulses with a crystal are hits"),
            page.card(_short(plan.solved), "of the pulses with a crystal are indexed"),
            page.card(number(plan.peaks_per_hit()[0]), "peaks in the median hit"),
            page.card(number(tried["pulses"]), "pulses with a crystal tried"),
        )
    )
    rows = [
        (
            number(row["pulses"]), _count(row["hits"]), _count(row["indexed"]),
            f"{100 * row['completeness']:.3g} %", number(row["multiplicity"], 3),
        )
        for row in told["pulses"]
    ]  # fmt: skip
    head = ("pulses", "hits", "indexed", f"complete to {plan.resolution_a:.3g} Å", "multiplicity")
    settings = f'<div class="scroll"><pre>{escape(config.to_toml(plan.settings))}</pre></div>'
    to = f"Completeness to {plan.resolution_a:.3g} Å"
    lines = "".join(f"<li>{escape(line)}</li>" for line in needs).replace(_THIN, _THIN_AND_FIRM)
    body = (
        f'<div class="cards">{cards}</div>'
        f'<section id="needed"><h2>What it takes</h2><ul>{lines}</ul></section>'
        + page.section("frames", "Frames against pulses", counts, "Bands: 68 % intervals.")
        + page.section("completeness", to, complete, "Band: 68 % interval of the index rate.")
        + page.section("numbers", "In numbers", page.table(head, rows, set(range(5))), METHOD)
        + page.section("settings", "Settings", settings, "For hitfinder plan or simulate --config.")
    )
    header = f'<h1>Pulses needed</h1><p class="lead">{escape(_experiment(plan))}</p>'
    footer = f"hitfinder {escape(hitfinder.__version__)}"
    return page.page("Pulses needed – hitfinder", header, body, footer)


def _short(rate: Rate) -> str:
    return f"{100 * rate.value:.3g} %"


def _decades(low: float, high: float) -> dict[float, str]:
    """Return the powers of ten within a range and their names."""
    first, last = math.ceil(math.log10(low)), math.floor(math.log10(high))
    return {10.0**k: number(10.0**k) for k in range(first, last + 1)}

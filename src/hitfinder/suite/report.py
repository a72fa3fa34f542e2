"""The page of a suite: tables and figures of its results in one HTML file."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from html import escape
from typing import Any

from hitfinder.report import page
from hitfinder.report.figures import data_url
from hitfinder.suite import known_page

Results = Mapping[str, Any]
FIGURES = {
    "hits": (
        "Hits at 1 % false hits",
        "Share of frames with a crystal that are told from blanks, against the factor on their "
        "Bragg photons. The cut of every finder is set on the blanks of the condition.",
    ),
    "photons": (
        "Recall by photons",
        "Share of the spots found, by the photons they hold, at the allowed rate of false peaks.",
    ),
    "curves": (
        "Recall against false peaks",
        "The first group of each condition; weak peaks are dropped to meet each rate. The dotted "
        "line is the allowed rate.",
    ),
    "reliability": (
        "Do probabilities mean what they say?",
        "How often what was given a probability came true. Predictions on the line are right; so "
        "few of them would, even if right, be off by what is stated in brackets.",
    ),
    "geometry": (
        "Photon energy and camera length",
        "Root-mean-square error of single-frame estimates over the Cramér-Rao bound.",
    ),
    "known": (
        "A known crystal, searched in all pixels",
        "Share of frames that are likelier to hold the crystal than all but 1 % of the blanks, "
        "against the factor on their Bragg photons, by what the search is told. The limit is that "
        "of a search that always found the true orientation.",
    ),
}
NOTE = (
    "Spots of at least the photons named must be found; weaker ones are neither missed nor false. "
    "False peaks are counted on the blanks, for measured frames on the frames themselves. Recall "
    "is at the allowed rate of false peaks, the weakest peaks dropped to meet it; other programs "
    "are given the best of the settings they were run at."
)


def html(results: Results, pictures: Mapping[str, bytes]) -> str:
    """Return the page."""
    n = len(results["conditions"]) + len(results["geometry"]) + len(results["known"])
    lead = [f"{n} conditions", *filter(None, [", ".join(results["finders"])]), results["date"]]
    header = f"<h1>Suite {escape(results['suite'])}</h1><p class=lead>{escape('; '.join(lead))}</p>"
    body = [_cards(results), *_figures(pictures), *known_page.sections(results)]
    body += [_half(results), _hits(results)]
    families: dict[str, list[Results]] = {}
    for condition in results["conditions"]:
        families.setdefault(condition["family"], []).append(condition)
    for family, conditions in families.items():
        note = NOTE if family == next(iter(families)) else ""
        table = _recall(results, conditions)
        body.append(page.section(_anchor(family), f"Peaks: {family}", table, note))
    body += [_geometry(results), _skipped(results)]
    versions = ", ".join(f"{name} {version}" for name, version in results["versions"].items())
    return page.page(f"Suite {results['suite']}", header, "".join(body), escape(versions))


def _anchor(text: str) -> str:
    return text.replace(" ", "-")


def _cards(results: Results) -> str:
    ours = next(iter(results["finders"]), "")
    cards = known_page.cards(results)
    for c in results["conditions"]:
        found = c["finders"].get(ours, {})
        if c["family"] == "flux" and found:
            recall = percent(found["groups"][0]["recall"])
            cards.append(page.card(recall, f"recall, {ours}: {c['title']}"))
        if "half_scale" in found:
            half = found["half_scale"]["value"]
            cards.append(page.card(f"{half:.2g}", f"Bragg scale of half the hits: {c['title']}"))
    return f'<div class="cards">{"".join(cards)}</div>'


def _figures(pictures: Mapping[str, bytes]) -> list[str]:
    out = []
    for name, picture in pictures.items():
        heading, note = FIGURES[name]
        shown = f'<img src="{data_url(picture)}" style="max-width:100%" alt="{escape(heading)}">'
        out.append(page.section(name, heading, shown, note))
    return out


def percent(share: Mapping[str, float | None]) -> str:
    """Return a share in per cent."""
    value = share["value"]
    return "–" if value is None else f"{100 * value:.1f} %"


def _by_finder(results: Results, c: Results, text: Callable[[Results], str]) -> list[str]:
    finders = c["finders"]
    return [text(finders[name]) if name in finders else "–" for name in results["finders"]]


def _half(results: Results) -> str:
    def text(found: Results) -> str:
        half = found.get("half_scale")
        return f"{half['value']:.2g} ({half['low']:.2g} to {half['high']:.2g})" if half else "–"

    rows = [
        (c["title"], *_by_finder(results, c, text))
        for c in results["conditions"]
        if c["family"] == "flux"
    ]
    if not rows:
        return ""
    note = "Smaller is better; with 68 % intervals."
    table = page.table(("condition", *results["finders"]), rows)
    return page.section("half", "Bragg scale at which half of the hits are found", table, note)


def _hits(results: Results) -> str:
    rows = []
    for c in results["conditions"]:
        for g, group in enumerate(c["groups"]):
            if not c["n_blanks"]:
                continue

            def text(found: Results, g: int = g) -> str:
                hits = found["groups"][g]["hits"]
                own = f", by itself {percent(hits['decided'])}" if "decided" in hits else ""
                return f"{percent(hits['efficiency'])}{own}"

            rows.append((c["title"], group, *_by_finder(results, c, text)))
        if c["n_blanks"]:
            false = _by_finder(
                results, c, lambda found: percent(found.get("false_hits", {"value": None}))
            )
            rows.append((c["title"], "false hits, by itself", *false))
    if not rows:
        return ""
    note = (
        "At 1 % of the condition's blanks called hits. By itself: by the finder's own threshold, "
        "set without these blanks."
    )
    table = page.table(("condition", "Bragg scale", *results["finders"]), rows)
    return page.section("hit-table", "Hits found", table, note)


def _recall(results: Results, conditions: list[Results]) -> str:
    rows = []
    for c in conditions:
        for g, group in enumerate(c["groups"]):

            def text(found: Results, g: int = g) -> str:
                own = found["groups"][g]
                position = own["position"].get("median_px")
                where = f"; {position:.2f} px" if position is not None else ""
                return f"{percent(own['recall'])}{where}"

            spots = next((f["groups"][g]["n_spots"] for f in c["finders"].values()), 0)
            if not spots:
                continue
            asked = f"{c['min_photons']:g}, {c['false_limit']:g}"
            rows.append((c["title"], group, spots, asked, *_by_finder(results, c, text)))
        default = _by_finder(results, c, _default)
        rows.append((c["title"], "false per frame at the default", "", "", *default))
    head = ("condition", "group", "spots", "least photons, false allowed", *results["finders"])
    return page.table(head, rows, {2})


def _default(found: Results) -> str:
    return f"{found['false_per_frame']:.3g}" if "false_per_frame" in found else "–"


def _geometry(results: Results) -> str:
    rows = []
    for row in results.get("geometry") or []:
        for key, unit, scale in (("photon_energy", "eV", 1.0), ("camera_length", "mm", 1e3)):
            own = row[key]
            rows.append(
                (
                    row["title"],
                    key.replace("_", " "),
                    f"{scale * own['rms']:.3g} {unit}",
                    f"{own['rms_over_bound']:.2f}",
                    f"{100 * own['within_68']:.1f} %",
                    f"{100 * own['nearest']:.1f} %",
                )
            )
    if not rows:
        return ""
    head = ("condition", "of", "rms error", "over the bound", "68 % intervals hold", "nearest")
    note = "Nearest: nearest keV and nearest cm right."
    return page.section("geometry-table", "Energy and length", page.table(head, rows), note)


def _skipped(results: Results) -> str:
    skipped = results.get("skipped") or []
    if not skipped:
        return ""
    lines = "".join(f"<li>{escape(line)}</li>" for line in skipped)
    return page.section("skipped", "Left out", f"<ul>{lines}</ul>")

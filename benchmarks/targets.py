"""What is asked of the finders, and what they reached."""

from __future__ import annotations

import dataclasses
from typing import Any

OTHERS = ("peakfinder8", "DIALS")
# Recall of spots of 8 photons and more at 6 keV, 0.15 m and full flux, and false peaks per blank.
RECALL = {
    "likelihood": {"1": (0.99, 0.05), "100": (0.90, 0.2), "2000": (0.60, 0.05)},
    "network": {"1": (0.995, 0.02), "100": (0.95, 0.1), "2000": (0.66, 0.05)},
}
# Share of the hits at a Bragg scale, 1 % of the blanks being false ones.
HITS = {("flux-1", "0.003"): 0.95, ("flux-1", "0.001"): 0.75, ("flux-2000", "0.01"): 0.95}
HALF_OF_THE_BEST_OTHER = 0.6
MISSED_OF_THE_BEST_OTHER = 1 / 3
POSITION_PX = 0.35
CALIBRATION = 0.02


@dataclasses.dataclass(frozen=True)
class Target:
    """One thing asked: of whom, how much, what came out, and what the best peer or chance has."""

    what: str
    finder: str
    asked: float
    reached: float | None
    met: bool | None
    best_other: float | None = None
    by_chance: float | None = None


def verdict(results: dict[str, Any]) -> list[dict[str, Any]]:
    """Every target for which there is a figure."""
    out: list[Target] = []
    for finder in RECALL:
        by_name = {c["name"]: c for c in results["conditions"] if finder in c["finders"]}
        out += _recalls(by_name, finder) + _thinned(by_name, finder)
        if finder == "network":
            out += _hits(by_name) + _positions(by_name) + _calibration(by_name)
    return [dataclasses.asdict(target) for target in out]


def _recalls(by_name: dict[str, Any], finder: str) -> list[Target]:
    out = []
    for shots, (recall, false) in RECALL[finder].items():
        for condition in (f"sim6-{shots}", f"flux-{shots}"):
            c = by_name.get(condition)
            if c is None:
                continue
            own = c["finders"][finder]
            default = own["groups"][0]["recall_default"]["value"]
            at_limit = own["groups"][0]["recall_at"][f"{false:g}"]
            other = _best(c, lambda f, false=false: f["groups"][0]["recall_at"][f"{false:g}"])
            out += [
                Target(f"recall at the default, {condition}", finder, recall, default,
                       default >= recall, other),
                Target(f"false peaks a blank at the default, {condition}", finder, false,
                       own["false_per_frame"], own["false_per_frame"] <= false),
                Target(f"recall at {false:g} false a blank, {condition}", finder, recall,
                       at_limit, at_limit >= recall, other),
            ]  # fmt: skip
    return out


def _best(c: dict[str, Any], value: Any, largest: bool = True) -> float | None:
    found = [value(c["finders"][name]) for name in OTHERS if name in c["finders"]]
    return (max if largest else min)(found, default=None)


def _thinned(by_name: dict[str, Any], finder: str) -> list[Target]:
    out = []
    for name, c in by_name.items():
        other = _best(c, lambda f: f["groups"][0]["recall"]["value"])
        if c["family"] != "thinned" or other is None:
            continue
        share = MISSED_OF_THE_BEST_OTHER if finder == "network" else 1.0
        asked = 1 - share * (1 - other)
        reached = c["finders"][finder]["groups"][0]["recall"]["value"]
        met = reached >= asked if finder == "network" else reached > asked
        what = f"recall, {name}, at {c['false_limit']:g} false a frame"
        out.append(Target(what, finder, round(asked, 4), reached, met, other))
    return out


def _hits(by_name: dict[str, Any]) -> list[Target]:
    out = []
    for (condition, scale), asked in HITS.items():
        c = by_name.get(condition)
        if c is None:
            continue
        g = c["groups"].index(scale)
        reached = c["finders"]["network"]["groups"][g]["hits"]["efficiency"]["value"]
        other = _best(c, lambda f, g=g: f["groups"][g]["hits"]["efficiency"]["value"])
        what = f"hits, {condition}, Bragg scale {scale}"
        out.append(Target(what, "network", asked, reached, reached >= asked, other))
    for name, c in by_name.items():
        if c["family"] != "flux":
            continue
        other = _best(c, lambda f: f["half_scale"]["value"], largest=False)
        if other is None:
            continue
        own, asked = c["finders"]["network"]["half_scale"]["value"], HALF_OF_THE_BEST_OTHER * other
        out.append(Target(f"scale of half the hits, {name}", "network", asked, own, own <= asked,
                          other))  # fmt: skip
    return out


def _positions(by_name: dict[str, Any]) -> list[Target]:
    out = []
    for name, c in by_name.items():
        if c["family"] != "flux":
            continue
        error = c["finders"]["network"]["groups"][0]["position"].get("median_px")
        met = error is not None and error <= POSITION_PX
        out.append(Target(f"median position error, {name}, px", "network", POSITION_PX, error, met))
    return out


def _calibration(by_name: dict[str, Any]) -> list[Target]:
    out = []
    for name, c in by_name.items():
        own = c["finders"]["network"]
        for key in ("peak_reliability", "hit_reliability"):
            if c["family"] == "flux" and key in own:
                error = own[key]["error"]
                what = f"calibration error, {key.split('_')[0]}s, {name}"
                out.append(Target(what, "network", CALIBRATION, error, error <= CALIBRATION,
                                  by_chance=own[key]["by_chance"]))  # fmt: skip
    return out

"""Our finder beside peakfinder8 and DIALS on the same frames (`make bench`).

Ours runs at its one default setting; the others at the best of many for each condition. Peers
that are not installed (benchmarks/peers/setup.sh) are left out; in brackets what they would reach
if their weakest peaks were dropped until the limit is met. What tuning them found is kept beside
the frames (conditions.CACHE): the first run takes hours. `--quick` judges our finder alone
on fewer frames, for tuning it.
"""

from __future__ import annotations

import argparse
import functools
import time
from typing import Any

import numpy as np

from conditions import Condition, Frames, prepared
from figures import draw_curves, draw_recall_by_photons
from hitfinder.geometry.experiment import Geometry
from hitfinder.inference.finder import Finder, FinderSettings
from hitfinder.metrics.classification import wilson_interval
from judge import judge
from peer import PEERS
from recipes import recipes
from report import results_header, write_json
from tune import Tuned, kept, tuned

OURS = "hitfinder"
# The curve takes peaks weaker than the default lets through; a user changes the same setting.
CURVE_FALSE_PEAKS = (0.003, 0.3, 0.95)
RATES = (0.02, 0.05, 0.1, 0.2, 0.4, 1.0, 2.0)
# Targets on frame 6 keV, 0.15 m at full flux: shots of water, recall, false peaks per blank.
TARGETS = {"sim6_1": 0.99, "sim6_100": 0.90, "sim6_2000": 0.60}


@functools.cache
def finder_of(geometry: Geometry) -> Finder:
    """Conditions share geometries, and a finder takes seconds to build."""
    return Finder(geometry)


def run_ours(
    frames: Frames, settings: FinderSettings, subset: list[int]
) -> tuple[list[np.ndarray], np.ndarray, np.ndarray]:
    """Peaks (fs, ss, −log10 chance) of each frame, whether it is a hit, and seconds."""
    found, hits, seconds = [], [], []
    for index in subset:
        finder = finder_of(frames.geometry(index))
        finder.settings = settings
        frame = np.array(frames.frames[index])
        start = time.perf_counter()
        result = finder.process(frame)
        seconds.append(time.perf_counter() - start)
        peaks = result.peaks
        strength = -peaks["log_p"].astype(float) / np.log(10)
        found.append(np.stack([peaks["fs"], peaks["ss"], strength], 1))
        hits.append(result.hit)
    return found, np.array(hits), np.array(seconds)


def judge_ours(frames: Frames, subset: list[int]) -> tuple[Tuned, np.ndarray, float]:
    """Our finder at its default (first) and along its curve; hits at the default; seconds."""
    found, hits, seconds = run_ours(frames, FinderSettings(), subset)
    judgements = [judge(frames, found, subset)]
    settings: list[dict] = [{}]
    for false_peaks in CURVE_FALSE_PEAKS:
        found, _, _ = run_ours(frames, FinderSettings(false_peaks=false_peaks), subset)
        judgements.append(judge(frames, found, subset))
        settings.append({"false_peaks": false_peaks})
    return Tuned(settings, judgements), hits, float(np.median(seconds))


def subset_of(frames: Frames, quick: bool) -> list[int]:
    c = frames.condition
    hits = c.n_hits if not quick else min(c.n_hits, 9 if len(frames.geometries) > 1 else 12)
    blanks = c.n_blanks if not quick else min(c.n_blanks, 40)
    return [*range(hits), *range(c.n_hits, c.n_hits + blanks)]


def rate(n: int, total: int) -> dict[str, float]:
    """A proportion and its 95 % interval."""
    low, high = wilson_interval(n, total)
    share = n / total if total else float("nan")
    return {"value": round(share, 4), "low": round(float(low), 4), "high": round(float(high), 4)}


def group_result(
    c: Condition, g: int, ours: Tuned, peers: dict[str, Tuned], hits: np.ndarray, is_hit: np.ndarray
) -> dict[str, Any]:
    """Everything recorded about one row of the table."""
    default = ours.judgements[0].of_group(g)
    own = default.false_per_frame
    of_group = hits[is_hit][g :: len(c.groups)]
    result: dict[str, Any] = {
        "condition": c.name,
        "title": c.title,
        "flux_or_dose": c.groups[g],
        "min_photons": c.min_photons,
        "n_spots": default.n_must,
        "false_limit": c.false_limit,
        OURS: {
            "recall": rate(default.n_found, default.n_must),
            "false_per_frame": round(own, 4),
            "n_false": len(default.false),
            "n_false_frames": default.n_false_frames,
            "recall_at_limit": round(ours.best_cut(c.false_limit, g)[0], 4),
            "recall_at": recall_at(ours, g),
            "hits_found": rate(int(of_group.sum()), len(of_group)),
        },
    }
    if c.n_blanks:
        blanks = hits[~is_hit]
        result[OURS]["false_hits"] = rate(int(blanks.sum()), len(blanks))
    for name, peer in peers.items():
        best, k = peer.best(c.false_limit, g)
        best_cut, k_cut = peer.best_cut(c.false_limit, g)
        result[name] = {
            "recall_at_limit": round(best, 4),
            "false_per_frame": round(peer.judgements[k].false_per_frame, 4),
            "settings": peer.settings[k],
            "recall_at_limit_cut": round(best_cut, 4),
            "settings_cut": peer.settings[k_cut],
            "recall_at_our_false_rate": round(peer.best(own, g)[0], 4),
            "recall_at_our_false_rate_cut": round(peer.best_cut(own, g)[0], 4),
            "recall_at_cut": recall_at(peer, g),
        }
    return result


def recall_at(found: Tuned, group: int) -> dict[str, float]:
    return {f"{r:g}": round(found.best_cut(r, group)[0], 4) for r in RATES}


HEADER = (
    f"{'condition':<16}{'flux':>7}{'spots':>7} | {'default':>8}{'false':>7} | {'limit':>6}"
    f"{OURS:>11}{'peakfinder8':>14}{'DIALS':>14} | {'hits':>6}{'blanks':>8}{'ms':>6}"
)


def print_row(row: dict[str, Any], seconds: float) -> None:
    ours = row[OURS]
    peers = [
        f"{row[p.name]['recall_at_limit']:.3f} ({row[p.name]['recall_at_limit_cut']:.3f})"
        if p.name in row
        else "-"
        for p in PEERS
    ]  # fmt: skip
    blanks = f"{ours['false_hits']['value']:.3f}" if "false_hits" in ours else ""
    print(
        f"{row['condition']:<16}{row['flux_or_dose']:>7}{row['n_spots']:>7} | "
        f"{ours['recall']['value']:>8.3f}{ours['false_per_frame']:>7.2f} | "
        f"{row['false_limit']:>6.2f}{ours['recall_at_limit']:>11.3f}{peers[0]:>14}{peers[1]:>14} | "
        f"{ours['hits_found']['value']:>6.2f}{blanks:>8}{seconds * 1e3:>6.0f}",
        flush=True,
    )


def measure(only: str, quick: bool, with_peers: bool) -> tuple[list[dict], dict[str, Any]]:
    """Judge every finder on every condition whose name starts with `only`."""
    rows: list[dict] = []
    drawn: dict[str, Any] = {}
    installed = {p.name for p in PEERS if with_peers and p.available()}
    for peer in PEERS:
        if with_peers and peer.name not in installed:
            print(f"{peer.name} is not installed (benchmarks/peers/setup.sh): left out")
    print(HEADER)
    for recipe in recipes():
        if not recipe.condition.name.startswith(only):
            continue
        frames = prepared(recipe)
        c = frames.condition
        subset = subset_of(frames, quick)
        ours, hits, seconds = judge_ours(frames, subset)
        peers = {
            p.name: tuned(p, frames, starting_settings(p.name, c))
            for p in PEERS
            if p.name in installed
        }
        is_hit = np.array(subset) < c.n_hits
        for g in range(len(c.groups)):
            rows.append(group_result(c, g, ours, peers, hits, is_hit))
            print_row(rows[-1], seconds)
        drawn[c.name] = (c, {OURS: ours, **peers})
    return rows, drawn


def starting_settings(peer: str, c: Condition) -> list[dict] | None:
    """Further simulated frames of a background take the settings found best on the first."""
    family, _, shots = c.name.partition("_")
    if family in ("sim9", "own6"):
        known = kept(f"sim6_{shots}", peer)
        return known.settings if known else None
    return None


def verdict(rows: list[dict]) -> dict[str, Any]:
    """The targets, and whether each is met by the default setting."""
    out = {}
    for row in rows:
        name = row["condition"]
        if name not in TARGETS or row["flux_or_dose"] != "100 %":
            continue
        ours = row[OURS]
        others = [row[p.name]["recall_at_limit"] for p in PEERS if p.name in row]
        cut = [row[p.name]["recall_at_limit_cut"] for p in PEERS if p.name in row]
        out[name] = {
            "recall": ours["recall"]["value"],
            "target": TARGETS[name],
            "false_per_blank": ours["false_per_frame"],
            "limit": row["false_limit"],
            "met": ours["recall"]["value"] >= TARGETS[name]
            and ours["false_per_frame"] <= row["false_limit"],
            "best_peer": max(others, default=None),
            "best_peer_weak_peaks_dropped": max(cut, default=None),
        }
    return out


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="our finder only, fewer frames")
    parser.add_argument("--no-peers", action="store_true", help="record our finder only")
    parser.add_argument("--only", default="", help="conditions whose name starts so")
    arguments = parser.parse_args()
    with_peers = not (arguments.quick or arguments.no_peers)
    rows, drawn = measure(arguments.only, arguments.quick, with_peers)
    if arguments.quick or arguments.only:
        return
    result = results_header(list(PEERS))
    write_json("finder.json", {**result, "targets": verdict(rows), "rows": rows})
    draw_curves(drawn)
    draw_recall_by_photons(drawn)


if __name__ == "__main__":
    main()

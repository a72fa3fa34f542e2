"""The suite low-flux with peakfinder8 and DIALS on the same frames (`make bench`).

Ours run at their one default setting; the others at the best of many for each condition. Peers that
are not installed (benchmarks/peers/setup.sh) are left out, unless their answers are kept beside the
frames (inputs.CACHE): the first run takes about an hour. Written are benchmarks/results/finder.json
(what the documentation states), the figures of the documentation, and the whole of it to --out.
What is there already, in the folder and in the JSON, stays where it is not measured anew: other
conditions, and what other finders said of the same frames.
"""

from __future__ import annotations

import argparse
import json
import shutil
from pathlib import Path
from typing import Any

from hitfinder.suite import catalog, finders, peers, run
from hitfinder.suite.condition import ConditionRecipe, prepared
from inputs import CACHE, FRAMES, HERE, PEERS, recipes
from peer import PEERS as PROGRAMS
from report import RESULTS, results_header, write_json
from targets import verdict
from tune import answer

IMAGES = HERE.parent / "docs" / "images"
# Figure of the suite -> picture in the documentation.
FIGURES = {"hits": "benchmark-hits.png", "photons": "benchmark-photons.png"}
COPIED = ("name", "title", "frames", "min_photons", "false_limit")
KEPT_IN = RESULTS / "finder.json"
KEPT = ("setting", "recall_by_settings", "recall_default", "position", "hits")


def run_peers(chosen: list[ConditionRecipe]) -> None:
    """Let every installed peer answer the conditions it has not answered yet."""
    installed = [program for program in PROGRAMS if program.available()]
    for program in PROGRAMS:
        if program not in installed:
            print(f"{program.name} is not installed (benchmarks/peers/setup.sh)")
    for recipe in chosen:
        frames = prepared(recipe, FRAMES)
        for program in installed:
            answer(program, frames)


def rows(results: dict[str, Any]) -> list[dict[str, Any]]:
    """What is stated about each group of each condition."""
    out = []
    for c in results["conditions"]:
        for g, group in enumerate(c["groups"]):
            row = {name: c[name] for name in COPIED}
            row |= {"group": group, "n_hits": c["n_hits"] // len(c["groups"])}
            row["n_blanks"] = c["n_blanks"]
            row["finders"] = {name: _of(found, g) for name, found in c["finders"].items()}
            out.append(row)
    return out


def _of(found: dict[str, Any], g: int) -> dict[str, Any]:
    group = found["groups"][g]
    own = {"n_spots": group["n_spots"], "recall": group["recall"]}
    own |= {name: group[name] for name in KEPT if name in group}
    whole = ("false_per_frame", "beside_spots_per_hit", "false_hits", "half_scale")
    return own | {name: found[name] for name in whole if name in found and not g}


def beside(new: list[Any], known: list[Any], *names: str) -> list[Any]:
    """Return new entries with the known ones that they do not replace.

    Those have other names, or are of finders that are known to have searched the same frames.
    """
    of = {tuple(one[name] for name in names): one for one in known}
    for one in new:
        key = tuple(one[name] for name in names)
        before = of.get(key, {})
        if "frames" in one and before.get("frames") == one["frames"]:
            one = {**one, "finders": before["finders"] | one["finders"]}
        of[key] = one
    return list(of.values())


def joined(results: dict[str, Any], before: Path) -> dict[str, Any]:
    """Add what was found before, in the order of the suite."""
    for part in ("conditions", "geometry"):
        known = json.loads(before.read_text())[part] if before.is_file() else []
        order = [r.condition.name for r in recipes()] + [s.name for s, _ in catalog.series()]
        both = beside(results[part], known, "name")
        results[part] = sorted(both, key=lambda one: order.index(one["name"]))
    names = [name for c in results["conditions"] for name in c["finders"]]
    results["finders"] = list(dict.fromkeys([*results["finders"], *names]))
    return results


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--only", nargs="*", default=(), help="conditions whose name starts so")
    parser.add_argument("--no-peers", action="store_true", help="do not run peers, only read them")
    parser.add_argument("--out", type=Path, default=CACHE / "suite", help="folder of the report")
    arguments = parser.parse_args()
    chosen = recipes(tuple(arguments.only))
    if not arguments.no_peers:
        run_peers(chosen)
    answers = PEERS if PEERS.is_dir() and peers.names(PEERS) else None
    series = catalog.series(only=arguments.only)
    suite = run.Suite(
        *(catalog.LOW_FLUX, chosen, series),
        finders=finders.finders(), frames=FRAMES, peers_folder=answers,
    )  # fmt: skip
    results = run.run(suite, lambda n: None)
    results = joined(results, arguments.out / run.RESULTS)
    print(run.write(results, arguments.out))
    kept = {
        "targets": (verdict(results), ("what", "finder")),
        "rows": (rows(results), ("name", "group")),
        "geometry": (results["geometry"], ("name",)),
    }
    for line in kept["targets"][0]:
        print(line)
    before = json.loads(KEPT_IN.read_text()) if KEPT_IN.is_file() else {}
    all_of_it = {
        part: beside(new, before.get(part, []), *names) for part, (new, names) in kept.items()
    }
    write_json(KEPT_IN.name, results_header(list(PROGRAMS)) | all_of_it)
    for name, picture in FIGURES.items():
        if (arguments.out / f"{name}.png").is_file():
            shutil.copyfile(arguments.out / f"{name}.png", IMAGES / picture)


if __name__ == "__main__":
    main()

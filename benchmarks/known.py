"""A known crystal, searched in all pixels: hits and orientations against Bragg scale.

Frames of proteinase K as those of the suite (flux-1, -100, -2000), but with orientations of their
own and at scales around the limit, are searched for it: with its structure, with the cell alone,
with the structure of another crystal in the same cell, and with its own structure in a cell that is
1.5 % too long along each edge. The background is the one that the frames themselves tell. A frame
counts as a hit if its best orientation is likelier than that of all but 1 % of the blanks, by
Gumbel's distribution fitted to the blanks. It is right if it is within 0.5° of the truth, up to the
lattice's symmetry. `limit` counts the same frames whose own crystal, orientation, scale and
background being known, passes the same threshold.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import time
from typing import Any

import numpy as np

from hitfinder.crystal.cell import Cell
from hitfinder.crystal.compute import random_structure_factors
from hitfinder.crystal.lattice import lattice_of
from hitfinder.finding.likelihood import LikelihoodFinder
from hitfinder.indexing.known.background import background_image
from hitfinder.indexing.known.chance import Chance
from hitfinder.indexing.known.crystal import KnownCrystal
from hitfinder.indexing.known.search import Hypothesis, search
from hitfinder.suite import simulated
from hitfinder.suite.hits import half_point
from report import RESULTS, results_header, write_json

KINDS = ("structure", "cell", "wrong structure", "wrong cell")
WRONG_CELL = 1.015
SCALES = {1: (0.001, 0.0003, 0.0001), 100: (0.003, 0.001, 0.0005), 2000: (0.01, 0.003, 0.0015)}
FALSE_HITS, RIGHT_DEG = 0.01, 0.5


def crystals(maker: simulated.SimulatedCondition, kinds: list[str]) -> dict[str, KnownCrystal]:
    """What is known of the crystal, by kind."""
    factors, geometry = maker.factors, maker.geometry()
    lattice = lattice_of(factors.cell, factors.space_group_name)
    rng = np.random.default_rng(1)
    other = random_structure_factors(factors.cell, factors.space_group_name, rng, factors.d_min_a)
    known = {"structure": factors, "cell": None, "wrong structure": other}
    out = {k: KnownCrystal.of(lattice, geometry, factors=f) for k, f in known.items() if k in kinds}
    if "wrong cell" in kinds:
        c = factors.cell
        long = Cell(*(WRONG_CELL * edge for edge in (c.a, c.b, c.c)), c.alpha, c.beta, c.gamma)
        off = lattice_of(long, factors.space_group_name)
        out["wrong cell"] = KnownCrystal.of(off, geometry, factors=factors.with_cell(long))
    return out


def judged(shots: int, kinds: list[str], n_hits: int, n_blanks: int) -> dict[str, Any]:
    """Hits and orientations of a background, by what is known and Bragg scale."""
    scales = SCALES[shots]
    condition = dataclasses.replace(
        simulated.flux_condition(shots),
        name=f"known-{shots}",
        groups=tuple(map(str, scales)),
        n_hits=n_hits * len(scales),
        scales=scales,
    )
    maker = simulated.SimulatedCondition(condition, simulated.flux_settings(shots))
    finder = LikelihoodFinder(maker.geometry())
    out: dict[str, Any] = {}
    for kind, crystal in crystals(maker, kinds).items():
        seconds: list[float] = []

        def found(frame: np.ndarray, crystal=crystal, seconds=seconds) -> Hypothesis:
            began = time.process_time()
            counts, rate = finder.counts_and_background(frame)
            best = search(crystal, counts, background_image(counts, finder.rings, rate))
            seconds.append(time.process_time() - began)
            return best[0] if best else Hypothesis(np.eye(3), 0.0, 0.0)

        blanks = [found(maker.blank(None, k)).log_ratio for k in range(n_blanks)]
        chance = Chance.fitted(blanks)
        rows, n_found, n_known = {}, [], []
        for group, scale in enumerate(scales):
            hits = right = sure_wrong = known = 0
            ratios = []
            for k in range(n_hits):
                number = group + k * len(scales)
                frame = maker.hit(None, number)[0]
                known += true_ratio(maker, number, frame) >= chance.least(FALSE_HITS)
                best = found(frame)
                ratios.append(round(best.log_ratio, 1))
                axes = best.turn @ crystal.lattice.cell.reciprocal
                good = crystal.lattice.angle_deg(axes, maker.axes(number)) < RIGHT_DEG
                sure = chance.false_share(best.log_ratio) <= FALSE_HITS
                hits, right = hits + sure, right + good
                sure_wrong += sure and not good
            rows[f"{scale:g}"] = {
                "hits": hits, "right": right, "hits_not_right": sure_wrong, "limit": known,
                "of": n_hits, "ratios": ratios,
            }  # fmt: skip
            n_found.append(hits)
            n_known.append(known)
            print(shots, kind, scale, rows[f"{scale:g}"], flush=True)
        half = half_point(scales, n_found, [n_hits] * len(n_found))
        out[kind] = {
            "scales": rows,
            "half_scale": dataclasses.asdict(half),
            "half_scale_limit": dataclasses.asdict(
                half_point(scales, n_known, [n_hits] * len(n_known))
            ),
            "blanks": [round(ratio, 1) for ratio in sorted(blanks)],
            "chance": dataclasses.asdict(chance) | {"least": chance.least(FALSE_HITS)},
            "seconds_a_frame": round(float(np.median(seconds)), 2),
        }
        print(shots, kind, out[kind]["half_scale"], out[kind]["seconds_a_frame"], flush=True)
    return out


def true_ratio(maker: simulated.SimulatedCondition, number: int, frame: np.ndarray) -> float:
    """Log likelihood ratio of a hit for its own crystal, of which everything is known."""
    bragg, background = maker.expected_bragg(number), maker.expected_background()
    ratio = frame * np.log1p(bragg / np.maximum(background, 1e-12)) - bragg
    return float(ratio[background > 0].sum())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--shots", type=int, nargs="+", default=list(SCALES))
    parser.add_argument("--kinds", nargs="+", choices=KINDS, default=list(KINDS))
    parser.add_argument("--hits", type=int, default=16, help="frames of each Bragg scale")
    parser.add_argument("--blanks", type=int, default=30)
    parser.add_argument("--out", default="known.json")
    given = parser.parse_args()
    there = RESULTS / given.out
    found = json.loads(there.read_text()) if there.exists() else {}
    for shots in given.shots:
        judgement = judged(shots, given.kinds, given.hits, given.blanks)
        found[f"flux-{shots}"] = found.get(f"flux-{shots}", {}) | judgement
    write_json(given.out, found | results_header([]))


if __name__ == "__main__":
    main()

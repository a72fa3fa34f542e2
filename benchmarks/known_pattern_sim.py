"""Orientations of weak frames of CrystFEL's pattern_sim, found from all pixels.

The suite's part with the nine frames of proteinase K, at 6, 7 and 8 keV and 0.15, 0.25 and 0.35 m
(see `hitfinder.suite.known_patternsim`), with any seed.
"""

from __future__ import annotations

import argparse
import dataclasses

from hitfinder.crystal.tables import packaged_structure_factors
from hitfinder.suite.known_patternsim import PHOTONS, pattern_sim_parts
from inputs import PATTERN_SIM
from report import results_header, write_json


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--shots", type=int, nargs="+", default=list(PHOTONS))
    parser.add_argument("--seed", type=int, default=1)
    given = parser.parse_args()
    parts = []
    for part in pattern_sim_parts(PATTERN_SIM, packaged_structure_factors()):
        if part.shots in given.shots:
            parts.append(dataclasses.replace(part, seed=given.seed).judged(lambda n: None))
            print(parts[-1], flush=True)
    write_json("known_pattern_sim.json", results_header([]) | {"parts": parts})


if __name__ == "__main__":
    main()

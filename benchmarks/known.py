"""A known crystal, searched in all pixels: hits and orientations against Bragg scale.

The suite's part with simulated frames of proteinase K (see `hitfinder.suite.known`), a background
and what is known of the crystal at a time, with any numbers of frames. What is not measured is kept
from the time before.
"""

from __future__ import annotations

import argparse
import json

from hitfinder.crystal.tables import packaged_structure_factors
from hitfinder.suite import known
from hitfinder.suite.known_crystals import KNOWN
from report import RESULTS, results_header, write_json


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--shots", type=int, nargs="+", default=list(known.SCALES))
    parser.add_argument("--kinds", nargs="+", choices=KNOWN, default=list(KNOWN))
    parser.add_argument("--hits", type=int, default=known.HITS, help="frames of each Bragg scale")
    parser.add_argument("--blanks", type=int, default=known.BLANKS)
    parser.add_argument("--out", default="known.json")
    given = parser.parse_args()
    there = RESULTS / given.out
    found = json.loads(there.read_text()) if there.exists() else {}
    crystal = packaged_structure_factors()
    what = given.hits, given.blanks, given.shots, given.kinds
    for part in known.simulated_parts(crystal, *what):
        judged = part.judged(lambda n: None)
        print(part.name, judged["half_scale"], judged["scales"], flush=True)
        found.setdefault(f"flux-{part.condition.shots}", {})[part.known] = judged
    write_json(given.out, found | results_header([]))


if __name__ == "__main__":
    main()

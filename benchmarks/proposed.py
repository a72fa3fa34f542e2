"""What the network finder loses by judging proposed candidates only.

Frames of the suite are searched twice, by the finder that judges what the likelihood finder
proposes and by the one that judges every pixel (`--device`, by default the CPU: some ten seconds a
frame). Stated are the true spots that each of them keeps, and false peaks.
"""

from __future__ import annotations

import argparse
import time
from typing import Any

import numpy as np

from hitfinder.evaluate.suite.judge import judge
from hitfinder.inference.dense import DenseFinder
from hitfinder.inference.locator import NetworkFinder
from inputs import condition
from report import results_header, write_json

CONDITIONS = ("sim6-1", "sim6-100", "sim6-2000")


def compared(name: str, n_hits: int, n_blanks: int, device: str) -> dict[str, Any]:
    """Search the first hits of all groups in turn, and the first blanks, in both ways."""
    frames = condition(name)
    first = frames.condition.n_hits
    chosen = [*range(n_hits), *range(first, first + n_blanks)]
    geometry = frames.geometry(0)
    finders = {
        "proposed": NetworkFinder(geometry),
        "every_pixel": DenseFinder(geometry, device=device),
    }
    out: dict[str, Any] = {"name": name, "n_hits": n_hits, "n_blanks": n_blanks}
    for label, finder in finders.items():
        found, hits, began = [], [], time.perf_counter()
        for index in chosen:
            result = finder.process(np.array(frames.frames[index]))
            peaks = result.peaks
            found.append(np.stack([peaks["fs"], peaks["ss"], peaks["probability"]], 1))
            hits.append(bool(result.hit))
        seconds = (time.perf_counter() - began) / len(chosen)
        judged = judge(frames, found, chosen)
        out["n_spots"] = judged.n_must
        out[label] = {
            "n_found": judged.n_found,
            "n_false_on_blanks": len(judged.false),
            "n_beside_spots": len(judged.beside),
            "n_hits": sum(hits[:n_hits]),
            "n_false_hits": sum(hits[n_hits:]),
            "seconds_per_frame": round(seconds, 3),
        }
        print(name, label, out[label], flush=True)
    return out


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--hits", type=int, default=12, help="frames with spots")
    parser.add_argument("--blanks", type=int, default=8, help="frames without")
    parser.add_argument("--device", default="cpu")
    given = parser.parse_args()
    rows = [compared(name, given.hits, given.blanks, given.device) for name in CONDITIONS]
    write_json("proposed.json", results_header([]) | {"device": given.device, "rows": rows})


if __name__ == "__main__":
    main()

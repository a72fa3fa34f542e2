"""Whether probabilities of peaks come true on measured frames, thinned to low doses.

Frames at hand (the shared data, and those in a folder named by --frames) are thinned binomially and
searched by the network finder, all candidates of a probability of 0.02 and more. A candidate is
true if there is a spot within four pixels at full dose. Spots too weak to be seen there count as
false; how many these may be is told by the photons at the false ones that thinning left out, which
are independent of those that it kept: beside them stands what the background alone has there.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

import numpy as np
from scipy.ndimage import uniform_filter
from scipy.spatial import KDTree

from hitfinder.metrics.calibration import reliability
from hitfinder.network.finder import NetworkFinder
from hitfinder.suite.fullspots import local_mean
from hitfinder.suite.thinned import TOLERANCE_PX, FullFrame
from real import at_hand
from report import results_header, write_json

DOSES = (0.1, 0.03, 0.01)
EDGES = (0.02, 0.1, 0.2, 0.3, 0.5, 0.7, 0.9, 1.0)
LEAST, LEAST_JUDGED = 0.02, 0.1
BOX = 5


def of_dose(find: NetworkFinder, full: FullFrame, mean: np.ndarray, dose: float, n: int) -> Any:
    """Probabilities, what came true, and photons left out beside those expected, of n frames."""
    spots = KDTree(np.stack([full.spots.table["fs"], full.spots.table["ss"]], 1))
    parts = []
    for number in range(n):
        rng = np.random.default_rng([77, round(1e4 * dose), number])
        counts = rng.binomial(full.counts, dose)
        peaks = find(counts.astype(np.uint16)).peaks
        near = spots.query(np.stack([peaks["fs"], peaks["ss"]], 1))[0] <= TOLERANCE_PX
        left_out = BOX**2 * uniform_filter((full.counts - counts).astype(float), BOX)
        row, column = peaks["ss"].astype(int), peaks["fs"].astype(int)
        parts.append(
            np.stack([peaks["probability"], near, left_out[row, column],
                      (1 - dose) * mean[row, column]])
        )  # fmt: skip
    return np.concatenate(parts, axis=1)


def measured(full: FullFrame, n: int) -> dict[str, Any]:
    """What is said of one frame."""
    find = NetworkFinder(full.geometry, peak_probability=LEAST, fill_to=0)
    good = ~full.geometry.detector.full_mask
    mean = np.where(good, local_mean(full.counts, good), 0.0)
    mean = BOX**2 * uniform_filter(mean, BOX)
    told: dict[str, Any] = {"frame": full.path.name, "number": full.number, "frames": n}
    for dose in DOSES:
        p, near, left_out, expected = of_dose(find, full, mean, dose, n)
        judged, true = p >= LEAST_JUDGED, near > 0
        found = reliability(p[judged], true[judged])
        which = np.digitize(p, EDGES[1:-1])
        false = judged & ~true
        told[f"{dose:g}"] = {
            "error": round(found.error, 4),
            "by_chance": round(found.by_chance, 4),
            "too_low_by": round(float((true - p)[judged].mean()), 4) if judged.any() else None,
            "log_loss_a_frame": round(_log_loss(p, true) / n, 2),
            "bins": [_bin(p, true, which == k) for k in range(len(EDGES) - 1)],
            "photons_left_out_at_false": [
                round(float(v[false].mean()), 3) if false.any() else None
                for v in (left_out, expected)
            ],
        }
    return told


def _bin(p: np.ndarray, true: np.ndarray, own: np.ndarray) -> list[float]:
    """Candidates, their mean probability and the share that came true."""
    n = int(own.sum())
    return [n, *(round(float(v[own].mean()), 3) for v in (p, true))] if n else [0, 0.0, 0.0]


def _log_loss(p: np.ndarray, true: np.ndarray) -> float:
    p = np.clip(p, 1e-6, 1 - 1e-6)
    return float(-np.log(np.where(true, p, 1 - p)).sum())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--frames", type=Path, help="folder of more measured frames")
    parser.add_argument("--only", default="", help="frames whose name holds this")
    parser.add_argument("--n", type=int, default=8, help="thinned frames for each dose")
    arguments = parser.parse_args()
    found = []
    for full in at_hand(arguments.frames):
        if arguments.only in full.name:
            found.append(measured(full, arguments.n))
            print(found[-1], flush=True)
    write_json("thinned.json", results_header([]) | {"edges": EDGES, "frames": found})


if __name__ == "__main__":
    main()

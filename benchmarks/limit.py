"""What a fixed cut on single spots could reach at most: recall with the footprints known beforehand.

In each pattern_sim frame under water, every spot is tested in the window of its own brightest
pixels, as many of them as chance explains worst, against the exact expected background. It counts
as found where the Poisson chance of the photons in that window is below the allowed false peaks per
frame over the number of pixels, as for one window at every pixel. A finder must choose its windows
without knowing the spots; but one that lets weaker peaks pass in frames with many sure ones, as a
false discovery rate does, can find more.
"""

from __future__ import annotations

import argparse

import numpy as np
from scipy.stats import poisson

from hitfinder.evaluate.suite.patternsim import SHOT_PHOTONS, WATER_M
from hitfinder.simulate.water import expected_water
from inputs import PATTERN_SIM, condition
from report import results_header, write_json

RATES = {1: (0.02, 0.05), 100: (0.1, 0.2), 2000: (0.05,)}
MOST_PIXELS = 25


def limit(shots: int, rates: tuple[float, ...]) -> dict[str, dict[str, float]]:
    """Recall of the spots that must be found, by flux and rate of false peaks."""
    import h5py

    frames = condition(f"sim6-{shots}")
    c = frames.condition
    with h5py.File(PATTERN_SIM) as file:
        full = file["entry/data/data"][0].astype(float)
    water = expected_water(frames.geometries[0], shots * SHOT_PHOTONS, WATER_M).astype(float)
    chances: dict[str, list[float]] = {group: [] for group in c.groups}
    for index in range(c.n_hits):
        g = index % len(c.groups)
        frame = np.asarray(frames.frames[index]).astype(float)
        for spot in frames.spots(index):
            if spot["must"]:
                near = window(spot, full * c.scales[g], c.tolerance_px)
                chances[c.groups[g]].append(least_chance(frame, water, full * c.scales[g], near))
    return {
        group: {
            f"{rate:g}": round(float(np.mean(np.array(p) < rate / frame.size)), 4) for rate in rates
        }
        for group, p in chances.items()
    }


def window(spot: np.void, bragg: np.ndarray, reach_px: float) -> tuple[np.ndarray, np.ndarray]:
    """The pixels around a spot, brightest Bragg pixels first."""
    rows, columns = bragg.shape
    r, k = int(spot["ss"]), int(spot["fs"])
    reach = int(reach_px)
    ss, fs = np.mgrid[
        max(r - reach, 0) : min(r + reach + 1, rows),
        max(k - reach, 0) : min(k + reach + 1, columns),
    ]
    ss, fs = ss.ravel(), fs.ravel()
    order = np.argsort(-bragg[ss, fs], kind="stable")[:MOST_PIXELS]
    return ss[order], fs[order]


def least_chance(
    frame: np.ndarray, water: np.ndarray, bragg: np.ndarray, at: tuple[np.ndarray, np.ndarray]
) -> float:
    """Chance of the counts in the window that is best for the Bragg photons expected."""
    mean, signal, counts = (np.cumsum(image[at]) for image in (water, bragg, frame))
    best = int(np.argmin(poisson.logsf(np.rint(signal + mean) - 1, mean)))
    return float(poisson.sf(counts[best] - 1, mean[best]))


def main() -> None:
    argparse.ArgumentParser(description=__doc__).parse_args()
    found = {f"sim6-{shots}": limit(shots, rates) for shots, rates in RATES.items()}
    print(found)
    write_json("limit.json", results_header([]) | {"recall": found})


if __name__ == "__main__":
    main()

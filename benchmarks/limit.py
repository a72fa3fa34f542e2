"""What could be reached at most: by a cut on single spots, and by telling hits from blanks.

Spots: recall with their footprints known beforehand. In each pattern_sim frame under water, every
spot is tested in the window of its own brightest pixels, as many of them as chance explains worst,
against the exact expected background. It counts as found where the Poisson chance of the photons in
that window is below the allowed false peaks per frame over the number of pixels, as for one window
at every pixel. A finder must choose its windows without knowing the spots; but one that lets weaker
peaks pass in frames with many sure ones, as a false discovery rate does, can find more.

Hits: two likelihood ratios (Neyman and Pearson 1933), cut at 1 % of the blanks. One knows crystal,
orientation and Bragg scale: Σ n ln(1 + s/b) over the pixels. No finder does; it has the whole
detector to search. The other knows Bragg scale, background, and how many pixels of each ring
hold how many Bragg photons on average over many crystals, but not which: the best that can be done
pixel by pixel. Knowing that neighbouring pixels share a spot, and spots a lattice, could do more.
"""

from __future__ import annotations

import argparse
import dataclasses
from typing import Any

import numpy as np
from scipy.stats import poisson

from hitfinder.geometry.geometry import Geometry
from hitfinder.simulation.water import expected_water
from hitfinder.suite import simulated
from hitfinder.suite.condition import Condition
from hitfinder.suite.hits import FALSE_HITS, half_point
from hitfinder.suite.measure import rate
from hitfinder.suite.patternsim import SHOT_PHOTONS, WATER_M
from inputs import PATTERN_SIM, condition
from report import results_header, write_json

RATES = {1: (0.02, 0.05), 100: (0.1, 0.2), 2000: (0.05,)}
MOST_PIXELS = 25
# Pixels that say hardly anything are left out.
LEAST_RATIO = 1e-3
RINGS = 200
PHOTONS = np.geomspace(0.05, 3e4, 60)
CRYSTALS = 100


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


def hit_limit(shots: int) -> dict[str, dict[str, Any]]:
    """Share of the hits found by either likelihood ratio, by Bragg scale."""
    frames = condition(f"flux-{shots}")
    c = frames.condition
    maker = simulated.SimulatedCondition(c, simulated.flux_settings(shots))
    background = maker.expected_background()
    blanks = frames.frames[c.n_hits :]
    expected = IndependentSpots.learnt(maker, c, background, frames.geometries[0])
    out = {}
    for g, (group, scale) in enumerate(zip(c.groups, c.scales, strict=True)):
        numbers = range(g, c.n_hits, len(c.groups))
        table = expected.table(scale)
        cut = cut_at([expected.ratio(table, frame) for frame in blanks])
        apart = [expected.ratio(table, frames.frames[k]) > cut for k in numbers]
        known = [known_ratio(maker.expected_bragg(k), background, frames.frames[k], blanks)
                 for k in numbers]  # fmt: skip
        out[group] = {
            "orientation_known": rate(sum(known), len(known)),
            "spots_independent": rate(sum(apart), len(apart)),
        }
    half = half_point(
        c.scales,
        [out[group]["spots_independent"]["value"] * c.n_hits / len(c.groups) for group in c.groups],
        [c.n_hits / len(c.groups)] * len(c.groups),
    )
    return out | {"half_scale_spots_independent": dataclasses.asdict(half)}


def cut_at(blanks: list[float]) -> float:
    """The score that the allowed share of the blanks exceed."""
    return float(np.sort(blanks)[-1 - int(FALSE_HITS * len(blanks))])


def known_ratio(
    bragg: np.ndarray, background: np.ndarray, frame: np.ndarray, blanks: np.ndarray
) -> bool:
    """Whether a hit stands out of the blanks by the ratio for its own crystal."""
    ratio = np.log1p(bragg / np.maximum(background, 1e-12)).ravel()
    at = np.flatnonzero(ratio > LEAST_RATIO)
    scores = blanks.reshape(len(blanks), -1)[:, at] @ ratio[at]
    return bool(np.asarray(frame).ravel()[at] @ ratio[at] > cut_at(scores.tolist()))


@dataclasses.dataclass(frozen=True, eq=False)
class IndependentSpots:
    """How many pixels of each ring hold how many Bragg photons, over many crystals.

    Attributes
    ----------
    ring : ndarray of int, shape of a frame
        Ring of each pixel.
    background : ndarray, shape (n_rings,)
        Photons expected in a pixel of each ring besides.
    density : ndarray, shape (n_rings, n_bins)
        Share of a ring's pixels with Bragg photons in each of `PHOTONS`, at full flux.
    """

    ring: np.ndarray
    background: np.ndarray
    density: np.ndarray

    @staticmethod
    def learnt(
        maker: simulated.SimulatedCondition,
        c: Condition,
        background: np.ndarray,
        geometry: Geometry,
    ) -> IndependentSpots:
        """Gather crystals at full flux that are in no frame of the condition."""
        q = geometry.pixels.q
        ring = np.minimum(q / q.max() * RINGS, RINGS - 1).astype(np.intp)
        pixels = np.bincount(ring.ravel(), minlength=RINGS)
        density = np.zeros((RINGS, len(PHOTONS)))
        edges = np.sqrt(PHOTONS[1:] * PHOTONS[:-1])
        for k in range(CRYSTALS):
            # Numbers that are multiples of the number of groups are at full flux.
            bragg = maker.expected_bragg((10_000 + k) * len(c.groups))
            some = bragg > PHOTONS[0]
            np.add.at(density, (ring[some], np.searchsorted(edges, bragg[some])), 1 / CRYSTALS)
        mean = np.bincount(ring.ravel(), background.ravel(), RINGS) / np.maximum(pixels, 1)
        return IndependentSpots(ring, mean, density / np.maximum(pixels, 1)[:, None])

    def table(self, scale: float) -> np.ndarray:
        """Log likelihood ratio of a pixel for each ring and number of photons."""
        most = int(self.background.max() + 20 * np.sqrt(self.background.max())) + 60
        n = np.arange(most + 1)
        background = np.maximum(self.background, 1e-9)
        with_spot = np.zeros((RINGS, most + 1))
        for photons, density in zip(PHOTONS * scale, self.density.T, strict=True):
            log_ratio = n * np.log1p(photons / background)[:, None] - photons
            with_spot += density[:, None] * np.expm1(np.minimum(log_ratio, 600.0))
        return np.log1p(with_spot)

    def ratio(self, table: np.ndarray, frame: np.ndarray) -> float:
        """Log likelihood ratio of a frame: as if every pixel had its spot or not by itself."""
        return float(table[self.ring, np.minimum(frame, table.shape[1] - 1)].sum())


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
    found: dict[str, Any] = {
        "recall": {f"sim6-{shots}": limit(shots, rates) for shots, rates in RATES.items()},
        "hits": {f"flux-{shots}": hit_limit(shots) for shots in RATES},
    }
    print(found)
    write_json("limit.json", results_header([]) | found)


if __name__ == "__main__":
    main()

"""Two spots close together told apart, and one streak kept whole, at the default settings.

Pairs are drawn photon by photon from Gaussians, in all directions, over one shot of water. Streaks
are the footprints of single reflections as the simulator makes them, each with as many photons as
asked for on average. Counted are the pairs found as two peaks, one at each of the spots, and, of
the streaks that are found, those found as two peaks or more.

`bound` is what could be reached at most with pairs: how often the likelihood ratio (Neyman and
Pearson 1933) tells a pair from the streak of even brightness that is most like it, where everything
but which of the two it is is known, and 1 % of those streaks are taken for pairs. Of streaks it is
how many the same test takes for pairs at least: for the two round spots that are most like each
streak, if as many of these pairs are to be told apart as is asked of pairs so far apart, so wide
and so bright. `--bounds` adds the bounds of streaks to what was measured before.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtr

from hitfinder.finding.contract import Finder
from hitfinder.finding.likelihood import LikelihoodFinder
from hitfinder.geometry.geometry import Geometry
from hitfinder.geometry.named import named_detector
from hitfinder.network.finder import NetworkFinder
from hitfinder.simulation.simulator import Simulator
from report import RESULTS, results_header, write_json

DETECTOR, CAMERA_LENGTH_M, ENERGY_EV, BACKGROUND = "eiger2-x-1m", 0.1, 6000.0, 0.005
FINDERS = {"likelihood": LikelihoodFinder, "network": NetworkFinder}
APART_PX, SPREADS_PX, PAIR_PHOTONS = (2, 3, 4), (0.3, 0.5, 0.7), (20, 50)
STREAKS: dict[str, dict[str, Any]] = {
    "mosaicity 0.1°, bandwidth 1 %": {"mosaicity_deg": 0.1},
    "mosaicity 0.2°, bandwidth 1 %": {"mosaicity_deg": 0.2},
    "mosaicity 0.5°, bandwidth 1 %": {"mosaicity_deg": 0.5},
    "mosaicity 0.1°, bandwidth 5 %": {"mosaicity_deg": 0.1, "bandwidth": 0.05},
    "mosaicity 0.2°, bandwidth 5 %": {"mosaicity_deg": 0.2, "bandwidth": 0.05},
    "mosaicity 0.5°, bandwidth 5 %": {"mosaicity_deg": 0.5, "bandwidth": 0.05},
    "divergence 1 mrad, bandwidth 1 %": {"divergence_mrad": 1.0},
    "divergence 1 mrad, bandwidth 5 %": {"divergence_mrad": 1.0, "bandwidth": 0.05},
}
STREAK_PHOTONS, STREAK_SPREAD_PX = (20, 40, 100, 300, 1000), 0.3
FREE_PX, EDGE_PX = 12, 10
"""Room left around each pair and each streak, and to the edges of panels."""
FALSE_SPLITS = 0.01
BOUND_OF = 100
"""Streaks of each kind from which the bound is computed."""

ASKED = {4: 0.95, 3: 0.8}
"""Share of pairs to be told apart, by their distance in pixels."""


def geometry() -> Geometry:
    return Geometry(named_detector(DETECTOR), CAMERA_LENGTH_M, ENERGY_EV)


def usable(where: Geometry) -> NDArray[np.bool_]:
    """Pixels that are not near a gap, nor the edge of the detector."""
    gaps = np.pad(where.detector.full_mask, EDGE_PX, constant_values=True)
    size = 2 * EDGE_PX + 1
    rows = np.lib.stride_tricks.sliding_window_view(gaps, size, 0).any(-1)
    return ~np.lib.stride_tricks.sliding_window_view(rows, size, 1).any(-1)


def near(found: NDArray[np.void], fs: float, ss: float, px: float) -> NDArray[np.bool_]:
    return np.hypot(found["fs"] - fs, found["ss"] - ss) < px


def separated(
    find: Finder, where: Geometry, n: int, kind: tuple[int, float, int], rng: np.random.Generator
) -> float:
    """Share of n pairs, `kind` being pixels apart, point spread and photons each, found as two."""
    apart, spread, photons = kind
    step = 2 * FREE_PX + 8
    rows, columns = np.mgrid[
        step : where.shape[0] - step : step, step : where.shape[1] - step : step
    ]
    grid = np.stack([rows.ravel(), columns.ravel()], 1)
    grid = grid[usable(where)[grid[:, 0], grid[:, 1]]]
    right, done = 0, 0
    while done < n:
        places = rng.permutation(grid)[: min(n - done, 100)] + rng.uniform(0, 1, 2)
        angle = rng.uniform(0, 2 * np.pi, len(places))
        half = 0.5 * apart * np.stack([np.sin(angle), np.cos(angle)], 1)
        pairs = np.stack([places - half, places + half], 1)
        counts = rng.poisson(photons, pairs.shape[:2])
        at = np.repeat(pairs.reshape(-1, 2), counts.ravel(), 0)
        frame = rng.poisson(BACKGROUND, where.shape).astype(np.uint16)
        np.add.at(frame, tuple(np.floor(rng.normal(at, spread)).astype(int).T), 1)
        found = find(frame).peaks
        for (one, other), middle in zip(pairs, places, strict=True):
            here = found[near(found, middle[1], middle[0], FREE_PX)]
            tolerance = min(1.2, 0.5 * apart)
            both = [near(here, p[1], p[0], tolerance) for p in (one, other)]
            right += len(here) == 2 and all(b.sum() == 1 for b in both)
        done += len(places)
    return right / n


def footprints(settings: dict[str, Any], free: NDArray[np.bool_]) -> Iterator[tuple[Any, Any]]:
    """Pixels of single reflections and the share of their photons on each."""
    maker = Simulator.preset(
        detector=DETECTOR,
        camera_length_m=CAMERA_LENGTH_M,
        psf_px=STREAK_SPREAD_PX,
        seed=5,
        **settings,
    )
    number = 0
    while True:
        for spots, _ in maker.expose(number).spots:
            for i in range(len(spots)):
                part = slice(spots.first[i], spots.first[i + 1])
                pixels, photons = spots.pixels[part], spots.photons[part].astype(float)
                if photons.sum() > 0.5 and free.flat[pixels].all():
                    yield pixels, photons / photons.sum()
        number += 1


def split(
    find: Finder, where: Geometry, n: int, photons: int, drawn: list[Any], rng: np.random.Generator
) -> dict[str, float]:
    """How many of n streaks of so many photons are found, and which share of these as several."""
    found_once = found_more = extra = 0
    todo = [drawn[k % len(drawn)] for k in range(n)]
    while todo:
        free, here, later = np.ones(where.shape, bool), [], []
        mean = np.full(where.shape, BACKGROUND)
        for pixels, share in todo:
            ss, fs = np.divmod(pixels[share > 0.1 / photons], where.shape[1])
            if not ss.size:
                ss, fs = np.divmod(pixels, where.shape[1])
            box = tuple(slice(max(v.min() - FREE_PX, 0), v.max() + FREE_PX + 1) for v in (ss, fs))
            if free[box].all():
                free[box] = False
                mean.flat[pixels] += photons * share
                here.append((box, ss, fs))
            else:
                later.append((pixels, share))
        found = find(rng.poisson(mean).astype(np.uint16)).peaks
        for _, ss, fs in here:
            apart = np.abs(found["fs"][:, None] - fs - 0.5), np.abs(found["ss"][:, None] - ss - 0.5)
            count = (np.maximum(*apart) < 3).any(1).sum()
            found_once += count > 0
            found_more += count > 1
            extra += max(count - 1, 0)
        todo = later
    return {"of": n, "found": int(found_once), "split": found_more / max(found_once, 1),
            "more_peaks": extra / max(found_once, 1)}  # fmt: skip


def bound(kind: tuple[int, float, int], rng: np.random.Generator, draws: int = 1500) -> float:
    """Share of pairs told from the even streak most like them; see above."""
    apart, spread, photons = kind
    edges = np.arange(-12.0, 13.0)

    def image(points: NDArray, direction: NDArray, middle: NDArray) -> NDArray:
        at = middle + points[:, None] * direction
        along = [np.diff(ndtr((edges - at[:, [c]]) / spread), axis=1) for c in (0, 1)]
        return 2 * photons * np.einsum("pi,pj->ij", *along) / len(points) + BACKGROUND

    shares = []
    for longer in (0.9, 1.05, 1.2, 1.35, 1.5, 1.65):
        ratios: list[list[float]] = [[], []]
        for _ in range(15):
            angle, middle = rng.uniform(0, np.pi), rng.uniform(-0.5, 0.5, 2)
            direction = np.array([np.sin(angle), np.cos(angle)])
            pair = image(np.array([-0.5, 0.5]) * apart, direction, middle)
            streak = image(np.linspace(-0.5, 0.5, 61) * apart * longer, direction, middle)
            for means, out in zip((streak, pair), ratios, strict=True):
                counts = rng.poisson(means, (draws // 15, *means.shape))
                ratio = counts * np.log(pair / streak) - pair + streak
                out.extend(ratio.sum((1, 2)))
        cut = np.quantile(ratios[0], 1 - FALSE_SPLITS)
        shares.append(float(np.mean(np.array(ratios[1]) > cut)))
    return min(shares)


def pair_like(
    ss: NDArray, fs: NDArray, share: NDArray[np.float64]
) -> tuple[float, float, NDArray[np.float64]]:
    """Return distance and spread (pixels) of two equal round spots like a streak; their image.

    Their moments are those of the streak.
    The image is the share of the photons in each pixel.
    """
    at = np.stack([ss, fs], 1) + 0.5
    middle = share @ at
    variances, axes = np.linalg.eigh((at - middle).T * share @ (at - middle))
    across = max(variances[0] - 1 / 12, 0.01)
    half = np.sqrt(max(variances[1] - variances[0], 0.0))
    image = np.zeros(len(at))
    for spot in (middle - half * axes[:, 1], middle + half * axes[:, 1]):
        low, high = ((at + step - spot) / np.sqrt(across) for step in (-0.5, 0.5))
        image += 0.5 * np.prod(ndtr(high) - ndtr(low), axis=1)
    return 2 * half, float(np.sqrt(across)), image


def streak_bound(
    drawn: list[Any], width: int, photons: int, rng: np.random.Generator, draws: int = 300
) -> float:
    """Least share of some streaks that is split; see above."""
    split_shares = []
    for pixels, share in drawn:
        ss, fs = np.divmod(pixels, width)
        rows, columns = np.mgrid[ss.min() - 3 : ss.max() + 4, fs.min() - 3 : fs.max() + 4]
        whole = np.zeros(rows.shape)
        whole[ss - ss.min() + 3, fs - fs.min() + 3] = share
        apart, spread, two = pair_like(rows.ravel(), columns.ravel(), whole.ravel())
        power = next((asked for px, asked in ASKED.items() if apart >= px - 0.5), None)
        if power is None or spread > SPREADS_PX[-1] or photons < 2 * PAIR_PHOTONS[0]:
            split_shares.append(0.0)
            continue
        streak, pair = (photons * image + BACKGROUND for image in (whole.ravel(), two))
        log_ratio, shift = np.log(pair / streak), (pair - streak).sum()
        of_streak, of_pair = (
            rng.poisson(means, (draws, len(means))) @ log_ratio - shift for means in (streak, pair)
        )
        split_shares.append(float(np.mean(of_streak >= np.quantile(of_pair, 1 - power))))
    return float(np.mean(split_shares))


def add_bounds(where: Geometry) -> None:
    """Add the bounds of streaks to what was measured before."""
    kept = json.loads((RESULTS / "spots.json").read_text())
    for name, settings in STREAKS.items():
        source = footprints(settings, usable(where))
        drawn = [next(source) for _ in range(BOUND_OF)]
        for row in kept["streaks"]:
            if row["streaks"] == name:
                rng = np.random.default_rng(4)
                row["bound"] = streak_bound(drawn, where.shape[1], row["photons"], rng)
                print(name, row["photons"], row["bound"], flush=True)
    write_json("spots.json", kept)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--pairs", type=int, default=200, help="pairs of each kind")
    parser.add_argument("--streaks", type=int, default=300, help="streaks of each kind")
    parser.add_argument("--finders", nargs="*", default=list(FINDERS), choices=list(FINDERS))
    parser.add_argument("--dry", action="store_true", help="print and keep nothing")
    parser.add_argument("--bounds", action="store_true", help="add bounds of streaks, no more")
    arguments = parser.parse_args()
    where = geometry()
    if arguments.bounds:
        add_bounds(where)
        return
    finders = {name: FINDERS[name](where) for name in arguments.finders}
    rows: dict[str, list[dict[str, Any]]] = {"pairs": [], "streaks": []}
    for photons in PAIR_PHOTONS:
        for spread in SPREADS_PX:
            for apart in APART_PX:
                kind = (apart, spread, photons)
                row: dict[str, Any] = dict(
                    zip(("apart_px", "spread_px", "photons"), kind, strict=True)
                )
                row["of"] = arguments.pairs
                if not arguments.dry:
                    row["bound"] = bound(kind, np.random.default_rng(1))
                for name, find in finders.items():
                    rng = np.random.default_rng([2, *map(int, (10 * apart, 10 * spread, photons))])
                    row[name] = separated(find, where, arguments.pairs, kind, rng)
                rows["pairs"].append(row)
                print(row, flush=True)
    for name, settings in STREAKS.items():
        source = footprints(settings, usable(where))
        drawn = [next(source) for _ in range(arguments.streaks)]
        for photons in STREAK_PHOTONS:
            row = {"streaks": name, "photons": photons}
            row["bound"] = streak_bound(
                drawn[:BOUND_OF], where.shape[1], photons, np.random.default_rng(4)
            )
            for finder, find in finders.items():
                rng = np.random.default_rng([3, photons])
                row[finder] = split(find, where, arguments.streaks, photons, drawn, rng)
            rows["streaks"].append(row)
            print(row, flush=True)
    if not arguments.dry:
        write_json("spots.json", results_header([]) | rows)


if __name__ == "__main__":
    main()

"""False hits by what is not a crystal: static light, flickering pixels, cosmic rays (`make bench`).

For each feature small runs are made of blank frames and of frames with a crystal, both with the
feature in a share of them, in random order. What counts is the end of the run: which blanks are
hits, and which crystals are not. Written is benchmarks/results/static.json; what is not measured
anew stays in it.
"""

from __future__ import annotations

import argparse
import json
import tempfile
from collections.abc import Callable
from typing import Any

import numpy as np

import hitfinder as hf
from report import RESULTS, results_header, write_json

SHAPE, GAP = (400, 420), slice(240, 246)
STOP, STOP_PX = (200.0, 210.0), 20.0
N_BLANKS, N_HITS, N_RUNS = 64, 16, 3
LEVEL = 0.05
FINDERS = ("likelihood", "network")
Rng = np.random.Generator
AddFeature = Callable[[np.ndarray, Rng], None]


def geometry() -> hf.Geometry:
    """A flat detector with a gap and a beam stop."""
    ss, fs = np.ogrid[: SHAPE[0], : SHAPE[1]]
    mask = np.hypot(ss + 0.5 - STOP[0], fs + 0.5 - STOP[1]) < STOP_PX
    mask[GAP] = True
    return hf.Geometry.flat(SHAPE, 75e-6, camera_length_m=0.1, photon_energy_ev=6000, mask=mask)


def spread(frame: np.ndarray, ss: float, fs: float, photons: float, sigma: float, rng: Rng) -> None:
    """Drop photons with a Gaussian footprint."""
    at = np.floor(rng.normal([ss, fs], sigma, (rng.poisson(photons), 2))).astype(int)
    inside = ((at >= 0) & (at < SHAPE)).all(axis=1)
    np.add.at(frame, tuple(at[inside].T), 1)


def sometimes(add: Callable[[np.ndarray, Rng], None], share: float) -> AddFeature:
    """Return what adds a feature to a share of the frames."""

    def addition(frames: np.ndarray, rng: Rng) -> None:
        for frame in frames:
            if rng.random() < share:
                add(frame, rng)

    return addition


def pair(frame: np.ndarray, rng: Rng) -> None:
    """Two neighbouring pixels beside the gap, as light past a beam stop."""
    frame[GAP.stop, 170:172] += rng.poisson([30, 14]).astype(np.uint16)


def halo(frame: np.ndarray, rng: Rng) -> None:
    """Light around the beam stop."""
    for angle in rng.uniform(0, 2 * np.pi, rng.poisson(120)):
        radius = STOP_PX + abs(rng.normal(0, 2))
        row, column = STOP[0] + radius * np.sin(angle), STOP[1] + radius * np.cos(angle)
        frame[int(row), int(column)] += 1


def edge(frame: np.ndarray, rng: Rng) -> None:
    """A row that glows along a gap."""
    frame[GAP.start - 2 : GAP.start, 40:110] += rng.poisson(0.7, (2, 70)).astype(np.uint16)


def scratch(frame: np.ndarray, rng: Rng) -> None:
    steps = np.arange(30)
    frame[80 + steps // 2, 100 + steps] += rng.poisson(5, 30).astype(np.uint16)


def flicker(share: float) -> AddFeature:
    """Forty single pixels that each fire in a share of the frames."""

    def addition(frames: np.ndarray, rng: Rng) -> None:
        rows, columns = rng.integers(0, SHAPE[0], 40), rng.integers(0, SHAPE[1], 40)
        for row, column in zip(rows, columns, strict=True):
            frames[rng.random(len(frames)) < share, row, column] = rng.integers(20, 2000)

    return addition


def rays(share: float) -> AddFeature:
    """Bright pixels and straight tracks of 3 to 300 photons, so many a frame."""

    def addition(frames: np.ndarray, rng: Rng) -> None:
        for frame in frames:
            for _ in range(rng.poisson(share)):
                photons = round(np.exp(rng.uniform(np.log(3), np.log(300))))
                at = rng.uniform((0, 0), SHAPE)
                length = 1 if rng.random() < 0.7 else rng.integers(2, 9)
                angle = rng.uniform(0, 2 * np.pi)
                steps = np.arange(length)[:, None] * [np.sin(angle), np.cos(angle)]
                pixels = np.clip((at + steps).astype(int), 0, np.array(SHAPE) - 1)
                parts = rng.multinomial(photons, np.full(length, 1 / length))
                np.add.at(frame, tuple(pixels.T), parts.astype(np.uint16))

    return addition


def all_at_once(frames: np.ndarray, rng: Rng) -> None:
    for add in (
        *(FEATURES[name] for name in ("pair", "halo", "edge glow", "scratch", "flicker 5 %")),
        FEATURES["0.05 rays a frame"],
    ):
        add(frames, rng)


FEATURES: dict[str, AddFeature] = {
    "nothing": lambda frames, rng: None,
    "pair": sometimes(pair, 0.75),
    "halo": sometimes(halo, 0.5),
    "edge glow": sometimes(edge, 0.6),
    "scratch": sometimes(scratch, 0.6),
    "flicker 5 %": flicker(0.05),
    "flicker 10 %": flicker(0.1),
    "0.05 rays a frame": rays(0.05),
    "0.2 rays a frame": rays(0.2),
    "1 ray a frame": rays(1.0),
    "six at once": all_at_once,
}


def frames_of(add: AddFeature, rng: Rng) -> tuple[np.ndarray, np.ndarray]:
    """Frames of a run, and which have a crystal."""
    truth = rng.permutation(np.r_[np.ones(N_HITS, bool), np.zeros(N_BLANKS, bool)])
    maps = geometry().pixels
    water = LEVEL * (1 + 4 * np.exp(-0.5 * ((maps.q - 0.5) / 0.15) ** 2)) / 3
    frames = rng.poisson(water, (len(truth), *SHAPE)).astype(np.uint16)
    for k in np.flatnonzero(truth):
        for ss, fs in rng.uniform((8, 8), np.array(SHAPE) - 8, (12, 2)):
            spread(frames[k], ss, fs, 4 + rng.exponential(8), 0.5, rng)
    add(frames, rng)
    return frames, truth


def measured(add: AddFeature, finder: str) -> dict[str, int]:
    """Blanks that are hits, and hits kept, over some runs."""
    out = dict.fromkeys(("blanks", "false_hits", "doubtful_false_hits", "hits", "kept"), 0)
    for number in range(N_RUNS):
        frames, truth = frames_of(add, np.random.default_rng([14, number]))
        with tempfile.TemporaryDirectory() as folder:
            run = hf.run(
                frames, folder, geometry=geometry(), finder=finder, workers=1,
                estimate=False, outputs=["lst"], overwrite=True,
            )  # fmt: skip
            hit = run.frames["hit"].to_numpy()
            doubt = run.frames["doubt"].to_numpy(zero_copy_only=False) != ""
        out["blanks"] += int((~truth).sum())
        out["false_hits"] += int((hit & ~truth).sum())
        out["doubtful_false_hits"] += int((hit & doubt & ~truth).sum())
        out["hits"] += int(truth.sum())
        out["kept"] += int((hit & truth).sum())
    return out


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--only", nargs="*", default=(), help="features whose name starts so")
    chosen = tuple(parser.parse_args().only)
    path = RESULTS / "static.json"
    found: dict[str, Any] = json.loads(path.read_text())["features"] if path.exists() else {}
    for name, add in FEATURES.items():
        if not chosen or name.startswith(chosen):
            found[name] = {finder: measured(add, finder) for finder in FINDERS}
            print(name, found[name], flush=True)
            write_json("static.json", results_header([]) | {"features": found})


if __name__ == "__main__":
    main()

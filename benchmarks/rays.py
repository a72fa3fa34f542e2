"""False hits by cosmic rays and radioactivity, and hits lost to doubt about them (`make bench`).

Blank frames and frames with a weak crystal are simulated (EIGER2 4M, 6 keV, 0.15 m, water of 1 and
100 shots), and searched without a ray and with one to three of each kind. Runs are then put
together from them: of each frame that version which holds as many rays as a Poisson number says.
A run is decided as `hitfinder run` decides it (`hitfinder.results.doubts`). Counted are the blanks
that are hits, and the frames with a crystal that are hits without rays and are none with them.

Written is benchmarks/results/rays.json. With ``--keep FOLDER`` what the finder says of each frame
is kept there, and taken from there the next time.
"""

from __future__ import annotations

import argparse
import math
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hitfinder.finding.settings import FinderSettings
from hitfinder.geometry.geometry import Geometry
from hitfinder.job.chunks import Chunk, ChunkFinder, ChunkWork
from hitfinder.results.chunk import FRAME_DTYPE, ChunkResult
from hitfinder.results.doubts import Doubts, decide_by_score
from hitfinder.simulation.presets import load_settings
from hitfinder.simulation.simulator import Simulator
from report import results_header, write_json

SHOTS, SCALES, RATES = (1, 100), (0.001, 0.003, 0.01), (0.0, 0.05, 0.2, 1.0, 2.0)
MOST_RAYS, N_RUNS, ASKED = 3, 20, (0.01, 0.03)
FINDER = "network"
Rng = np.random.Generator
AddRay = Callable[[NDArray, Rng], None]


def _add(frame: NDArray, ss: NDArray, fs: NDArray, photons: NDArray | int) -> None:
    """Add photons to those of the pixels that are on the frame."""
    inside = (ss >= 0) & (fs >= 0) & (ss < frame.shape[0]) & (fs < frame.shape[1])
    at = ss[inside].astype(int), fs[inside].astype(int)
    np.add.at(frame, at, np.broadcast_to(photons, ss.shape)[inside].astype(frame.dtype))


def _photons(rng: Rng, least: float, most: float) -> int:
    return round(np.exp(rng.uniform(np.log(least), np.log(most))))


def _line(at: NDArray, length: float, angle: float) -> NDArray:
    """Pixels (ss, fs) that a straight line passes, each once, in order."""
    steps = np.arange(0, max(length, 0.1), 0.1)[:, None] * [np.sin(angle), np.cos(angle)]
    pixels = np.floor(at + steps).astype(int)
    return pixels[np.r_[True, (np.diff(pixels, axis=0) != 0).any(1)]]


def pixel_or_short_track(frame: NDArray, rng: Rng) -> None:
    """One pixel, or (three in ten) a track of 2 to 8, of 3 to 300 photons in all."""
    photons = _photons(rng, 3, 300)
    at = rng.uniform((0, 0), frame.shape)
    length = 1 if rng.random() < 0.7 else rng.integers(2, 9)
    angle = rng.uniform(0, 2 * np.pi)
    ss, fs = np.floor(at + np.arange(length)[:, None] * [np.sin(angle), np.cos(angle)]).T
    _add(frame, ss, fs, rng.multinomial(photons, np.full(length, 1 / length)))


def muon(frame: NDArray, rng: Rng) -> None:
    """A straight track of 5 to 60 pixels, 2 to 20 photons on each on average."""
    pixels = _line(rng.uniform((0, 0), frame.shape), rng.uniform(5, 60), rng.uniform(0, 2 * np.pi))
    # Energy loss in thin layers has a long tail (Landau 1944).
    loss = _photons(rng, 2, 20) * rng.lognormal(-0.15, 0.5, len(pixels))
    _add(frame, *pixels.T, rng.poisson(loss))


def electron(frame: NDArray, rng: Rng) -> None:
    """A track of 6 to 40 steps of one pixel that turns more and more, and ends bright."""
    n = int(rng.integers(6, 41))
    angle = rng.uniform(0, 2 * np.pi) + np.cumsum(rng.normal(0, np.linspace(0.1, 0.8, n)))
    steps = np.cumsum(np.stack([np.sin(angle), np.cos(angle)], 1), axis=0)
    ss, fs = np.floor(rng.uniform((0, 0), frame.shape) + steps).T
    loss = _photons(rng, 1, 6) * np.linspace(1, 3, n)
    _add(frame, ss, fs, rng.poisson(loss))


def alpha(frame: NDArray, rng: Rng) -> None:
    """A disc of 3 to 5 pixels across, 20 to 800 photons, its charge shared by the pixels."""
    radius, photons = rng.uniform(1.3, 2.6), _photons(rng, 20, 800)
    middle = rng.uniform((0, 0), frame.shape)
    ss, fs = (np.floor(middle)[:, None, None] + np.mgrid[-3:4, -3:4]).reshape(2, -1)
    apart = np.hypot(ss + 0.5 - middle[0], fs + 0.5 - middle[1])
    share = np.clip(1 - (apart / radius) ** 2, 0, None) ** 0.5
    share /= share.sum()
    _add(frame, ss, fs, np.rint(photons * share))


def shared(frame: NDArray, rng: Rng) -> None:
    """Charge shared by two, three or four pixels that touch, 3 to 100 photons."""
    middle = rng.uniform((0, 0), frame.shape)
    ss, fs = (np.floor(middle - 0.5)[:, None, None] + np.mgrid[0:2, 0:2]).reshape(2, -1)
    share = rng.dirichlet([0.6] * 4)
    _add(frame, ss, fs, rng.multinomial(_photons(rng, 3, 100), share))


def counted(add: AddRay) -> AddRay:
    """As a counting detector has it: one count in every pixel that the ray touches."""

    def addition(frame: NDArray, rng: Rng) -> None:
        touched = np.zeros_like(frame)
        add(touched, rng)
        frame += touched > 0

    return addition


def one_of(*kinds: AddRay) -> AddRay:
    def addition(frame: NDArray, rng: Rng) -> None:
        kinds[rng.integers(len(kinds))](frame, rng)

    return addition


KINDS: dict[str, AddRay] = {
    "pixels and short tracks": pixel_or_short_track,
    "muons": muon,
    "electrons": electron,
    "alphas": alpha,
    "shared charge": shared,
    "all, counted": counted(one_of(muon, electron, alpha)),
}


class Frames:
    """Blank frames and frames with a weak crystal, and what a finder says of them."""

    def __init__(self, shots: int, seed: int) -> None:
        given = {
            "background.shots": shots, "detector.name": "eiger2-x-4m", "seed": seed,
            "beam.photon_energy_ev": 6000, "detector.camera_length_m": 0.15,
        }  # fmt: skip
        self._blanks = Simulator.of(load_settings(None, "report", {**given, "blank_fraction": 1.0}))
        self._hits = [
            Simulator.of(load_settings(None, "report", {**given, "bragg_scale": scale}))
            for scale in SCALES
        ]
        self.geometry: Geometry = self._blanks.geometry
        self.seed = seed
        settings = FinderSettings(finder=FINDER)
        work = ChunkWork(
            None, self.geometry.shape, np.dtype(np.uint16), self.geometry, settings, False
        )
        self._find = ChunkFinder(work).find

    @property
    def n_pixels(self) -> int:
        return int((~self.geometry.detector.full_mask).sum())

    def counts(self, number: int, is_hit: bool) -> NDArray:
        if not is_hit:
            return self._blanks.frame(1_000_000 + number).counts
        return self._hits[number % len(SCALES)].frame(number).counts

    def rows(self, kind: str, n_rays: int, numbers: range, is_hit: bool) -> NDArray[np.void]:
        """Search frames with so many rays of a kind; return their rows."""
        rows = np.empty(len(numbers), FRAME_DTYPE)
        for k, number in enumerate(numbers):
            frame = self.counts(number, is_hit).astype(np.uint16)
            name = zlib.crc32(kind.encode())
            rng = np.random.default_rng([self.seed, name, n_rays, number, is_hit])
            for _ in range(n_rays):
                KINDS[kind](frame, rng)
            frame[self.geometry.detector.full_mask] = 0
            rows[k] = self._find(Chunk([number], number, (frame,))).rows[0]
        # The peaks are not kept.
        rows["n_peaks"] = 0
        return rows


def searched(
    shots: int, kind: str, n_rays: int, arguments: argparse.Namespace
) -> dict[str, NDArray[np.void]]:
    """Return the rows of blanks and hits with so many rays, from the folder if they are there."""
    name = f"{shots}-{kind.replace(' ', '_')}-{n_rays}-{arguments.seed}.npz"
    kept = arguments.keep / name if arguments.keep else None
    if kept is not None and kept.exists():
        with np.load(kept) as file:
            return dict(file)
    frames = FRAMES.setdefault(shots, Frames(shots, arguments.seed))
    fewer = max(n_rays, 1)
    rows = {
        "blanks": frames.rows(kind, n_rays, range(arguments.blanks // fewer), False),
        "hits": frames.rows(kind, n_rays, range(arguments.hits // fewer), True),
        "n_pixels": np.array(frames.n_pixels),
    }
    if kept is not None:
        kept.parent.mkdir(parents=True, exist_ok=True)
        np.savez_compressed(kept, **rows)
    return rows


FRAMES: dict[int, Frames] = {}


def run_of(
    found: list[dict[str, NDArray[np.void]]], rate: float, rng: Rng
) -> tuple[NDArray[np.void], NDArray[np.bool_], NDArray[np.intp]]:
    """Put a run together: its rows, which of them have a crystal, and their numbers."""
    parts, truth, number = [], [], []
    for name in ("blanks", "hits"):
        n = len(found[0][name])
        many = np.minimum(rng.poisson(rate, n), MOST_RAYS)
        which = np.arange(n)
        for j in range(2, MOST_RAYS + 1):
            # Versions with several rays are of some frames only; none is taken twice.
            mine = np.flatnonzero(many == j)
            others = rng.permutation(len(found[j][name]))[: len(mine)]
            which[mine[: len(others)]], many[mine[len(others) :]] = others, 1
        chosen = [found[j][name][k] for k, j in zip(which, many, strict=True)]
        parts.append(np.array(chosen, FRAME_DTYPE))
        truth.append(np.full(n, name == "hits"))
        number.append(which)
    order = rng.permutation(sum(map(len, parts)))
    joined = [np.concatenate(some)[order] for some in (parts, truth, number)]
    return joined[0], joined[1], joined[2]


def judged(
    found: list[dict[str, NDArray[np.void]]], rate: float, asked: float, seed: int
) -> dict[str, Any]:
    """Decide some runs where such a share of blanks may be hits, and count."""
    least = -math.log10(asked)
    count = dict.fromkeys(("blanks", "by_score", "false_hits", "of_them_doubtful"), 0)
    kept = {str(scale): dict.fromkeys(("found", "kept", "lost_unsaid"), 0) for scale in SCALES}
    bare = found[0]["hits"]["score"] >= least
    for number in range(N_RUNS if rate else 1):
        rows, truth, which = run_of(found, rate, np.random.default_rng([seed, number]))
        decide_by_score(rows, least, 0)
        whole = ChunkResult(np.arange(len(rows)), rows)
        doubts = Doubts.of(lambda whole=whole: [whole], least, int(found[0]["n_pixels"]))
        decided = doubts.decided(whole).rows
        hit, doubt = decided["hit"], decided["doubt"] != ""
        count["blanks"] += int((~truth).sum())
        count["by_score"] += int((rows["hit"] & ~truth).sum())
        count["false_hits"] += int((hit & ~truth).sum())
        count["of_them_doubtful"] += int((hit & doubt & ~truth).sum())
        for k, scale in enumerate(SCALES):
            mine = truth & (which % len(SCALES) == k)
            mine[mine] &= bare[which[mine]]
            one = kept[str(scale)]
            one["found"] += int(mine.sum())
            one["kept"] += int((hit & mine).sum())
            one["lost_unsaid"] += int((~hit & rows["hit"] & ~doubt & mine).sum())
    return {**count, "false_share": count["false_hits"] / count["blanks"], "hits": kept}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--blanks", type=int, default=120, help="blank frames of each background")
    parser.add_argument("--hits", type=int, default=60, help="frames with a crystal")
    parser.add_argument("--seed", type=int, default=41)
    parser.add_argument("--kinds", nargs="*", default=list(KINDS), choices=list(KINDS))
    parser.add_argument("--shots", nargs="*", type=int, default=list(SHOTS))
    parser.add_argument("--keep", type=Path, help="folder for what the finder says of each frame")
    parser.add_argument("--dry", action="store_true", help="print and keep nothing")
    arguments = parser.parse_args()
    result: dict[str, Any] = {}
    for shots in arguments.shots:
        for kind in arguments.kinds:
            found = [
                searched(shots, kind if n else "none", n, arguments) for n in range(MOST_RAYS + 1)
            ]
            of_kind = result.setdefault(kind, {}).setdefault(f"{shots} shots", {})
            for rate in RATES:
                of_rate = {
                    f"{asked:g} asked": judged(found, rate, asked, arguments.seed)
                    for asked in ASKED
                }
                of_kind[f"{rate:g} rays a frame"] = of_rate
                print(shots, kind, rate, of_rate, flush=True)
    if not arguments.dry:
        write_json("rays.json", results_header([]) | {"rays": result})


if __name__ == "__main__":
    main()

"""Our finder beside peakfinder8 and DIALS on the same frames (`make bench`).

`--quick` judges our finder alone, for tuning it.
"""

from __future__ import annotations

import argparse
import functools
import os

os.environ.setdefault("OMP_NUM_THREADS", "1")

import time

import numpy as np

from conditions import Frames, prepared
from hitfinder.geometry.experiment import Geometry
from hitfinder.inference.finder import Finder, FinderSettings
from judge import judge
from recipes import recipes

# The curve needs peaks weaker than the default lets through.
PERMISSIVE_FALSE_PEAKS = 0.95


@functools.cache
def finder_of(geometry: Geometry) -> Finder:
    """Conditions share geometries, and a finder takes seconds to build."""
    return Finder(geometry)


def run_ours(
    frames: Frames, settings: FinderSettings, subset: list[int]
) -> tuple[list[np.ndarray], np.ndarray, float]:
    """Peaks (fs, ss, −log10 chance) and score of each frame, and median seconds a frame."""
    found, scores, seconds = [], [], []
    for index in subset:
        finder = finder_of(frames.geometry(index))
        finder.settings = settings
        frame = np.array(frames.frames[index])
        start = time.perf_counter()
        result = finder.process(frame)
        seconds.append(time.perf_counter() - start)
        peaks = result.peaks
        strength = -peaks["log_p"].astype(float) / np.log(10)
        found.append(np.stack([peaks["fs"], peaks["ss"], strength], 1))
        scores.append(result.score)
    return found, np.array(scores), float(np.median(seconds))


def quick_subset(frames: Frames) -> list[int]:
    c = frames.condition
    hits = range(min(c.n_hits, 12 if c.kind == "real" or len(c.groups) > 1 else 9))
    blanks = range(c.n_hits, c.n_hits + min(c.n_blanks, 40))
    return [*hits, *blanks]


def quick() -> None:
    print(
        f"{'condition':<16}{'flux':>7}{'spots':>7} | {'default':>8}{'false':>7} |"
        f"{'limit':>7}{'recall':>8} | {'hits':>6}{'blanks':>8} | {'ms':>5}"
    )
    for recipe in recipes():
        frames = prepared(recipe)
        c = frames.condition
        subset = quick_subset(frames)
        found, scores, seconds = run_ours(frames, FinderSettings(), subset)
        default = judge(frames, found, subset)
        found, _, _ = run_ours(frames, FinderSettings(false_peaks=PERMISSIVE_FALSE_PEAKS), subset)
        permissive = judge(frames, found, subset)
        is_hit = np.array(subset) < c.n_hits
        called = scores >= FinderSettings().least_score
        for g, label in enumerate(c.groups):
            d, p = default.of_group(g), permissive.of_group(g)
            mine = is_hit & (np.array([frames.group(i) for i in subset]) == g)
            blank = f"{called[~is_hit].mean():8.3f}" if c.n_blanks else " " * 8
            print(
                f"{c.name:<16}{label:>7}{len(d.photons):>7} | {d.recall:>8.3f}"
                f"{d.false_per_frame:>7.2f} |{c.false_limit:>7.2f}"
                f"{p.recall_at(c.false_limit):>8.3f} | {called[mine].mean():>6.2f}{blank} |"
                f"{seconds * 1e3:>6.0f}",
                flush=True,
            )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="our finder only, few frames")
    arguments = parser.parse_args()
    if arguments.quick:
        quick()


if __name__ == "__main__":
    main()

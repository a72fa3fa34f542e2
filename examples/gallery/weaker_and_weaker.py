"""How weak may a crystal be?

The same pulses, with the Bragg photons scaled down as by a beam that mostly misses the crystal. A
hit is found as long as some of its spots stand out of the background. The threshold is that of
one false hit in 100 blank frames.
"""

import sys

import matplotlib.pyplot as plt
import numpy as np

import hitfinder as hf


def found_at(scale, n):
    """Return which share of n crystals is found, and of their spots of 8 photons and more."""
    simulator = hf.Simulator.preset(
        "single-shot", n=n, seed=11, detector="eiger2-x-500k", camera_length_m=0.08,
        blank_fraction=0, bragg_scale=float(scale),
    )  # fmt: skip
    find = hf.NetworkFinder(simulator.geometry)
    hits = spots = matched = 0
    for frame, truth in simulator:
        result = find(frame)
        judged = hf.compare(result.peaks, truth, min_photons=8)
        hits, spots, matched = hits + result.hit, spots + judged.n_true, matched + judged.n_matched
    return hits / n, matched / spots if spots else np.nan


def draw(small=False):
    """Draw the figure; `small` takes fewer frames."""
    scales = np.geomspace(0.001, 1, 3 if small else 10)
    found = np.array([found_at(scale, 2 if small else 30) for scale in scales])
    figure, axes = plt.subplots(figsize=(6, 3.2), layout="constrained")
    for column, label in enumerate(("hits", "spots of 8 photons and more")):
        axes.semilogx(scales, found[:, column], "o-", label=label)
    axes.set(xlabel="factor on the Bragg photons", ylabel="share found", ylim=(-0.03, 1.03))
    axes.legend()
    return figure


if __name__ == "__main__":
    draw().savefig(sys.argv[1] if len(sys.argv) > 1 else "weaker_and_weaker.png", dpi=90)

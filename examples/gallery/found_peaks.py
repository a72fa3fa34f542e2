"""Peaks found in a frame of one pulse.

A crystal of proteinase K in the beam of a compact source. Circles are the peaks that
`hf.NetworkFinder` finds, crosses the true spots of 8 photons and more.
"""

import sys

import hitfinder as hf


def draw(small=False):
    """Draw the figure; `small` takes a smaller detector."""
    detector = "eiger2-x-500k" if small else "eiger2-x-1m"
    simulator = hf.Simulator.preset(
        "single-shot", n=1, seed=7, detector=detector, camera_length_m=0.08, blank_fraction=0
    )
    frame, truth = simulator[0]
    found = hf.find_peaks(frame, simulator.geometry)
    axes = hf.plot(frame, found.peaks, geometry=simulator.geometry)
    bright = truth[truth["photons"] >= 8]
    axes.plot(bright["fs"], bright["ss"], "x", color="#b3541e", ms=5)
    judged = hf.compare(found.peaks, truth, min_photons=8)
    axes.set_title(f"{judged.n_matched} of {judged.n_true} spots found, {judged.n_false} false")
    return axes.figure


if __name__ == "__main__":
    draw().savefig(sys.argv[1] if len(sys.argv) > 1 else "found_peaks.png", dpi=90)

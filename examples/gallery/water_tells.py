"""What the water tells of photon energy and camera length.

Every frame shows the scattering of the water around the crystal. Its shape depends on photon
energy and camera length, so both can be estimated: poorly from one pulse, well from many. The
dotted lines are the true values.
"""

import sys

import matplotlib.pyplot as plt
import numpy as np

import hitfinder as hf
from hitfinder.estimate.estimator import GeometryEstimator

ENERGY_EV, LENGTH_M = 7000.0, 0.15


def draw(small=False):
    """Draw the figure; `small` takes fewer pulses."""
    numbers = (1, 2) if small else (1, 3, 10, 30, 100, 300)
    simulator = hf.Simulator.preset(
        "single-shot", n=numbers[-1], seed=2, detector="eiger2-x-1m", blank_fraction=1,
        photon_energy_ev=ENERGY_EV, camera_length_m=LENGTH_M,
    )  # fmt: skip
    estimator = GeometryEstimator(simulator.geometry)
    told, total = [], None
    for number, (frame, _) in enumerate(simulator, 1):
        own = estimator.sums(frame.astype(np.int32))
        if total is None:
            total = own
        else:
            total.counts[:] += own.counts
            total.exposure[:] += own.exposure
        if number in numbers:
            told.append(estimator.estimate_sums(total))
    figure, axes = plt.subplots(1, 2, figsize=(7.5, 3), layout="constrained")
    for axis, name, scale, true, label in (
        (axes[0], "photon_energy", ("_ev", 1e-3), ENERGY_EV, "photon energy (keV)"),
        (axes[1], "camera_length", ("_m", 1e3), LENGTH_M, "camera length (mm)"),
    ):
        unit, factor = scale
        middle, low, high = (
            factor * np.array([getattr(one, f"{name}{what}{unit}") for one in told])
            for what in ("", "_low", "_high")
        )
        axis.errorbar(numbers, middle, (np.abs(middle - low), np.abs(high - middle)), fmt="o")
        axis.axhline(factor * true, color="grey", linestyle=":")
        axis.set(xscale="log", xlabel="pulses", ylabel=label)
    return figure


if __name__ == "__main__":
    draw().savefig(sys.argv[1] if len(sys.argv) > 1 else "water_tells.png", dpi=90)

"""A frame at each of the report's nine settings.

Rows: camera length 0.15, 0.25, 0.35 m; columns: 6, 7, 8 keV. Left the whole detector, binned 16 ×
16, right the neighbourhood of the brightest spot; circles are the true spots of 8 photons and
more. The same crystal orientations are used in every frame of a column.
"""

import sys

import matplotlib.pyplot as plt
import numpy as np

from hitfinder.simulation.presets import load_settings
from hitfinder.simulation.simulator import Simulator

BIN, HALF = 16, 12


def frame_at(preset, energy_ev, camera_length_m, seed=2):
    settings = load_settings(
        preset=preset,
        overrides={
            "seed": seed,
            "detector.name": "eiger-4m-report",
            "beam.photon_energy_ev": energy_ev,
            "detector.camera_length_m": camera_length_m,
        },
    )
    return Simulator.of(settings).frame(0)


def show(axes, frame, title):
    whole, near = axes
    rows, columns = (n // BIN * BIN for n in frame.counts.shape)
    binned = frame.counts[:rows, :columns].reshape(rows // BIN, BIN, columns // BIN, BIN)
    mean = binned.mean((1, 3))
    top = np.percentile(mean, 99.5)
    extent = (0, columns, 0, rows)
    whole.imshow(mean, vmax=max(top, 1e-3), cmap="viridis", origin="lower", extent=extent)
    bright = frame.truth[frame.truth["photons"] >= 8]
    whole.plot(bright["fs"], bright["ss"], "o", mfc="none", mec="w", ms=4, mew=0.6)
    whole.set_title(f"{title}: {len(bright)} spots", fontsize=8)
    if len(bright):
        fs, ss = (int(np.clip(bright[name][0], HALF, 2000)) for name in ("fs", "ss"))
        window = frame.counts[ss - HALF : ss + HALF + 1, fs - HALF : fs + HALF + 1]
        near.imshow(np.sqrt(window), cmap="magma", origin="lower")
        near.set_title(f"{bright['photons'][0]:.0f} photons", fontsize=8)
    for axis in axes:
        axis.set(xticks=[], yticks=[])


def draw(small=False):
    """Draw the figure; `small` draws one setting in place of nine."""
    lengths, energies = ((0.15,), (6000,)) if small else ((0.15, 0.25, 0.35), (6000, 7000, 8000))
    shape = len(lengths), 2 * len(energies)
    size = (11, 6) if not small else (4, 2)
    figure, axes = plt.subplots(*shape, figsize=size, layout="constrained", squeeze=False)
    for row, length in enumerate(lengths):
        for column, energy in enumerate(energies):
            frame = frame_at("integrated", energy, length)
            pair = axes[row, 2 * column : 2 * column + 2]
            show(pair, frame, f"{energy / 1000:.0f} keV, {length} m")
    return figure


if __name__ == "__main__":
    draw().savefig(sys.argv[1] if len(sys.argv) > 1 else "nine_settings.png", dpi=90)

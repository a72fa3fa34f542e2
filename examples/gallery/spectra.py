"""One reflection in the light of four spectra.

The spectrum of the pulse draws a spot out along the radius: a Bragg reflection of a still crystal
picks its own wavelength, and where the band is wide it picks many. The crystal and its
orientation are the same.
"""

import sys

import matplotlib.pyplot as plt
import numpy as np

import hitfinder as hf

HALF = 18


def draw(small=False):
    """Draw the figure; `small` takes two spectra."""
    spectra = {"tophat": 0.04, "gaussian": 0.04, "sase": 0.04, "two-colour": 0.01}
    shown = list(spectra.items())[: 2 if small else 4]
    figure, axes = plt.subplots(
        1, len(shown), figsize=(2.3 * len(shown), 2.7), layout="constrained"
    )
    at = None
    for axis, (name, bandwidth) in zip(axes, shown, strict=True):
        simulator = hf.Simulator.preset(
            "single-shot", n=1, seed=5, detector="eiger2-x-500k", camera_length_m=0.2,
            blank_fraction=0, spectrum=name, bandwidth=bandwidth, noise=False,
            **{"crystal.mosaicity_deg": 0.3},
        )  # fmt: skip
        frame, truth = simulator[0]
        at = (int(truth["fs"][0]), int(truth["ss"][0])) if at is None else at
        fs, ss = (
            int(np.clip(x, HALF, n - HALF)) for x, n in zip(at, frame.shape[::-1], strict=True)
        )
        near = frame[ss - HALF : ss + HALF, fs - HALF : fs + HALF]
        axis.imshow(np.sqrt(near), cmap="magma", origin="lower")
        axis.set(title=name, xticks=[], yticks=[])
    return figure


if __name__ == "__main__":
    draw().savefig(sys.argv[1] if len(sys.argv) > 1 else "spectra.png", dpi=90)

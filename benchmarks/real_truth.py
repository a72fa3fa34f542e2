"""Write down where peakfinder8 and DIALS see peaks in the measured frames at full dose.

These positions confirm or complete the spots that thinned frames are judged by; they are kept under
``truth/`` so that the benchmark judges alike where the two are not installed.
"""

from __future__ import annotations

import csv
import tempfile
from pathlib import Path

import numpy as np

from hitfinder.suite.condition import TRUTH_DTYPE, Condition, ConditionRecipe, prepared
from hitfinder.suite.thinned import FullFrame
from inputs import REAL
from peer import DIALS, PEAKFINDER8

# Each at settings that show what is plainly there and next to nothing else.
SETTINGS = {
    PEAKFINDER8: {
        "adc_threshold": 2,
        "min_snr": 4,
        "min_pixels": 2,
        "background_radius": 4,
    },
    DIALS: {
        "algorithm": "dispersion_extended",
        "kernel": 3,
        "sigma_background": 6,
        "sigma_strong": 3,
        "global_threshold": 0,
        "min_pixels": 2,
    },
}


def seen(full: FullFrame) -> dict[str, np.ndarray]:
    """Positions (fs, ss) each finder reports."""
    condition = Condition("full", full.name, "", "real", ("1",), 1, 0, 0.0)
    recipe = ConditionRecipe(
        condition,
        [full.geometry],
        np.uint16,
        lambda rng, number: (full.counts, np.empty(0, TRUTH_DTYPE)),
    )
    with tempfile.TemporaryDirectory() as temporary:
        frames = prepared(recipe, Path(temporary))
        return {
            peer.name: peer.search(frames, [0], [settings])[0][:, 2:4]
            for peer, settings in SETTINGS.items()
        }


def main() -> None:
    for path, truth in REAL.items():
        found = seen(FullFrame(path))
        with truth.open("w", newline="") as file:
            writer = csv.writer(file, lineterminator="\n")
            writer.writerow(["finder", "fs", "ss"])
            for name, at in found.items():
                writer.writerows([name, f"{fs:.2f}", f"{ss:.2f}"] for fs, ss in at)
        print(path.name, {name: len(at) for name, at in found.items()})


if __name__ == "__main__":
    main()

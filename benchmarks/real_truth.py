"""Write down where peakfinder8 and DIALS see peaks in the measured frames at full dose.

These positions confirm or complete the spots of `real_spots`; they are kept under ``truth/`` so
that the benchmark judges alike where the two are not installed.
"""

from __future__ import annotations

import csv
import tempfile
from pathlib import Path

import numpy as np

from peer import DIALS, PEAKFINDER8
from real_spots import REAL_FRAMES, TRUTH, RealFrame
from recipes import SHARED

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


def seen(real: RealFrame) -> dict[str, np.ndarray]:
    """Positions (fs, ss) each finder reports."""
    counts, mask = real.read(SHARED)
    geometries = [{"beam_fs": real.beam[0], "beam_ss": real.beam[1]}]
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        np.save(folder / "frames.npy", counts[None].astype(np.uint16))
        np.save(folder / "mask.npy", mask)
        return {
            peer.name: peer.search(folder, [0], [0], geometries, [settings])[0][0][0][:, :2]
            for peer, settings in SETTINGS.items()
        }


def main() -> None:
    TRUTH.mkdir(exist_ok=True)
    for real in REAL_FRAMES:
        found = seen(real)
        with (TRUTH / f"{real.name}.csv").open("w", newline="") as file:
            writer = csv.writer(file, lineterminator="\n")
            writer.writerow(["finder", "fs", "ss"])
            for name, at in found.items():
                writer.writerows([name, f"{fs:.2f}", f"{ss:.2f}"] for fs, ss in at)
        print(real.name, {name: len(at) for name, at in found.items()})


if __name__ == "__main__":
    main()

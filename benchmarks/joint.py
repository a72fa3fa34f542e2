"""A run searched for its known crystal: false hits among its blanks, and what probabilities hold.

Half of the simulated frames are blank; in the others proteinase K diffracts a share of the photons
of a full hit that is as likely at any logarithm between the ends of `SCALES`. The run finds hits,
then searches hits and near misses with the structure, as `hitfinder run --structure` does. Counted
are the blanks that are hits, by peaks alone and by peaks and crystal together, and those indexed;
and the hits and right orientations where the stated probabilities are in each of five ranges.
"""

from __future__ import annotations

import argparse
import itertools
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet
from numpy.typing import NDArray

import hitfinder as hf
from hitfinder.crystal.lattice import Lattice
from hitfinder.crystal.orientation import COLUMNS, from_columns
from hitfinder.suite.measure import rate
from report import results_header, write_json

SCALES = {1: "0.0001..0.003", 100: "0.0003..0.01", 2000: "0.001..0.03"}
RIGHT_DEG = 0.5
RANGES = (0.0, 0.1, 0.3, 0.7, 0.9, 1.0)


def judged(shots: int, n_frames: int, seed: int, folder: Path, workers: int) -> dict[str, Any]:
    """Simulate, search and count at one background."""
    how = {
        "detector": "eiger2-x-500k", "camera_length_m": 0.06, "shots": shots, "seed": seed,
        "bragg_scale": SCALES[shots], "blank_fraction": 0.5,
    }  # fmt: skip
    frames = hf.simulate(folder / "sim", n_frames, preset="report", workers=workers, **how)
    run = hf.run(frames, folder / "run", workers=workers, estimate=False)
    by_peaks = np.array(run.frames["hit"])
    found = hf.index(run, structure="1ic6", workers=workers, intensities=False)
    told = hf.open_run(folder / "run").frames
    shot = pyarrow.parquet.read_table(folder / "sim" / "shots.parquet")
    blank, joint = np.array(shot["blank"]).astype(bool), np.array(told["hit"])
    table = found.table
    rows = table["frame"].to_numpy()
    right = np.array([
        not blank[row] and _apart_deg(found.lattice, table, k, shot, int(row)) < RIGHT_DEG
        for k, row in enumerate(rows)
    ])  # fmt: skip
    sure = np.array(table["indexed"])
    n_blank, n_hit = int(blank.sum()), int((~blank).sum())
    return {
        "settings": how,
        "blanks": n_blank,
        "blanks_searched": int(blank[rows].sum()),
        "false_hits_by_peaks": rate(int((by_peaks & blank).sum()), n_blank),
        "false_hits_by_both": rate(int((joint & blank).sum()), n_blank),
        "blanks_indexed": int((sure & blank[rows]).sum()),
        "hits_by_peaks": rate(int((by_peaks & ~blank).sum()), n_hit),
        "hits_by_both": rate(int((joint & ~blank).sum()), n_hit),
        "indexed": int(sure.sum()),
        "indexed_wrong": int((sure & ~right).sum()),
        "hit_probability": calibration(np.array(told["hit_probability"]), ~blank),
        "joint_probability": calibration(np.array(told["joint_probability"]), ~blank),
        "index_probability": calibration(np.array(table["probability"]), right),
    }


def _apart_deg(lattice: Lattice, one: Any, row: int, other: Any, number: int) -> float:
    axes = (
        from_columns({name: table[name][k].as_py() for name in COLUMNS})
        for table, k in ((one, row), (other, number))
    )
    return lattice.angle_deg(*axes)


def calibration(told: NDArray[np.float64], true: NDArray[np.bool_]) -> list[dict[str, Any]]:
    """Say for each range of probabilities what they are on average, and how often they hold."""
    out = []
    for low, high in itertools.pairwise(RANGES):
        here = (told >= low) & ((told < high) | (high == 1.0))
        if here.any():
            one = {"from": low, "to": high, "mean": round(float(told[here].mean()), 3)}
            out.append(one | {"true": rate(int(true[here].sum()), int(here.sum()))})
    return out


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--shots", type=int, nargs="+", default=list(SCALES))
    parser.add_argument("--frames", type=int, default=400)
    parser.add_argument("--seed", type=int, default=77)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--out", default="joint.json")
    given = parser.parse_args()
    out: dict[str, Any] = {}
    for shots in given.shots:
        with tempfile.TemporaryDirectory() as folder:
            out[f"shots-{shots}"] = judged(
                shots, given.frames, given.seed, Path(folder), given.workers
            )
        print(shots, out[f"shots-{shots}"], flush=True)
        write_json(given.out, results_header([]) | out)


if __name__ == "__main__":
    main()

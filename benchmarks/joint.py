"""A run searched for its known crystal: false hits among its blanks, and what probabilities hold.

Half of the simulated frames are blank; in the others proteinase K diffracts a share of the photons
of a full hit that is as likely anywhere between the ends of `SCALES`. The run finds hits, then
searches hits and near misses with what is known of the crystal, as `hitfinder index` does: its
structure, its cell alone, the structure of another crystal in the same cell, or its structure in a
cell that is 1.5 % too long along each edge, in which no orientation is taken for right. With
`--spots` each frame, blank or not, has that many bright spots at random places besides. Counted are
the blanks that are hits, by peaks alone and by peaks and crystal together, and those indexed; and
the hits and right orientations where the stated probabilities are in each of five ranges.

With `--blanks` as many frames are searched, all of them blank, and only added up.
"""

from __future__ import annotations

import argparse
import itertools
import json
import tempfile
from pathlib import Path
from typing import Any

import h5py
import hdf5plugin  # noqa: F401 (frames are compressed)
import numpy as np
import pyarrow.parquet
from numpy.typing import NDArray

import hitfinder as hf
from hitfinder.crystal.cell import Cell
from hitfinder.crystal.compute import random_structure_factors
from hitfinder.crystal.lattice import Lattice
from hitfinder.crystal.orientation import COLUMNS, from_columns
from hitfinder.crystal.reflections import StructureFactors
from hitfinder.crystal.tables import load_structure_factors
from hitfinder.suite.measure import rate
from report import RESULTS, results_header, write_json

SCALES = {1: "0.0001..0.003", 100: "0.0003..0.01", 2000: "0.001..0.03"}
RIGHT_DEG = 0.5
RANGES = (0.0, 0.1, 0.3, 0.7, 0.9, 1.0)
KNOWN = ("structure", "cell", "wrong structure", "wrong cell")
WRONG_CELL = 1.015
SPOT_PHOTONS, SPOT_SIGMAS_PX = (8.0, 300.0), (0.1, 0.8)
"""False spots: their photons, as likely at any logarithm, and their widths."""


def judged(
    shots: int, n_frames: int, seed: int, folder: Path, workers: int, known: str, spots: int
) -> dict[str, Any]:
    """Simulate, search and count at one background."""
    run, found, how = searched(shots, n_frames, seed, folder, workers, 0.5, known, spots)
    by_peaks = np.array(run.frames["hit"])
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
        "right": int(right.sum()),
        "indexed": int(sure.sum()),
        "indexed_wrong": int((sure & ~right).sum()),
        "indexed_wrong_by_share_alone": int((_rare(table) & ~right).sum()),
        "hit_probability": calibration(np.array(told["hit_probability"]), ~blank),
        "joint_probability": calibration(np.array(told["joint_probability"]), ~blank),
        "index_probability": calibration(np.array(table["probability"]), right),
    }


def blanks(shots: int, n_frames: int, seed: int, folder: Path, workers: int) -> dict[str, Any]:
    """Search frames that are all blank, and count what passes for hits and crystals."""
    run, found, how = searched(shots, n_frames, seed, folder, workers, 1.0, "structure", 0)
    table, told = found.table, hf.open_run(folder / "run").frames
    return {
        "settings": how,
        "blanks": n_frames,
        "false_hits_by_peaks": rate(int(np.array(run.frames["hit"]).sum()), n_frames),
        "false_hits_by_both": rate(int(np.array(told["hit"]).sum()), n_frames),
        "as_good_as_one_in_100": rate(int(_rare(table).sum()), n_frames),
        "highest_probability": round(float(np.max(table["probability"].to_numpy())), 3),
        "indexed": rate(int(np.array(table["indexed"]).sum()), n_frames),
    }


def searched(
    shots: int, n_frames: int, seed: int, folder: Path, workers: int, blank_fraction: float,
    known: str, spots: int,
) -> tuple[Any, Any, dict[str, Any]]:  # fmt: skip
    """Return the run by its peaks alone, what is indexed, and how the frames were made."""
    how = {
        "detector": "eiger2-x-500k", "camera_length_m": 0.06, "shots": shots, "seed": seed,
        "bragg_scale": SCALES[shots], "blank_fraction": blank_fraction,
    }  # fmt: skip
    frames = hf.simulate(folder / "sim", n_frames, preset="report", workers=workers, **how)
    if spots:
        add_spots(folder / "sim", spots, seed)
    run = hf.run(frames, folder / "run", workers=workers, estimate=False)
    run.frames  # noqa: B018 (read before the hits are decided anew)
    which = "all" if blank_fraction == 1.0 else "near"
    crystal = given(known, folder)
    found = hf.index(run, frames=which, workers=workers, intensities=False, **crystal)
    return run, found, how | {"known": known, "spots": spots, "frames": which}


def given(known: str, folder: Path) -> dict[str, Any]:
    """Return what `hitfinder.index` is told of the crystal."""
    factors = load_structure_factors("1ic6")
    c = factors.cell
    edges = WRONG_CELL if known == "wrong cell" else 1.0
    cell = Cell(*(edges * edge for edge in (c.a, c.b, c.c)), c.alpha, c.beta, c.gamma)
    told: dict[str, Any] = {"space_group": factors.space_group_name}
    if known == "cell":
        return told | {"cell": (c.a, c.b, c.c, c.alpha, c.beta, c.gamma), "pixels": True}
    if known == "structure":
        return {"structure": "1ic6"}
    if known == "wrong structure":
        rng = np.random.default_rng(1)
        factors = random_structure_factors(c, factors.space_group_name, rng, factors.d_min_a)
    path = folder / "other.hkl"
    write_hkl(path, factors)
    return told | {
        "structure": path, "cell": (cell.a, cell.b, cell.c, cell.alpha, cell.beta, cell.gamma)
    }  # fmt: skip


def write_hkl(path: Path, factors: StructureFactors) -> None:
    """Write |F|² as a reflection list of CrystFEL."""
    lines = [
        "CrystFEL reflection list version 2.0",
        "Symmetry: 422",
        "h k l I phase sigma(I) nmeas",
    ]
    for (h, k, el), value in zip(factors.hkl, factors.f_squared, strict=True):
        lines.append(f"{h} {k} {el} {value:.6g} - 1 1")
    path.write_text("\n".join([*lines, "End of reflections", ""]))


def add_spots(folder: Path, n: int, seed: int) -> None:
    """Add bright spots at random places to each frame of a simulation."""
    rng = np.random.default_rng([seed, n])
    for path in sorted(folder.glob("frames_data_*.h5")):
        with h5py.File(path, "r+") as file:
            data = file["entry/data/data"]
            for k in range(len(data)):
                frame = data[k]
                for _ in range(n):
                    photons = rng.poisson(np.exp(rng.uniform(*np.log(SPOT_PHOTONS))))
                    middle = rng.uniform(2, np.array(frame.shape) - 2)
                    at = rng.normal(middle, rng.uniform(*SPOT_SIGMAS_PX), (photons, 2)).astype(int)
                    ss, fs = np.clip(at, 0, np.array(frame.shape) - 1).T
                    read = frame[ss, fs] < np.iinfo(frame.dtype).max - photons
                    np.add.at(frame, (ss[read], fs[read]), 1)
                data[k] = frame


def _rare(table: Any) -> NDArray[np.bool_]:
    return np.asarray(table["false_share"].to_numpy() <= 0.01)


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
    parser.add_argument("--known", nargs="+", choices=KNOWN, default=["structure"])
    parser.add_argument("--frames", type=int, default=400)
    parser.add_argument("--spots", type=int, default=0, help="false spots in each frame")
    parser.add_argument("--blanks", type=int, default=0, help="search so many blanks instead")
    parser.add_argument("--seed", type=int, default=77)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--out", default="joint.json")
    told = parser.parse_args()
    for known, shots in itertools.product(told.known, told.shots):
        with tempfile.TemporaryDirectory() as folder:
            where = shots, told.blanks or told.frames, told.seed, Path(folder), told.workers
            row = blanks(*where) if told.blanks else judged(*where, known, told.spots)
        name = "blanks" if told.blanks else f"{known}, {told.spots} spots" if told.spots else known
        print(name, shots, row, flush=True)
        there = RESULTS / told.out
        before = json.loads(there.read_text()) if there.exists() else {}
        rows = before.get(name, {}) | {f"shots-{shots}": row}
        write_json(told.out, before | {name: rows} | results_header([]))


if __name__ == "__main__":
    main()

"""Orientations of measured frames that are thinned, found from all pixels and from peaks.

Stills of a crystal of known cell are indexed at full dose, which tells their orientations and the
cell that their peaks fit. Then they are binomially thinned, searched by `hitfinder run`, and
indexed with that cell: from all pixels (`--pixels`), with the structure too if one is given
(`--structure`), and from the peaks that are left. An orientation is right if it is within 1° of
that at full dose, up to the lattice's symmetry. Frames that are not indexed at full dose are in the
runs, but not counted.

The frames of docs/indexing.md are stills of a grid scan over a thaumatin crystal (PILATUS3 6M),
thau_3_2_NNNN.cbf of the folder thaumatin_grid in https://github.com/dials/data-files.
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import fabio
import numpy as np
from numpy.typing import NDArray

import hitfinder as hf
from hitfinder.crystal.cellfiles import read_lattice
from hitfinder.crystal.lattice import Lattice
from hitfinder.crystal.orientation import COLUMNS, from_columns
from hitfinder.job.indexing.indexed import IndexedRun
from report import results_header, write_json

SHARES = (0.01, 0.003, 0.001, 0.0003)
RIGHT_DEG = 1.0
CELL, SPACE_GROUP = "57.9,57.9,150.1", "P 41 21 2"
"""Of tetragonal thaumatin."""

BANDWIDTH = 0.0002
"""Of a double crystal monochromator, Si 111."""


def cbf_files(paths: Sequence[Path]) -> list[Path]:
    """The CBF files among these and in folders among these."""
    found = [p for path in paths for p in (sorted(path.glob("*.cbf")) if path.is_dir() else [path])]
    return [path for path in found if path.is_file()]


def thinned(files: Sequence[Path], share: float, folder: Path, seed: int) -> tuple[list[Path], int]:
    """Write frames of that share of the photons; return them and the photons in all of them."""
    folder.mkdir()
    total, out = 0, []
    for k, path in enumerate(files):
        image = fabio.open(str(path))
        counts = np.asarray(image.data, np.int64)
        rng = np.random.default_rng([seed, k])
        # Negative values say that there is no reading.
        few = np.where(counts > 0, rng.binomial(np.maximum(counts, 0), share), counts)
        total += int(few[few > 0].sum())
        out.append(folder / path.name)
        fabio.cbfimage.CbfImage(data=few.astype(np.int32), header=image.header).write(str(out[-1]))
    return out, total


def orientations(found: IndexedRun) -> dict[int, tuple[NDArray[np.float64], bool]]:
    """The reciprocal axes of the best crystal of each frame, and whether it is called indexed."""
    rows = found.table.to_pydict()
    return {
        frame: (from_columns({name: rows[name][k] for name in COLUMNS}), rows["indexed"][k])
        for k, frame in enumerate(rows["frame"])
        if rows["crystal"][k] == 0
    }


def counted(lattice: Lattice, true: dict[int, NDArray], found: IndexedRun) -> dict[str, Any]:
    """How many of the frames whose orientation is known are indexed, and right."""
    best = orientations(found)
    apart = {
        frame: lattice.angle_deg(best[frame][0], axes) if frame in best else np.inf
        for frame, axes in true.items()
    }
    right = {frame for frame, angle in apart.items() if angle < RIGHT_DEG}
    indexed = {frame for frame in true if frame in best and best[frame][1]}
    angles = [apart[frame] for frame in right]
    return {
        "of": len(true),
        "right": len(right),
        "indexed": len(indexed),
        "indexed_wrong": len(indexed - right),
        "median_off_deg": round(float(np.median(angles)), 3) if angles else None,
    }


def searched(files: Sequence[Path], folder: Path, workers: int) -> Any:
    """The run over frames."""
    return hf.run([str(path) for path in files], folder, workers=workers, estimate=False)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("frames", type=Path, nargs="+", help="CBF files, or folders of them")
    parser.add_argument("--cell", default=CELL, help="file, or a,b,c[,alpha,beta,gamma]")
    parser.add_argument("--space-group", default=SPACE_GROUP)
    parser.add_argument("--structure", type=Path, help="coordinates or structure factors")
    parser.add_argument("--bandwidth", type=float, default=BANDWIDTH, help="full width, relative")
    parser.add_argument("--shares", type=float, nargs="+", default=list(SHARES))
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--workers", type=int, default=2)
    given = parser.parse_args()
    files = cbf_files(given.frames)
    if not files:
        print(f"left out: there are no CBF frames in {', '.join(map(str, given.frames))}; "
              "they are thaumatin_grid of https://github.com/dials/data-files")  # fmt: skip
        return
    how = {
        "bandwidth": given.bandwidth, "intensities": False, "overwrite": True,
        "workers": given.workers,
    }  # fmt: skip
    rows = []
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        run = searched(files, folder / "full", given.workers)
        full = hf.index(run, read_lattice(given.cell, given.space_group), refine_cell=True, **how)
        lattice = full.lattice
        true = {frame: axes for frame, (axes, sure) in orientations(full).items() if sure}
        print(f"{len(true)} of {len(files)} frames indexed at full dose, {lattice}", flush=True)
        ways: dict[str, dict[str, Any]] = {
            "cell, pixels": {"pixels": True, "frames": "all"},
            "cell, peaks": {},
        }
        if given.structure:
            ways["structure"] = {"structure": given.structure, "frames": "all"}
        for share in given.shares:
            made, photons = thinned(files, share, folder / f"thinned-{share:g}", given.seed)
            run = searched(made, folder / f"run-{share:g}", given.workers)
            peaks = run.frames["n_peaks"].to_numpy()
            for way, more in ways.items():
                found = hf.index(run, lattice, **how, **more)
                rows.append({"dose": share, "known": way, **counted(lattice, true, found)})
                rows[-1] |= {
                    "photons_a_frame": round(photons / len(files)),
                    "median_peaks": float(np.median(peaks)),
                }
                print(rows[-1], flush=True)
    result = {
        "frames": [path.name for path in files],
        "full_dose": {"indexed": len(true), "cell": str(lattice.cell)},
        "seed": given.seed,
        "rows": rows,
    }
    write_json("known_measured.json", results_header([]) | result)


if __name__ == "__main__":
    main()

"""Observed reflections as CrystFEL's programs merge them, for `merging.py`."""

from __future__ import annotations

import itertools
import os
import subprocess
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from hitfinder.export.stream import StreamFrame, stream_writer
from hitfinder.geometry.crystfel.writer import geom_lines
from hitfinder.io.source import FrameRef
from hitfinder.job.indexing.integrate import stream_crystal

if TYPE_CHECKING:
    from merging import Maker, Merging, Observed

POINT_GROUP = "4/mmm"
SHARES = (0.125, 0.25, 0.35, 0.5, 0.7, 1.0)
COMMANDS = {
    "process_hkl": [],
    "process_hkl --scale": ["--scale"],
    "partialator": ["--model=unity", "--no-logs"],
}
MOST_SECONDS = 600


def merged_by_crystfel(
    folder: Path, maker: Maker, seen: list[Observed], merging: Merging
) -> dict[str, Any]:
    """Correlations by shell of what CrystFEL merges of our reflections and of ring sums.

    Ring sums are given as CrystFEL has them, photons without a weight.
    """
    found: dict[str, Any] = {}
    with tempfile.TemporaryDirectory() as scratch:
        for kind in ("rings", "ours"):
            stream = Path(scratch) / f"{kind}.stream"
            _write(stream, maker, seen, kind, merging.good)
            for command, options in COMMANDS.items():
                call = [str(folder / command.split()[0]), *options]
                told = _correlations(_run(call, stream), merging)
                found[f"{kind}, {command}"] = told
            found[f"{kind} by share"] = [
                _correlations(
                    _run([str(folder / "process_hkl"), f"--stop-after={n}"], stream), merging
                )
                for n in (max(1, round(share * len(seen))) for share in SHARES)
            ]
    goal = found["rings by share"][-1]
    curves = np.maximum.accumulate(np.array(found["ours by share"]), axis=0).T
    found["frames_for_what_rings_reach"] = [
        round(float(np.interp(aim, curve, SHARES)), 2)
        for aim, curve in zip(goal, curves, strict=True)
    ]
    return found | {"shares": list(SHARES)}


def _write(
    path: Path, maker: Maker, seen: list[Observed], kind: str, good: NDArray[np.bool_]
) -> None:
    """Write a stream of the reflections that all ways can use."""
    geometry = maker.frames.geometry
    given = {"clen": geometry.camera_length_m, "photon_energy": geometry.photon_energy_ev}
    geom = "\n".join(geom_lines(geometry, data_path="/data", **given))
    first = 0
    with stream_writer(path, maker.lattice, geometry, geom, 0.01) as stream:
        for number, one in enumerate(seen, 1):
            some = good[first : first + len(one.table)]
            first += len(one.table)
            table = one.table[some].copy()
            if kind == "rings":
                table["intensity"], table["weight"] = one.rings[some], table["polarisation"]
            stream.add(
                StreamFrame(
                    FrameRef("frames.h5", f"//{number}"),
                    number,
                    geometry.photon_energy_ev,
                    geometry.camera_length_m,
                    np.zeros((0, 4)),
                    [stream_crystal(one.axes, table)],
                )
            )


def _run(call: list[str], stream: Path) -> NDArray[np.float64]:
    """Merge a stream; return h, k, l and intensity of each reflection."""
    out = stream.with_suffix(".hkl")
    libraries = Path(call[0]).parents[1] / "lib"
    paths = ":".join(map(str, [libraries, *libraries.glob("*")]))
    subprocess.run(
        [*call, "-i", str(stream), "-o", str(out), "-y", POINT_GROUP, "--min-measurements=1"],
        check=True, capture_output=True, timeout=MOST_SECONDS, cwd=stream.parent,
        env=os.environ | {"LD_LIBRARY_PATH": paths},
    )  # fmt: skip
    lines = out.read_text().split("nmeas\n")[1].split("End of reflections")[0].splitlines()
    return np.array([line.split()[:4] for line in lines], float)


def _correlations(merged: NDArray[np.float64], merging: Merging) -> list[float]:
    """Correlate merged intensities with the truth, shell by shell."""
    table = merging.table
    hkl = np.concatenate([np.stack([table[n] for n in "hkl"], 1), merged[:, :3].astype(int)])
    rows = merging.numbered(hkl)
    true = np.full(rows.max() + 1, np.nan)
    inv_d = np.full(rows.max() + 1, np.nan)
    true[rows[: len(table)]] = table["f_squared"]
    inv_d[rows[: len(table)]] = merging.inv_d
    of_merged = rows[len(table) :]
    true, inv_d = true[of_merged], inv_d[of_merged]
    told = []
    for low, high in itertools.pairwise(merging.edges):
        some = (inv_d >= low) & (inv_d < high) & np.isfinite(true)
        told.append(round(float(np.corrcoef(merged[some, 3], true[some])[0, 1]), 4))
    return told

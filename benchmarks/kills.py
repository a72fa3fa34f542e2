"""Kill runs and simulations at random moments, and compare their tables with undisturbed ones.

Workers and main processes get `kill -9`, one in five of the latter SIGTERM, after a random time. A
run whose main process was killed is resumed. A simulation leaves nothing that looks finished, and
is made again. In the end every table must be that of an undisturbed run.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import h5py
import hdf5plugin  # noqa: F401 - lets HDF5 read the frames
import numpy as np
import pyarrow.parquet as pq

from hitfinder.geometry.detector import Detector, Panel
from hitfinder.geometry.geometry import Geometry
from hitfinder.io.write import NexusWriter

SHAPE = (200, 220)
SIMULATION = ("--preset", "single-shot", "--set", "detector.name=eiger2-x-500k")
LONGEST_S = 300.0


def write_series(folder: Path, n: int) -> Path:
    panel = Panel("p0", 0, 0, SHAPE[1], SHAPE[0], -110.0, -100.0)
    master = folder / "run_master.h5"
    geometry = Geometry(Detector("small", SHAPE, (panel,)), 0.03, 6000.0)
    with NexusWriter(master, geometry, np.uint16, frames_per_file=100) as writer:
        for index in range(n):
            rng = np.random.default_rng([7, index])
            frame = rng.poisson(0.02, SHAPE).astype(np.uint16)
            if index % 2:
                frame[rng.integers(10, 190, 8), rng.integers(10, 210, 8)] += 20
            writer.write(frame)
    return master


def start(*arguments: object) -> subprocess.Popen:
    command = [sys.executable, "-m", "hitfinder", *map(str, arguments)]
    quiet = subprocess.DEVNULL
    return subprocess.Popen(command, stdout=quiet, stderr=quiet, start_new_session=True)


def workers_of(process: int) -> list[int]:
    found = subprocess.run(["pgrep", "-P", str(process)], capture_output=True, text=True)
    return [int(pid) for pid in found.stdout.split()]


def disturb(
    process: subprocess.Popen, rng: random.Random, within_s: float, counts: dict[str, int]
) -> None:
    """Kill some workers and then, half of the time, the main process; wait for the end."""
    for _ in range(rng.randint(1, 3)):
        time.sleep(rng.uniform(0, within_s))
        if process.poll() is not None:
            return
        if team := workers_of(process.pid):
            with contextlib.suppress(ProcessLookupError):
                os.kill(rng.choice(team), signal.SIGKILL)
                counts["workers"] += 1
    if rng.random() < 0.5:
        time.sleep(rng.uniform(0, within_s))
        if process.poll() is None:
            how = signal.SIGTERM if rng.random() < 0.2 else signal.SIGKILL
            process.send_signal(how)
            counts["terminated" if how == signal.SIGTERM else "main"] += 1
    try:
        process.wait(LONGEST_S)
    except subprocess.TimeoutExpired:
        counts["hung"] += 1
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def run_tables(out: Path) -> tuple[Any, ...]:
    frames = pq.read_table(out / "frames.parquet").drop_columns(["seconds"])
    return frames, pq.read_table(out / "peaks.parquet"), (out / "hits.lst").read_text()


def simulated(out: Path) -> tuple[Any, ...]:
    with h5py.File(out / "frames_master.h5") as file:
        frames = file["entry/data/data"][()].tobytes()
    names = ("truth", "shots", "crystals")
    return frames, *(pq.read_table(out / f"{name}.parquet") for name in names)


def attack(
    kind: str, folder: Path, n_kills: int, rng: random.Random, cluster: list[str]
) -> dict[str, int]:
    """Disturb one command again and again until there were so many kills."""
    counts = dict.fromkeys(("workers", "main", "terminated", "hung", "jobs", "different"), 0)
    if kind == "run":
        master = write_series(folder, 400)
        command: list[object] = ["run", master, "--finder", "likelihood", "-j", 2, "--out"]
        read, more = run_tables, "--resume"
    else:
        command = ["simulate", *SIMULATION, "--n", 120, "-j", 2, "--out"]
        read, more = simulated, "--overwrite"
    whole, command = folder / "whole", [command[0], *cluster, *command[1:]]
    began = time.monotonic()
    assert start(*command, whole).wait() == 0
    within_s = (time.monotonic() - began) / 3
    expected = read(whole)
    while counts["workers"] + counts["main"] + counts["terminated"] < n_kills:
        out, counts["jobs"] = folder / f"out{counts['jobs']}", counts["jobs"] + 1
        disturb(start(*command, out), rng, within_s, counts)
        last = "run.json" if kind == "run" else "frames_master.h5"
        tries = 0
        while not is_done(out / last) and tries < 20:
            given = [more] if out.exists() and any(out.iterdir()) else []
            disturb(start(*command, out, *given), rng, within_s, counts)
            tries += 1
        counts["different"] += read(out) != expected
        print(kind, counts, flush=True)
    return counts


def is_done(path: Path) -> bool:
    if not path.exists() or path.name != "run.json":
        return path.exists()
    told = json.loads(path.read_text())
    return bool(told["complete"]) and not told["wanting"]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--kills", type=int, default=20, help="of each command, at least")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--only", choices=("run", "simulate"))
    parser.add_argument("--cluster", choices=("local",), help="by the workers of a Dask cluster")
    arguments = parser.parse_args()
    cluster = ["--cluster", arguments.cluster] if arguments.cluster else []
    rng, found = random.Random(arguments.seed), {}
    for kind in (arguments.only,) if arguments.only else ("run", "simulate"):
        with tempfile.TemporaryDirectory() as folder:
            found[kind] = attack(kind, Path(folder), arguments.kills, rng, cluster)
    print(json.dumps(found, indent=1))
    sys.exit(any(counts["different"] or counts["hung"] for counts in found.values()))


if __name__ == "__main__":
    main()

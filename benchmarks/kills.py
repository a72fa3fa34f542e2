"""Kill commands at random moments, and compare what they leave with undisturbed ones.

Workers and main processes get `kill -9`, one in five of the latter SIGTERM, after a random time. A
command whose main process was killed is given again, and goes on or begins anew. After each kill
every file that has its final name must be that of an undisturbed command, and so must all of them
in the end. Writes ``benchmarks/results/kills.json``. Run it as ``python benchmarks/kills.py``.
"""

from __future__ import annotations

import argparse
import collections
import contextlib
import dataclasses
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import h5py
import hdf5plugin  # noqa: F401 - lets HDF5 read the frames
import numpy as np
import pyarrow.parquet as pq

from hitfinder.geometry.detector import Detector, Panel
from hitfinder.geometry.geometry import Geometry
from hitfinder.io.write import NexusWriter
from report import RESULTS, results_header, write_json

SHAPE = (200, 220)
SIMULATED = ("--preset", "single-shot", "--set", "detector.name=eiger2-x-500k", "--n", 120)
CRYSTALS = (
    *("--n", 12, "--seed", 5, "--detector", "eiger2-x-1m", "--camera-length-m", 0.1),
    *("--cell", "60,60,90", "--bragg-scale", 0.1, "--set", "crystal.structure=random"),
    *("--set", "crystal.space_group=P 43 21 2", "--set", "crystal.d_min_a=3.0"),
)
WEAK = (
    *("--preset", "report", "--n", 4, "--seed", 3, "--detector", "eiger2-x-500k"),
    *("--camera-length-m", 0.06, "--bragg-scale", 0.01, "--background-shots", 1),
)
TREE = (
    *("--frames", 12, "--bin", 8, "--frames-per-file", 6, "--matrix", "grid"),
    *("--photon-energy-ev", "6000,8000", "--camera-length-m", 0.15),
)
LONGEST_S = 300.0
MOST_TRIES = 12
"""Times that a command is given; the last time nothing is killed."""


@dataclasses.dataclass(frozen=True)
class Command:
    """A command that is killed.

    Attributes
    ----------
    words : tuple
        The command without its folder.
    read : callable
        Returns the finished outputs in a folder, by name, in a form that can be compared.
    again : callable
        Returns the words to add where a folder holds what a killed command left.
    workers : str
        Its option for the number of workers.
    before : Path, optional
        Folder that it works on: a copy is given to it.
    """

    words: tuple[object, ...]
    read: Callable[[Path], dict[str, Any]]
    again: Callable[[Path], tuple[str, ...]]
    workers: str = "-j"
    before: Path | None = None

    def line(self, out: Path, how: str) -> list[object]:
        """Return the words that do it into a folder; `how` names the executor."""
        folder = [out] if self.before else ["--out", out]
        n = 1 if how == "inline" else 2
        cluster = ["--cluster", "local"] if how == "dask" else []
        return [*self.words, *folder, self.workers, n, *cluster, *self.again(out)]

    def prepare(self, out: Path) -> None:
        """Make ready the folder it is to work on."""
        if self.before:
            shutil.copytree(self.before, out)


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


def tables(out: Path, names: Iterable[str], varying: tuple[str, ...] = ()) -> dict[str, Any]:
    """Return the tables that are there, without columns that vary."""
    found = {}
    for path in (out / f"{name}.parquet" for name in names):
        if path.exists():
            table = pq.read_table(path)
            found[path.name] = table.drop_columns([v for v in varying if v in table.column_names])
    return found


def texts(out: Path, names: Iterable[str]) -> dict[str, Any]:
    """Return the files of text that are there, whatever the folder."""
    paths = [out / name for name in names if (out / name).exists()]
    return {path.name: path.read_text().replace(str(out.resolve()), "OUT") for path in paths}


def frames(path: Path) -> dict[str, Any]:
    """Return the images of a file."""
    with h5py.File(path) as file:
        return {path.name: file["entry/data/data"][()].tobytes()}


def run_outputs(out: Path) -> dict[str, Any]:
    """Return the results of a run that says it is complete."""
    told = out / "run.json"
    if not told.exists() or not (said := json.loads(told.read_text()))["complete"]:
        return {}
    if said["wanting"]:
        return {}
    return tables(out, ("frames", "peaks"), ("seconds",)) | texts(out, ["hits.lst"])


def simulated(out: Path) -> dict[str, Any]:
    """Return what was simulated."""
    master = out / "frames_master.h5"
    images = frames(master) if master.exists() else {}
    return images | tables(out, ("truth", "shots", "crystals"))


def built(out: Path) -> dict[str, Any]:
    """Return the images of a tree, and what its manifest lists."""
    found: dict[str, Any] = {}
    for path in sorted(out.glob("*/*/*.h5")):
        found |= {f"{path.relative_to(out)}": frames(path)[path.name]}
    for path in out.glob("manifest.json"):
        told = json.loads(path.read_text())
        if told["files"]:
            found["manifest"] = sorted(told["files"])
    return found


def indexed(out: Path) -> dict[str, Any]:
    """Return what indexing wrote."""
    found = tables(out, ("indexed", "reflections"))
    found |= texts(out, ("indexed.lst", "indexed.sol", "indexed.stream"))
    if (out / "indexed.json").exists():
        found["counts"] = json.loads((out / "indexed.json").read_text())["counts"]
    # Of a frame of which two workers died it is said that it is wanting: that is not the end.
    return {} if found.get("counts", {}).get("wanting") else found


def indexed_by_pixels(out: Path) -> dict[str, Any]:
    """Return what indexing by pixels wrote, and the hits as it decided on them."""
    found = indexed(out)
    return found | run_outputs(out) if "counts" in found else found


def trained(out: Path) -> dict[str, Any]:
    """Return the files of a trained network that a training fixes."""
    if not (out / "model.json").exists():
        return {}
    fixed = [out / name for name in ("weights.safetensors", "history.csv")]
    return {path.name: path.read_bytes() for path in fixed if path.exists()}


def ready(*words: object) -> None:
    """Have a command done that is not killed."""
    assert start(words, subprocess.DEVNULL).wait() == 0, words


def commands(folder: Path, wanted: Iterable[str]) -> dict[str, Command]:
    """Make what the commands work on."""
    found = {}
    if "run" in wanted:
        master = write_series(folder, 400)
        words = ("run", master, "--finder", "likelihood")
        found["run"] = Command(words, run_outputs, flag("--resume"))
    if "simulate" in wanted:
        found["simulate"] = Command(("simulate", *SIMULATED), simulated, flag("--overwrite"))
    if "build" in wanted:
        words = ("dataset", "build", *TREE)
        found["build"] = Command(words, built, lambda out: (), "--workers")
    if "index" in wanted:
        ready("simulate", *CRYSTALS, "--out", folder / "crystals", "-j", 2)
        master, before = folder / "crystals" / "frames_master.h5", folder / "hits"
        ready("run", master, "--out", before, "-j", 2)
        words = ("index", "--cell", "60,60,90", "--space-group", "P43212")
        found["index"] = Command(words, indexed, flag("--overwrite", "indexed.json"), "-j", before)
    if "pixels" in wanted:
        ready("simulate", *WEAK, "--out", folder / "weak", "-j", 2)
        master, before = folder / "weak" / "frames_master.h5", folder / "near"
        ready("run", master, "--out", before, "-j", 2, "--finder", "likelihood")
        words = ("index", "--structure", "1ic6", "--frames", "all")
        again = flag("--overwrite", "indexed.json")
        found["pixels"] = Command(words, indexed_by_pixels, again, "-j", before)
    if "train" in wanted:
        tree = folder / "images"
        ready("dataset", "build", *TREE, "--out", tree, "--workers", 2)
        ready("dataset", "split", tree)
        words = ("train", "peak", "--model", "base", "--data", tree, "--epochs", 12)
        found["train"] = Command(words, trained, flag("--resume"), "--workers")
    if "low-flux" in wanted:
        words = ("train", "low-flux", "--experiments", 4, "--epochs", 2, "--accelerator", "cpu")
        found["low-flux"] = Command(words, trained, flag("--resume"), "--workers")
    return found


def flag(word: str, name: str = "*") -> Callable[[Path], tuple[str, ...]]:
    """Return a function that gives a word where a folder holds a file of this name."""
    return lambda out: (word,) if any(out.glob(name)) else ()


def start(words: Iterable[object], said: Any) -> subprocess.Popen:
    command = [sys.executable, "-m", "hitfinder", *map(str, words)]
    return subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=said, start_new_session=True)


def workers_of(process: int) -> list[int]:
    """Return the processes below one, but for Python's own that cleans up after all of them."""
    found = subprocess.run(["pgrep", "-a", "-P", str(process)], capture_output=True, text=True)
    lines = [line.split(maxsplit=1) for line in found.stdout.splitlines()]
    children = [int(pid) for pid, what in lines if "resource_tracker" not in what]
    return children + [one for child in children for one in workers_of(child)]


def disturb(
    process: subprocess.Popen, rng: random.Random, within_s: float, counts: dict[str, int]
) -> None:
    """Kill some workers and then, half of the time, the main process; wait for the end.

    Without workers it is always the main process.
    """
    killed = False
    for _ in range(rng.randint(1, 3)):
        time.sleep(rng.uniform(0, within_s))
        if process.poll() is not None:
            return
        if team := workers_of(process.pid):
            with contextlib.suppress(ProcessLookupError):
                os.kill(rng.choice(team), signal.SIGKILL)
                counts["workers"] += 1
                killed = True
    if not killed or rng.random() < 0.5:
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


def attack(
    command: Command, folder: Path, how: str, n_kills: int, rng: random.Random
) -> dict[str, int]:
    """Disturb one command again and again until there were so many kills."""
    counts = collections.Counter[str]()
    whole = folder / "whole"
    command.prepare(whole)
    began = time.monotonic()
    ready(*command.line(whole, how))
    within_s = (time.monotonic() - began) / 3
    expected = command.read(whole)
    assert expected
    while counts["workers"] + counts["main"] + counts["terminated"] < n_kills:
        out, counts["jobs"] = folder / f"out{counts['jobs']}", counts["jobs"] + 1
        command.prepare(out)
        for number in range(MOST_TRIES):
            with tempfile.TemporaryFile("w+") as said:
                process = start(command.line(out, how), said)
                if number < MOST_TRIES - 1:
                    disturb(process, rng, within_s, counts)
                process.wait()
                said.seek(0)
                words = said.read()
            if "Traceback" in words:
                counts["tracebacks"] += 1
                print(words, flush=True)
            found = command.read(out)
            wrong = [name for name in found if found[name] != expected.get(name)]
            counts["wrong files"] += len(wrong)
            if wrong:
                print("wrong:", wrong, flush=True)
            if found.keys() == expected.keys():
                break
            counts["not finished"] += 1
            if process.returncode > 1:
                print(f"exit code {process.returncode}:", words[-400:], flush=True)
        counts["different"] += found.keys() != expected.keys()
        shutil.rmtree(out)
        print(how, dict(counts), flush=True)
    return dict(counts)


HOW = {
    "run": ("inline", "processes", "dask"),
    "simulate": ("inline", "processes", "dask"),
    "build": ("inline", "processes", "dask"),
    "index": ("inline", "processes", "dask"),
    "pixels": ("inline", "processes", "dask"),
    "train": ("processes",),
    "low-flux": ("inline", "processes"),
}
"""Executors of each command; a training on frames has none, its processes read."""

FAULTS = ("wrong files", "different", "hung", "tracebacks")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--kills", type=int, default=6, help="of each command and executor")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--only", action="append", choices=tuple(HOW))
    parser.add_argument("--by", action="append", choices=("inline", "processes", "dask"))
    given = parser.parse_args()
    rng, found = random.Random(given.seed), dict[str, dict[str, dict[str, int]]]()
    wanted = given.only or list(HOW)
    # A first command would compile for minutes, and what code gives that was just compiled may
    # differ in the last digit.
    ready("compile")
    with tempfile.TemporaryDirectory() as place:
        for name, command in commands(Path(place), wanted).items():
            for how in HOW[name]:
                if given.by and how not in given.by:
                    continue
                folder = Path(place) / name / how
                folder.mkdir(parents=True)
                print(name, flush=True)
                counts = attack(command, folder, how, given.kills, rng)
                found.setdefault(name, {})[how] = counts
    if (there := RESULTS / "kills.json").exists():
        # What is not tried this time stays.
        before = json.loads(there.read_text())["commands"]
        found = before | {name: before.get(name, {}) | one for name, one in found.items()}
    every = [counts for one in found.values() for counts in one.values()]
    kills = sum(c.get(k, 0) for c in every for k in ("workers", "main", "terminated"))
    faults = {name: sum(counts.get(name, 0) for counts in every) for name in FAULTS}
    result = results_header([]) | {"kills": kills, "faults": faults, "commands": found}
    print(json.dumps(result, indent=1))
    write_json("kills.json", result)
    sys.exit(any(faults.values()))


if __name__ == "__main__":
    main()

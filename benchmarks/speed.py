"""Time and memory of the whole job, beside the finding step alone of other finders.

Ours is `hitfinder run` with one worker on bitshuffle-LZ4 files: reading, decompression, finding,
summing; theirs is the call that finds the peaks of a frame that is in memory in the type it wants.
All take turns on the same frames of one condition, and each turn's median counts once.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq

from conditions import Frames, prepared
from hitfinder.io.write import NexusWriter
from peer import DIALS, OM, PEAKFINDER8, Peer, Settings
from recipes import recipes
from report import results_header, write_json

PEAKFINDER8_SETTINGS: Settings = {
    "adc_threshold": 2,
    "min_snr": 5,
    "min_pixels": 1,
    "background_radius": 3,
}
DIALS_SETTINGS: Settings = {
    "sigma_background": 6,
    "sigma_strong": 4,
    "global_threshold": 3,
    "kernel": 5,
    "min_pixels": 1,
}
OTHERS: list[tuple[str, Peer, Settings]] = [
    ("peakfinder8, cfelpyutils", PEAKFINDER8, PEAKFINDER8_SETTINGS),
    ("peakfinder8, OM", OM, {**PEAKFINDER8_SETTINGS, "fast": 0}),
    ("peakfinder8, OM fast mode", OM, {**PEAKFINDER8_SETTINGS, "fast": 1}),
    ("DIALS dispersion", DIALS, {**DIALS_SETTINGS, "algorithm": "dispersion"}),
    ("DIALS extended", DIALS, {**DIALS_SETTINGS, "algorithm": "dispersion_extended"}),
]
CONDITIONS = ("sim6_1", "sim6_100", "sim6_2000")
N_TIMED = 40
N_SERIES = 100
SERIES = (200, 2000)
OURS = "hitfinder, whole job"


@dataclasses.dataclass(frozen=True)
class Run:
    """One `hitfinder run`.

    Attributes
    ----------
    frame_s : float
        Median time of a frame in the worker, from reading to peaks, in s.
    cpu_s : float
        Processor time of the whole command and its worker, in s.
    worker_mb, main_mb : float
        Largest resident memory of the worker and of the command itself, in MB.
    """

    frame_s: float
    cpu_s: float
    worker_mb: float
    main_mb: float


def write_series(frames: Frames, folder: Path, n: int) -> Path:
    """Write `n` frames, hits and blanks in turn and over again, as an Eiger series."""
    c = frames.condition
    order = [k // 2 % c.n_hits if k % 2 else c.n_hits + k // 2 % c.n_blanks for k in range(n)]
    path = folder / f"s{n}_master.h5"
    with NexusWriter(path, frames.geometries[0], np.uint16) as writer:
        for index in order:
            writer.write(np.asarray(frames.frames[index]))
    return path


def run_ours(master: Path) -> Run:
    """Process a series with one worker in a fresh process."""
    with tempfile.TemporaryDirectory() as temporary:
        out = Path(temporary) / "out"
        command = [
            str(Path(sys.executable).parent / "hitfinder"),
            "run",
            str(master),
            "--out",
            str(out),
            "--workers",
            "1",
        ]
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
        peaks_kb = [0, 0]
        while process.poll() is None:
            for k, pids in enumerate((_children(process.pid), [process.pid])):
                peaks_kb[k] = max([peaks_kb[k], *map(_peak_kb, pids)])
            time.sleep(0.05)
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        if process.returncode:
            raise SystemExit(process.stderr.read().decode() if process.stderr else "run failed")
        seconds = pq.read_table(out / "frames.parquet")["seconds"].to_numpy()
    cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return Run(float(np.median(seconds)), cpu, peaks_kb[0] / 1024, peaks_kb[1] / 1024)


def _peak_kb(pid: int) -> int:
    """Largest resident memory a process has had so far; 0 if it is gone."""
    try:
        lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    except OSError:
        return 0
    return max([0, *(int(x.split()[1]) for x in lines if x.startswith("VmHWM"))])


def _children(pid: int) -> list[int]:
    try:
        return [int(x) for x in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
    except OSError:
        return []


def time_others(frames: Frames, others: list[tuple[str, Peer, Settings]]) -> dict[str, float]:
    """Median time, in s, of the finding step of each other finder, on hits and blanks."""
    c = frames.condition
    half = N_TIMED // 2
    indices = [*range(half), *range(c.n_hits, c.n_hits + half)]
    geometries = json.loads((frames.folder / "meta.json").read_text())["geometries"]
    numbers = [frames.number(i) for i in indices]
    medians = {}
    for name, peer, settings in others:
        _, seconds = peer.search(frames.folder, indices, numbers, geometries, [settings])
        medians[name] = float(np.median(seconds))
    return medians


def measure_speed(folder: Path, turns: int) -> dict[str, dict[str, float]]:
    """Milliseconds a frame of every finder on every condition: the median over the turns."""
    others = [other for other in OTHERS if other[1].available()]
    for name, peer, _ in OTHERS:
        if not peer.available():
            print(f"{name}: not installed (benchmarks/peers/setup.sh)")
    out = {}
    for recipe in recipes():
        if recipe.condition.name not in CONDITIONS:
            continue
        frames = prepared(recipe)
        master = write_series(frames, folder, N_SERIES)
        taken: dict[str, list[float]] = {}
        for _ in range(turns):
            times = {OURS: run_ours(master).frame_s, **time_others(frames, others)}
            for name, seconds in times.items():
                taken.setdefault(name, []).append(1e3 * seconds)
        out[recipe.condition.name] = {k: round(float(np.median(v)), 1) for k, v in taken.items()}
        for path in folder.iterdir():
            path.unlink()
    return out


def measure_memory(folder: Path) -> dict[str, dict[str, float]]:
    """Memory of a worker, and processor time a frame of the whole command, by series length."""
    recipe = next(r for r in recipes() if r.condition.name == CONDITIONS[0])
    frames = prepared(recipe)
    runs = {n: run_ours(write_series(frames, folder, n)) for n in SERIES}
    few, many = runs[SERIES[0]], runs[SERIES[1]]
    per_frame = (many.cpu_s - few.cpu_s) / (SERIES[1] - SERIES[0])
    out = {
        f"{n} frames": {"worker_mb": round(run.worker_mb), "main_mb": round(run.main_mb)}
        for n, run in runs.items()
    }
    return {**out, "further frames": {"cpu_ms_per_frame": round(1e3 * per_frame, 1)}}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--turns", type=int, default=3, help="turns of each finder")
    parser.add_argument("--no-memory", action="store_true", help="leave out the long runs")
    arguments = parser.parse_args()
    result = results_header([PEAKFINDER8, OM, DIALS])
    with tempfile.TemporaryDirectory(prefix="hitfinder-speed") as temporary:
        folder = Path(temporary)
        result["ms_per_frame"] = measure_speed(folder, arguments.turns)
        if not arguments.no_memory:
            result["memory"] = measure_memory(folder)
    print(json.dumps(result, indent=1))
    write_json("speed.json", result)


if __name__ == "__main__":
    main()

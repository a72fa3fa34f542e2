"""Time and memory of the whole job, beside the finding step alone of other finders.

Ours is `hitfinder run` on bitshuffle-LZ4 files: reading, decompression, finding, summing; theirs is
the call that finds the peaks of a frame that is in memory in the type it wants. Three questions:
milliseconds a frame on one core, all taking turns on the same frames; frames a second on two cores,
from the extra frames of a longer run and from two peers at once; and memory of a worker by length.
"""

from __future__ import annotations

import argparse
import concurrent.futures
import dataclasses
import json
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq

from hitfinder.io.write import NexusWriter
from hitfinder.suite.condition import Frames
from inputs import condition
from peer import DIALS, OM, PEAKFINDER8, Peer, Settings
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
CONDITIONS = ("flux-1", "flux-100", "flux-2000")
CORES = 2
N_TIMED = 16
N_WRITTEN = 50
N_LONGER = 8  # times as many in the longer run of a rate
N_SERIES = 200
SERIES = (1, 10)  # times that series for memory
COMMAND = str(Path(sys.executable).parent / "hitfinder")


@dataclasses.dataclass(frozen=True)
class Run:
    """One `hitfinder run`.

    Attributes
    ----------
    frame_s : float
        Median time of a frame in the worker, from reading to peaks, in s.
    wall_s, cpu_s : float
        Time and processor time of the whole command and its workers, in s.
    worker_mb, main_mb : float
        Largest resident memory of a worker and of the command itself, in MB.
    """

    frame_s: float
    wall_s: float
    cpu_s: float
    worker_mb: float
    main_mb: float


def write_series(frames: Frames, folder: Path, n: int, copies: int = 1) -> list[Path]:
    """Write `n` frames, hits and blanks in turn, as an Eiger series, and copy its master."""
    c = frames.condition
    order = [
        k // 2 % c.n_hits if k % 2 else c.n_hits + k // 2 % c.n_blanks
        for k in range(n)
    ]  # fmt: skip
    path = folder / f"s{n}_master.h5"
    with NexusWriter(path, frames.geometries[0], np.uint16) as writer:
        for index in order:
            writer.write(np.asarray(frames.frames[index]))
    # The copies point to the same data files: as many frames again, without their space.
    masters = [path]
    for k in range(1, copies):
        masters.append(folder / f"s{n}c{k}_master.h5")
        shutil.copyfile(path, masters[-1])
    return masters


def run_ours(masters: list[Path], finder: str, workers: int) -> Run:
    """Process series in a fresh process."""
    with tempfile.TemporaryDirectory() as temporary:
        out = Path(temporary) / "out"
        command = [COMMAND, "run", *map(str, masters), "--out", str(out), *_finder(finder)]
        command += ["--workers", str(workers)]
        before, start = resource.getrusage(resource.RUSAGE_CHILDREN), time.monotonic()
        process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
        peaks_kb = [0, 0]
        while process.poll() is None:
            for k, pids in enumerate((_below(process.pid), [process.pid])):
                peaks_kb[k] = max([peaks_kb[k], *map(_peak_kb, pids)])
            time.sleep(0.05)
        wall, after = time.monotonic() - start, resource.getrusage(resource.RUSAGE_CHILDREN)
        if process.returncode:
            raise SystemExit(process.stderr.read().decode() if process.stderr else "run failed")
        seconds = pq.read_table(out / "frames.parquet")["seconds"].to_numpy()
    cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return Run(float(np.median(seconds)), wall, cpu, peaks_kb[0] / 1024, peaks_kb[1] / 1024)


def _finder(name: str) -> list[str]:
    return ["--finder", name] if name else []


def known_finders() -> list[str]:
    """Finders that `hitfinder run` offers; one without a name where there is no choice."""
    text = subprocess.run([COMMAND, "run", "--help"], capture_output=True, text=True).stdout
    return ["network", "likelihood"] if "--finder" in text else [""]


def title(finder: str) -> str:
    return f"hitfinder, whole job{', ' + finder if finder else ''}"


def _peak_kb(pid: int) -> int:
    """Largest resident memory a process has had so far; 0 if it is gone."""
    try:
        lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    except OSError:
        return 0
    return max([0, *(int(x.split()[1]) for x in lines if x.startswith("VmHWM"))])


def _below(pid: int) -> list[int]:
    """Return the processes below one: workers are children of its child."""
    try:
        told = Path(f"/proc/{pid}/task/{pid}/children").read_text()
    except OSError:
        return []
    return [one for child in map(int, told.split()) for one in (child, *_below(child))]


def time_other(frames: Frames, peer: Peer, settings: Settings) -> float:
    """Median time, in s, of the finding step of another finder, on hits and blanks."""
    c = frames.condition
    half = N_TIMED // 2
    indices = [*range(half), *range(c.n_hits, c.n_hits + half)]
    return float(np.median(peer.search(frames, indices, [settings])[1]))


def measure_frames(folder: Path, turns: int, finders: list[str]) -> dict[str, dict[str, float]]:
    """Milliseconds a frame of every finder on every condition: the least of the turns."""
    others = [other for other in OTHERS if other[1].available()]
    out = {}
    for name in CONDITIONS:
        frames = condition(name)
        masters = write_series(frames, folder, N_WRITTEN)
        taken: dict[str, list[float]] = {}
        for _ in range(turns):
            times = {title(f): run_ours(masters, f, 1).frame_s for f in finders}
            times |= {other: time_other(frames, peer, own) for other, peer, own in others}
            for finder, seconds in times.items():
                taken.setdefault(finder, []).append(1e3 * seconds)
        out[name] = {finder: round(min(values), 1) for finder, values in taken.items()}
        _empty(folder)
    return out


def measure_rates(folder: Path, turns: int, finders: list[str]) -> dict[str, dict[str, float]]:
    """Frames a second on two cores: the extra frames of a longer run; two peers at once.

    Of both runs the fastest turn counts: what slows one of them alone makes the difference wrong.
    """
    out: dict[str, dict[str, float]] = {}
    for name in CONDITIONS[:2]:
        frames = condition(name)
        masters = write_series(frames, folder, N_WRITTEN, N_LONGER)
        rates = {}
        for finder in finders:
            few, many = (
                min(run_ours(masters[:k], finder, CORES).wall_s for _ in range(turns))
                for k in (1, N_LONGER)
            )
            rates[title(finder)] = round(N_WRITTEN * (N_LONGER - 1) / (many - few), 1)
        for other, peer, own in OTHERS[:3]:
            if peer.available():
                with concurrent.futures.ThreadPoolExecutor(CORES) as pool:
                    both = list(pool.map(time_other, [frames] * CORES, [peer] * CORES,
                                         [own] * CORES))  # fmt: skip
                rates[f"{other}, finding only"] = round(sum(1 / seconds for seconds in both), 1)
        out[name] = rates
        _empty(folder)
    return out


def measure_memory(folder: Path, finders: list[str]) -> dict[str, dict[str, float]]:
    """Memory of a worker by series length, and processor time of a further frame."""
    masters = write_series(condition(CONDITIONS[0]), folder, N_SERIES, SERIES[1])
    out: dict[str, dict[str, float]] = {}
    for finder in finders:
        runs = {N_SERIES * k: run_ours(masters[:k], finder, 1) for k in SERIES}
        (few, first), (many, last) = runs.items()
        for n, run in runs.items():
            memory = {"worker_mb": round(run.worker_mb), "main_mb": round(run.main_mb)}
            out[f"{title(finder)}, {n} frames"] = memory
        per_frame = round(1e3 * (last.cpu_s - first.cpu_s) / (many - few), 1)
        out[f"{title(finder)}, further frames"] = {"cpu_ms_per_frame": per_frame}
    _empty(folder)
    return out


def _empty(folder: Path) -> None:
    for path in folder.iterdir():
        path.unlink()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--turns", type=int, default=2, help="turns of each finder")
    parser.add_argument("--finder", action="append", help="finder of ours; all by default")
    parser.add_argument("--no-memory", action="store_true", help="leave out the long runs")
    arguments = parser.parse_args()
    finders = arguments.finder or known_finders()
    result = results_header([PEAKFINDER8, OM, DIALS])
    with tempfile.TemporaryDirectory(prefix="hitfinder-speed") as temporary:
        folder = Path(temporary)
        result["ms_per_frame"] = measure_frames(folder, arguments.turns, finders)
        result["frames_per_s_on_2_cores"] = measure_rates(folder, arguments.turns, finders)
        if not arguments.no_memory:
            result["memory"] = measure_memory(folder, finders)
    print(json.dumps(result, indent=1))
    write_json("speed.json", result)


if __name__ == "__main__":
    main()

"""A run of 100,000 frames: memory, open files, the time to start and the time to resume.

A list names the frames of a thousand small files again and again. The main process is killed half
way, and the run resumed. Writes ``benchmarks/results/scale.json``. Run it as
``python benchmarks/scale.py``.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq

from hitfinder.geometry.detector import Detector, Panel
from hitfinder.geometry.geometry import Geometry
from hitfinder.io.write import NexusWriter
from report import results_header, write_json

SHAPE, PER_FILE = (160, 180), 10
LONGEST_S = 1800.0


def write_files(folder: Path, n_files: int) -> None:
    panel = Panel("p0", 0, 0, SHAPE[1], SHAPE[0], -90.0, -80.0)
    geometry = Geometry(Detector("small", SHAPE, (panel,)), 0.03, 6000.0)
    for number in range(n_files):
        with NexusWriter(folder / f"run{number:04d}_master.h5", geometry, np.uint16) as writer:
            for index in range(PER_FILE):
                rng = np.random.default_rng([number, index])
                frame = rng.poisson(0.01, SHAPE).astype(np.uint16)
                if index % 2:
                    frame[rng.integers(10, 150, 8), rng.integers(10, 170, 8)] += 20
                writer.write(frame)


def write_list(folder: Path, n_files: int, n_frames: int) -> Path:
    path = folder / "all.lst"
    names = [f"{folder}/run{number:04d}_master.h5" for number in range(n_files)]
    with path.open("w") as file:
        for index in range(n_frames):
            # Neighbours in the list are of different files.
            file.write(f"{names[index % n_files]} //{index // n_files % PER_FILE}\n")
    return path


def start(listed: Path, out: Path, *more: str) -> subprocess.Popen:
    command = [sys.executable, "-m", "hitfinder", "-q", "run", listed, "--out", out, *more]
    command += ["--finder", "likelihood", "-j", "2"]
    return subprocess.Popen(list(map(str, command)), start_new_session=True)


def family(process: int) -> list[int]:
    """Return a process and those below it: workers are children of its child."""
    told = subprocess.run(["pgrep", "-P", str(process)], capture_output=True, text=True)
    return [process, *(one for child in told.stdout.split() for one in family(int(child)))]


def memory_mb(process: int) -> float:
    try:
        told = Path(f"/proc/{process}/status").read_text()
    except OSError:
        return 0.0
    return next((int(x.split()[1]) for x in told.splitlines() if x.startswith("VmRSS")), 0) / 1e3


def open_files(process: int) -> int:
    try:
        return len(list(Path(f"/proc/{process}/fd").iterdir()))
    except OSError:
        return 0


def watch(process: subprocess.Popen, out: Path, n_done: int) -> tuple[float, list[Any]]:
    """Follow a run until so many chunks are done; return when the first was, and what it took."""
    began, first, seen = time.monotonic(), 0.0, []
    before = len(chunks(out))
    while process.poll() is None and time.monotonic() - began < LONGEST_S:
        done = len(chunks(out))
        if not first and done > before:
            first = time.monotonic() - began
        members = family(process.pid)
        main, *workers = map(memory_mb, members)
        seen.append((done, main, max(workers, default=0), max(map(open_files, members))))
        if done >= n_done:
            break
        time.sleep(0.3)
    return first, seen


def chunks(out: Path) -> list[Path]:
    return list((out / ".parts").glob("chunk*")) if out.exists() else []


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--frames", type=int, default=100_000)
    parser.add_argument("--files", type=int, default=1000)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder)
        write_files(place, given.files)
        listed, out = write_list(place, given.files, given.frames), place / "out"
        n_chunks = -(-given.frames // min(max(given.frames // 512, 8), 256))
        process = start(listed, out)
        start_s, seen = watch(process, out, n_chunks // 2)
        process.send_signal(signal.SIGKILL)
        process.wait()
        began = time.monotonic()
        process = start(listed, out, "--resume")
        resume_s, more = watch(process, out, 1 << 30)
        process.wait()
        rest_s = time.monotonic() - began
        table = pq.read_table(out / "frames.parquet")
        columns = (table[name].to_pylist() for name in ("file", "event"))
        rows = [f"{file} {event}" for file, event in zip(*columns, strict=True)]
        in_order = rows == listed.read_text().splitlines()
        told = json.loads((out / "run.json").read_text())
    of = np.array([*seen, *more])
    early, late = of[len(seen) // 4 : len(seen) // 2], of[len(seen) * 3 // 4 : len(seen)]
    result = {
        "frames": given.frames,
        "files": given.files,
        "start_to_first_chunk_s": round(start_s, 1),
        "resume_to_first_chunk_s": round(resume_s, 1),
        "rest_s": round(rest_s, 1),
        "exit_code": process.returncode,
        "rows": table.num_rows,
        "rows_in_order_once": in_order,
        "complete": told["complete"],
        "main_mb": {"early": early[:, 1].max(), "late": late[:, 1].max(), "ever": of[:, 1].max()},
        "worker_mb": {"early": early[:, 2].max(), "late": late[:, 2].max(), "ever": of[:, 2].max()},
        "open_files_at_most": int(of[:, 3].max()),
        "load_average": os.getloadavg()[::2],
    }
    print(json.dumps(result, indent=1))
    write_json("scale.json", results_header([]) | result)


if __name__ == "__main__":
    main()

"""What the one process that gathers the results of a run costs, for many frames.

The workers are left out: every chunk gets made-up results of the size of real ones, ten peaks a
frame and every other frame a hit, on an Eiger of four million pixels. A list names the same few
frames again and again. Writes ``benchmarks/results/gather.json``. Run it as
``python benchmarks/gather.py``.
"""

from __future__ import annotations

import argparse
import json
import pickle
import resource
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

import hitfinder as hf
from hitfinder.estimate.estimator import GeometryEstimator
from hitfinder.estimate.run import RunSums
from hitfinder.executors.contract import Done
from hitfinder.finding.peaks import PEAK_DTYPE
from hitfinder.geometry.geometry import Geometry
from hitfinder.geometry.named import named_detector
from hitfinder.io.write import NexusWriter
from hitfinder.results.binned import add_frame, counts_below
from hitfinder.results.chunk import OK, ChunkResult, empty_rows
from hitfinder.results.totals import Totals
from report import results_header, write_json

PEAKS = 10
GEOMETRY = Geometry(named_detector("eiger2-x-4m"), 0.1, 8000.0)


class MadeUp:
    """An executor whose results are made up, and come as they would from another process."""

    n_workers = 1

    def __init__(self) -> None:
        self.bytes, self.seconds = 0, 0.0
        frame = np.random.default_rng(0).poisson(0.01, GEOMETRY.shape).astype(np.uint16)
        mask, limit = GEOMETRY.detector.full_mask, counts_below(np.dtype(np.uint16), None)
        self._totals = Totals(geometry=RunSums.of(GeometryEstimator(GEOMETRY)))
        add_frame(self._totals.image, self._totals.maximum, frame, mask, limit)

    def run(self, work: Any, tasks: Any, *, ordered: bool = False) -> Iterator[Any]:
        rng = np.random.default_rng(1)
        for task in tasks:
            if task is None:
                continue
            began = time.process_time()
            n = len(task.frames)
            rows = empty_rows(n, OK)
            rows["hit"], rows["n_peaks"] = np.arange(n) % 2 == 0, PEAKS
            rows["score"], rows["background_per_pixel"] = 9.0, 0.01
            peaks = np.zeros(n * PEAKS, PEAK_DTYPE)
            for name, longest in (("fs", GEOMETRY.shape[1]), ("ss", GEOMETRY.shape[0])):
                peaks[name] = rng.uniform(0, longest, len(peaks))
            peaks["photons"], peaks["resolution_a"], peaks["probability"] = 20, 3.0, 0.99
            frames = np.array(task.frames, np.int64)
            sent = pickle.dumps(ChunkResult(frames, rows, peaks, {}, self._totals))
            self.seconds += time.process_time() - began
            self.bytes += len(sent)
            yield Done(task, pickle.loads(sent))

    def __enter__(self) -> MadeUp:
        return self

    def __exit__(self, *exc_info: object) -> None:
        pass


def memory_mb() -> float:
    told = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in told if line.startswith("VmRSS")) / 1e3


def gathered(folder: Path, n_frames: int) -> dict[str, Any]:
    master = folder / "few_master.h5"
    with NexusWriter(master, GEOMETRY, np.uint16) as writer:
        for _ in range(10):
            writer.write(np.zeros(GEOMETRY.shape, np.uint16))
    listed = folder / "all.lst"
    with listed.open("w") as file:
        file.writelines(f"{master} //{index % 10}\n" for index in range(n_frames))
    executor, marks = MadeUp(), list[tuple[str, float, float]]()
    stop = threading.Event()
    highest = [memory_mb()]

    def look() -> None:
        while not stop.wait(0.1):
            highest[0] = max(highest[0], memory_mb())

    threading.Thread(target=look, daemon=True).start()
    before, began = memory_mb(), time.process_time()
    result = hf.run(listed, folder / "out", executor=executor, finder="likelihood")
    used = time.process_time() - began - executor.seconds
    stop.set()
    assert result.summary.frames == n_frames, marks
    size = sum(path.stat().st_size for path in (folder / "out").iterdir() if path.is_file())
    return {
        "frames": n_frames,
        "processor_us_per_frame": round(1e6 * used / n_frames, 1),
        "bytes_per_frame_from_workers": round(executor.bytes / n_frames),
        "memory_before_mb": round(before),
        "memory_at_most_mb": round(highest[0]),
        "output_mb": round(size / 1e6),
        "highest_ever_mb": round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e3),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--frames", type=int, nargs="+", default=[10_000, 100_000, 1_000_000])
    given = parser.parse_args()
    found = []
    for n_frames in given.frames:
        with tempfile.TemporaryDirectory() as folder:
            found.append(gathered(Path(folder), n_frames))
            print(json.dumps(found[-1]), flush=True)
    write_json("gather.json", results_header([]) | {"gathered": found})


if __name__ == "__main__":
    main()

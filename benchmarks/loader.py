"""How fast full-size frames come out of shards into training, and what it costs.

Processor time is told besides the rate: the rate falls when other work runs on the machine, the
processor time for a frame does so much less. Writes ``benchmarks/results/loader.json``. Run it as
``python benchmarks/loader.py``.
"""

import argparse
import json
import multiprocessing
import os
import platform
import resource
import tempfile
import time
from pathlib import Path

import numpy as np
import torch

from hitfinder.study.dataset.build import build
from hitfinder.study.dataset.layout import report_matrix
from hitfinder.study.dataset.maker import SimulatedMaker
from hitfinder.study.dataset.recipe import Conditions, Recipe
from hitfinder.study.dataset.torch import FrameDataset, loader
from hitfinder.study.dataset.tree import open_tree

RESULTS = Path(__file__).parent / "results"


def measure(root: Path, workers: int, batch_size: int, seconds: float) -> dict[str, float]:
    """Frames per second in the fastest epoch, and processor time for a frame over all epochs."""
    frames = loader(FrameDataset(open_tree(root)), batch_size, workers=workers, seed=0)
    for _ in frames:  # the processes start, and the files come into the page cache
        pass
    processes = [os.getpid(), *(p.pid for p in multiprocessing.active_children())]
    before = sum(map(processor_seconds, processes))
    n, best, started = 0, 0.0, time.perf_counter()
    while time.perf_counter() - started < seconds:
        began = time.perf_counter()
        in_epoch = sum(len(batch["frame"]) for batch in frames)
        best = max(best, in_epoch / (time.perf_counter() - began))
        n += in_epoch
    spent = sum(map(processor_seconds, processes)) - before
    return {
        "frames_per_s": round(best, 1),
        "frames_per_s_mean": round(n / (time.perf_counter() - started), 1),
        "processor_ms_per_frame": round(1000 * spent / n, 2),
    }


def processor_seconds(pid: int) -> float:
    """User and system time of a running process."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--frames", type=int, default=40, help="with peaks, in each of 3 settings")
    parser.add_argument("--seconds", type=float, default=10.0)
    options = parser.parse_args()
    torch.set_num_threads(1)
    results = []
    with tempfile.TemporaryDirectory() as folder:
        for shots in (2000.0, 1.0):
            root = Path(folder) / f"shots{shots:g}"
            conditions = Conditions(background_shots=shots)
            recipe = Recipe(options.frames, 100, seed=1, conditions=conditions)
            build(root, report_matrix()[:3], recipe, SimulatedMaker(recipe))
            files = list((root / "peaks_water_overlay").rglob("*.h5"))
            stored = sum(path.stat().st_size for path in files) / (6 * options.frames)
            for workers in (0, 1, 2):
                row = {
                    "background_shots": shots,
                    "workers": workers,
                    **measure(root, workers, 16, options.seconds),
                    "stored_mb_per_frame": round(stored / 1e6, 3),
                    "load_average": round(os.getloadavg()[0], 1),
                }
                print(row, flush=True)
                results.append(row)
    peak = max(
        resource.getrusage(who).ru_maxrss
        for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)
    )
    text = {
        "frame_shape": [2163, 2069],
        "batch_size": 16,
        "cores": os.cpu_count(),
        "date": time.strftime("%Y-%m-%d"),
        "largest_process_mb": round(peak / 1e3),
        "python": platform.python_version(),
        "torch": torch.__version__,
        "numpy": np.__version__,
        "results": results,
    }
    (RESULTS / "loader.json").write_text(json.dumps(text, indent=1) + "\n")


if __name__ == "__main__":
    main()

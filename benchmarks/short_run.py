"""Processor time and memory of a short run, with compiled code at hand and without.

Of a hundred frames of one shot most of the time is what every run takes: starting, writing the
tables, drawing the report. It is measured as processor time of the command and its workers, which
other programs on the machine change little; on idle cores the clock shows about that of the
command itself and half of that of two workers.
"""

from __future__ import annotations

import argparse
import json
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from processor import write_frames
from report import results_header, write_json
from speed import run_ours

WORKERS = 2


@contextmanager
def compiled_in(folder: Path) -> Iterator[None]:
    """Have compiled code kept in a folder for the time of the block."""
    before = os.environ.get("NUMBA_CACHE_DIR")
    os.environ["NUMBA_CACHE_DIR"] = str(folder)
    try:
        yield
    finally:
        del os.environ["NUMBA_CACHE_DIR"]
        if before is not None:
            os.environ["NUMBA_CACHE_DIR"] = before


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--frames", type=int, default=100, help="frames of the run")
    parser.add_argument("--turns", type=int, default=2, help="warm runs, of which the least counts")
    arguments = parser.parse_args()
    result = results_header([])
    with tempfile.TemporaryDirectory(prefix="hitfinder-short-run") as temporary:
        folder = Path(temporary)
        masters = [write_frames("flux-1", folder, arguments.frames)]
        with compiled_in(folder / "compiled"):
            cold = run_ours(masters, "network", WORKERS)
            warm = [run_ours(masters, "network", WORKERS) for _ in range(arguments.turns)]
    result |= {
        "frames": arguments.frames,
        "workers": WORKERS,
        "processor_s": {
            "nothing compiled before": round(cold.cpu_s, 1),
            "compiled before": round(min(run.cpu_s for run in warm), 1),
        },
        "most_memory_mb": {
            "worker": round(max(run.worker_mb for run in warm)),
            "main": round(max(run.main_mb for run in warm)),
        },
        "load_average": [round(load, 1) for load in os.getloadavg()],
    }
    print(json.dumps(result, indent=1))
    write_json("short_run.json", result)


if __name__ == "__main__":
    main()

"""Time, processor time and memory of a short run, with compiled code at hand and without.

Of a hundred frames of one shot most of the time is what every run takes: starting, writing the
tables, drawing the report. Processor time is that of the command and its workers, which other
programs on the machine change little. Time on the clock, stage by stage, is that of an idle machine
only if `load_average` says so. Run it as ``python benchmarks/short_run.py``, or with ``--clock``
for time on the clock alone, which replaces what was measured of it before.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from processor import write_frames
from report import RESULTS, results_header, write_json
from speed import COMMAND, run_ours

WORKERS = 2
NO_BYTECODE = "PYTHONDONTWRITEBYTECODE"
"""Set here and there in containers. An installed package has its bytecode, and a checkout from its
first run on; without it every process compiles our modules anew."""

STAGES = {
    "until the inputs are open": "the inputs are open",
    "what is static": "static pixels masked",
    "searching the frames": "the frames are searched",
    "tables, charts, galleries and background": "output report is written",
}
"""What is timed, and what the command says at its end with ``-v``."""


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


def clocked(master: Path, out: Path) -> dict[str, float]:
    """Return the time on the clock that each stage of a run takes, and all of it, in s."""
    command = [COMMAND, "-v", "run", str(master), "--out", str(out), "--overwrite"]
    began = last = time.monotonic()
    stages: dict[str, float] = {}
    with subprocess.Popen(
        [*command, "--workers", str(WORKERS)],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stderr is not None
        for line in process.stderr:
            for stage, said in STAGES.items():
                if said in line:
                    now = time.monotonic()
                    stages[stage], last = now - last, now
    if process.returncode or len(stages) < len(STAGES):
        raise SystemExit(f"the run failed, or said nothing of its stages: {sorted(stages)}")
    ended = time.monotonic()
    return {**stages, "ending": ended - last, "all": ended - began}


def on_the_clock(master: Path, out: Path, turns: int) -> dict[str, object]:
    """Time runs on the clock; return the stages of the fastest, and all times."""
    clocked(master, out)  # what is compiled is at hand then
    runs = [clocked(master, out) for _ in range(turns)]
    fastest = min(runs, key=lambda run: run["all"])
    return {
        "fastest": {stage: round(taken, 2) for stage, taken in fastest.items()},
        "all_turns": [round(run["all"], 2) for run in runs],
        "load_average": [round(load, 1) for load in os.getloadavg()],
    }


def processor_and_memory(masters: list[Path], turns: int) -> dict[str, object]:
    """Measure processor time and memory, also of a run with nothing compiled before."""
    with compiled_in(masters[0].parent / "compiled"):
        cold = run_ours(masters, "network", WORKERS)
        warm = [run_ours(masters, "network", WORKERS) for _ in range(turns)]
    return {
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


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--frames", type=int, default=100, help="frames of the run")
    parser.add_argument("--turns", type=int, default=3, help="warm runs, of which the least counts")
    parser.add_argument("--clock", action="store_true", help="measure time on the clock alone")
    given = parser.parse_args()
    os.environ.pop(NO_BYTECODE, None)
    result = results_header([]) | {"frames": given.frames, "workers": WORKERS}
    with tempfile.TemporaryDirectory(prefix="hitfinder-short-run") as temporary:
        folder = Path(temporary)
        master = write_frames("flux-1", folder, given.frames)
        if given.clock:
            before = json.loads((RESULTS / "short_run.json").read_text())
            header = {"date": result["date"], "command": result["command"]}
            result = before | {"clock_s": header | on_the_clock(master, folder / "o", given.turns)}
        else:
            result |= processor_and_memory([master], given.turns)
            result["clock_s"] = on_the_clock(master, folder / "o", given.turns)
    print(json.dumps(result, indent=1))
    write_json("short_run.json", result)


if __name__ == "__main__":
    main()

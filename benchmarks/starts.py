"""How long a run over a thousand master files takes to start, and to go on after it was killed.

A list names the frames of a thousand small files in turn, as for ``scale.py``. Timed is what passes
on the clock until the first chunk of frames is done, and the processor time that the command and
its workers have used by then. The run is killed there, and gone on with. Writes
``benchmarks/results/starts.json``. Run it as ``python benchmarks/starts.py``.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import signal
import tempfile
import time
from pathlib import Path

from report import results_header, write_json
from scale import chunks, family, start, write_files, write_list

LONGEST_S, LOOK_S = 600.0, 0.05


def processor_s(process: int) -> float:
    """Return the processor time that a process has used, in s; 0 if it is gone."""
    try:
        fields = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return 0.0
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def to_first_chunk(listed: Path, out: Path, *more: str) -> dict[str, float]:
    """Start a run, and kill it when one more chunk is done; return the times it took until then."""
    before, began, used = len(chunks(out)), time.monotonic(), dict[int, float]()
    process = start(listed, out, *more)
    while process.poll() is None and len(chunks(out)) <= before:
        if time.monotonic() - began > LONGEST_S:
            break
        used |= {one: processor_s(one) for one in family(process.pid)}
        time.sleep(LOOK_S)
    taken = time.monotonic() - began
    if process.poll() is not None or taken > LONGEST_S:
        raise SystemExit(f"no chunk was done in {taken:.0f} s")
    process.send_signal(signal.SIGKILL)
    process.wait()
    return {"clock_s": taken, "processor_s": sum(used.values())}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--frames", type=int, default=100_000)
    parser.add_argument("--files", type=int, default=1000)
    parser.add_argument("--turns", type=int, default=3, help="of which the least counts")
    given = parser.parse_args()
    starts, resumes = [], []
    with tempfile.TemporaryDirectory(prefix="hitfinder-starts") as folder:
        place = Path(folder)
        write_files(place, given.files)
        listed, out = write_list(place, given.files, given.frames), place / "out"
        for _ in range(given.turns + 1):
            shutil.rmtree(out, ignore_errors=True)
            starts.append(to_first_chunk(listed, out))
            resumes.append(to_first_chunk(listed, out, "--resume"))
    result = {
        "frames": given.frames,
        "files": given.files,
        # The first turn compiles, if nothing is compiled.
        "start_to_first_chunk": least(starts[1:]),
        "resume_to_first_chunk": least(resumes[1:]),
        "all_starts_s": [round(one["clock_s"], 2) for one in starts],
        "all_resumes_s": [round(one["clock_s"], 2) for one in resumes],
        "load_average": [round(load, 1) for load in os.getloadavg()],
    }
    print(json.dumps(result, indent=1))
    write_json("starts.json", results_header([]) | result)


def least(times: list[dict[str, float]]) -> dict[str, float]:
    """Return the least of each time, rounded."""
    return {name: round(min(one[name] for one in times), 2) for name in times[0]}


if __name__ == "__main__":
    main()

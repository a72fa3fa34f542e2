"""Rate and memory of the simulator: frames in memory, and written to disk.

Each number of processes makes frames of 2163 x 2069 pixels (the report's detector) for some
seconds; every process of the in-memory figure keeps its frames to itself, as training does. The
disk figure is the whole of `hitfinder simulate`: frames, compression, tables. For comparison,
CrystFEL's pattern_sim needed 582 s of one core for the Bragg photons alone of such a frame, and
nanoBragg about 210 s at the same sampling.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import multiprocessing
import os
import resource
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from hitfinder.executors.processes import available_cores
from hitfinder.simulation.presets import load_settings
from hitfinder.simulation.simulation import simulate
from hitfinder.simulation.simulator import Simulator
from report import results_header, write_json

PATTERN_SIM_SECONDS = 582.0
CONDITIONS = {
    "single-shot": {"preset": "single-shot"},
    "integrated": {"preset": "integrated"},
    "integrated, mosaicity 0.05°": {
        "preset": "integrated", "overrides": {"crystal.mosaicity_deg": 0.05},
    },
    "integrated, 0.35 m, 8 keV": {
        "preset": "integrated",
        "overrides": {"beam.photon_energy_ev": 8000, "detector.camera_length_m": 0.35},
    },
}  # fmt: skip
DETECTOR = "eiger-4m-report"


def settings_of(name: str) -> Any:
    given = CONDITIONS[name]
    return load_settings(
        preset=given["preset"],
        overrides={"detector.name": DETECTOR, **given.get("overrides", {})},
    )


def make_frames(name: str, seconds: float, start: int, ready: Any, out: Any) -> None:
    """Make frames in this process for some time; report their number, seconds, CPU and memory."""
    simulator = Simulator.of(settings_of(name))
    for _ in simulator.frames(3, start, reuse=True):
        pass
    early = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    ready.wait()
    began, cpu, count = time.perf_counter(), time.process_time(), 0
    for _ in simulator.frames(start=start, reuse=True):
        count += 1
        if time.perf_counter() - began >= seconds:
            break
    out.put(
        {
            "frames": count,
            "seconds": time.perf_counter() - began,
            "cpu": time.process_time() - cpu,
            "early_mib": early,
            "late_mib": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
        }
    )


def in_memory(name: str, workers: int, seconds: float) -> dict[str, Any]:
    """Rate of some processes that work side by side."""
    context = multiprocessing.get_context("spawn")
    ready, out = context.Barrier(workers), context.Queue()
    team = [
        context.Process(target=make_frames, args=(name, seconds, 100000 * w, ready, out))
        for w in range(workers)
    ]
    for process in team:
        process.start()
    found = [out.get() for _ in team]
    for process in team:
        process.join()
    frames = sum(f["frames"] for f in found)
    rate = sum(f["frames"] / f["seconds"] for f in found)
    return {
        "workers": workers,
        "frames_per_s": rate,
        "cpu_ms_per_frame": 1e3 * sum(f["cpu"] for f in found) / frames,
        "times_pattern_sim": rate * PATTERN_SIM_SECONDS / workers,
        "memory_mib": max(f["late_mib"] for f in found),
        "memory_growth_mib": max(f["late_mib"] - f["early_mib"] for f in found),
    }


def on_disk(name: str, workers: int, seconds: float, rate: float) -> dict[str, Any]:
    """Rate of a whole simulation to files, without the time to start its processes."""
    count = max(int(rate * seconds / 2), 8)
    with tempfile.TemporaryDirectory() as folder:
        stamps: list[float] = []
        began = time.perf_counter()

        @contextlib.contextmanager
        def note(what: str, total: int) -> Iterator[Any]:
            yield lambda n: stamps.append(time.perf_counter())

        simulate(folder, count, settings=settings_of(name), workers=workers, show=note)
        ended = time.perf_counter()
        size = sum(path.stat().st_size for path in Path(folder).glob("*_data_*"))
    lead = min(2 * workers, count - 1)
    return {
        "workers": workers,
        "frames": count,
        "frames_per_s": (count - lead) / (ended - stamps[lead - 1]),
        "start_s": stamps[0] - began,
        "mb_per_frame": size / count / 1e6,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seconds", type=float, default=10.0, help="per measurement")
    parser.add_argument("--workers", type=int, default=available_cores())
    arguments = parser.parse_args()
    results: dict[str, Any] = {
        **results_header([]),
        "load_before": os.getloadavg()[0],
        "detector": DETECTOR,
        "pattern_sim_s_per_frame": PATTERN_SIM_SECONDS,
        "conditions": {},
    }
    for name in CONDITIONS:
        memory = [
            in_memory(name, workers, arguments.seconds)
            for workers in sorted({1, arguments.workers})
        ]
        disk = on_disk(name, arguments.workers, arguments.seconds, memory[-1]["frames_per_s"])
        results["conditions"][name] = {"memory": memory, "disk": disk}
        print(name, json.dumps(results["conditions"][name], indent=1))
    write_json("simulate.json", results)


if __name__ == "__main__":
    main()

"""Rate and memory of the simulator: frames in memory, and written to disk.

Each number of processes makes frames of 2163 x 2069 pixels (the report's detector) for some
seconds; every process of the in-memory figure keeps its frames to itself, as training does. One
process and several take turns, of which the fastest counts. Processor time is told besides, as
other work on the machine changes it least: `frames_per_s_alone` is what it allows. The
disk figure is the whole of `hitfinder simulate`: frames, compression, tables. For comparison,
CrystFEL's pattern_sim needed 582 s of one core for the Bragg photons alone of such a frame, and
nanoBragg about 210 s at the same sampling.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import os
import resource
import tempfile
import time
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
    cpu_s = sum(f["cpu"] for f in found) / frames
    return {
        "workers": workers,
        "frames_per_s": round(rate, 1),
        "cpu_ms_per_frame": round(1e3 * cpu_s, 2),
        "frames_per_s_alone": round(workers / cpu_s, 1),
        "times_pattern_sim": round(PATTERN_SIM_SECONDS / cpu_s),
        "memory_mib": round(max(f["late_mib"] for f in found)),
        "memory_growth_mib": round(max(f["late_mib"] - f["early_mib"] for f in found), 1),
    }


def in_turns(name: str, counts: list[int], seconds: float, turns: int) -> list[dict[str, Any]]:
    """Rates by number of processes: of each the turn that took the least processor time."""
    tried = [[in_memory(name, workers, seconds) for workers in counts] for _ in range(turns)]
    return [
        min(column, key=lambda one: one["cpu_ms_per_frame"]) for column in zip(*tried, strict=True)
    ]


def on_disk(name: str, workers: int, seconds: float, rate: float) -> dict[str, Any]:
    """Whole simulations to files: what further frames take, of a longer one over a shorter one."""
    few = max(int(rate * seconds / 4), 16 * workers)
    short, long = (_simulated(name, workers, n) for n in (few, 3 * few))
    return {
        "workers": workers,
        "frames": 3 * few,
        "frames_per_s": round(2 * few / (long["seconds"] - short["seconds"]), 1),
        "cpu_ms_per_frame": round(1e3 * (long["cpu"] - short["cpu"]) / (2 * few), 2),
        "main_cpu_ms_per_frame": round(1e3 * (long["main"] - short["main"]) / (2 * few), 2),
        "start_s": round(1.5 * short["seconds"] - long["seconds"] / 2, 1),
        "mb_per_frame": round(long["size"] / 1e6 / (3 * few), 3),
    }


def _simulated(name: str, workers: int, n: int) -> dict[str, float]:
    """Seconds, processor time in all and in the main process, and bytes of a simulation."""
    with tempfile.TemporaryDirectory() as folder:
        before, main = _spent(), time.process_time()
        began = time.perf_counter()
        simulate(folder, n, settings=settings_of(name), workers=workers)
        own = time.process_time() - main
        return {
            "seconds": time.perf_counter() - began,
            "cpu": _spent() - before + own,
            "main": own,
            "size": sum(path.stat().st_size for path in Path(folder).glob("*_data_*")),
        }


def _spent() -> float:
    """Processor time of the children that have ended."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seconds", type=float, default=10.0, help="per measurement")
    parser.add_argument("--turns", type=int, default=3)
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
        counts = sorted({1, arguments.workers})
        memory = in_turns(name, counts, arguments.seconds, arguments.turns)
        rate = memory[-1]["frames_per_s"]
        disk = [on_disk(name, workers, arguments.seconds, rate) for workers in counts]
        results["conditions"][name] = {"memory": memory, "disk": disk}
        print(name, json.dumps(results["conditions"][name], indent=1))
    write_json("simulate.json", results)


if __name__ == "__main__":
    main()

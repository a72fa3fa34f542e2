"""How the paths grow with frame size, peaks and workers, and how far each is from what bounds it.

All is processor time, which other work on the machine changes least. What bounds a path is measured
beside it in the same process: decompression or compression of the same frames, or the machine's own
products of matrices. Writes ``benchmarks/results/scaling.json`` and the plot of the documentation.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np
import torch
from torch.utils.flop_counter import FlopCounterMode

from hitfinder.geometry.geometry import Geometry
from hitfinder.io.datafile import FramePacker
from hitfinder.io.write import NexusWriter
from hitfinder.simulation.simulator import Simulator
from hitfinder.study.dataset.build import build
from hitfinder.study.dataset.layout import OVERLAY, report_matrix
from hitfinder.study.dataset.maker import SimulatedMaker
from hitfinder.study.dataset.recipe import Recipe
from hitfinder.study.dataset.torch import FrameDataset
from hitfinder.study.dataset.tree import open_tree
from hitfinder.study.networks.attribute import packaged
from hitfinder.study.training.memory import memory_kept
from hitfinder.study.training.module import AttributeModule
from processor import measure, processor_ms
from report import RESULTS, results_header, write_json
from speed import run_ours

mpl.use("Agg")
import matplotlib.pyplot as plt

DETECTORS = {"1M": "eiger2-x-1m", "4M": "eiger-4m-report", "16M": "eiger2-x-16m"}
PEAKS = (0, 10, 100, 1000)
SPOT = np.array([[1, 3, 1], [3, 14, 3], [1, 3, 1]], np.uint16)
READING = "reading and decompression"
PICTURE = RESULTS.parents[1] / "docs" / "images" / "benchmark-scaling.png"


def write(path: Path, geometry: Geometry, frames: list[np.ndarray]) -> Path:
    """Write frames as an Eiger series."""
    with NexusWriter(path, geometry, np.uint16) as writer:
        for frame in frames:
            writer.write(frame)
    return path


def simulator(size: str) -> Simulator:
    """Return what simulates single shots with blanks among them."""
    return Simulator.preset("single-shot", detector=DETECTORS[size], blank_fraction=0.5)


def by_size(folder: Path, n: int, turns: int) -> dict[str, Any]:
    """Processor time a frame, in ms, of single shots of each size."""
    found = {}
    for size in DETECTORS:
        made = simulator(size)
        frames = [made.frame(k).counts for k in range(n)]
        path = write(folder / f"s{size}_master.h5", made.geometry, frames)
        found[size] = {"megapixels": round(frames[0].size / 1e6, 2), **measure(path, turns)}
    return found


def by_peaks(folder: Path, n: int, turns: int) -> dict[str, Any]:
    """Processor time a frame, in ms, of 4M frames with so many spots over one shot of water."""
    made = Simulator.preset("single-shot", detector=DETECTORS["4M"], blank_fraction=1.0)
    found = {}
    for peaks in PEAKS:
        frames = []
        for k in range(n):
            frame, rng = made.frame(k).counts.copy(), np.random.default_rng([peaks, k])
            rows, columns = (rng.integers(2, size - 2, peaks) for size in frame.shape)
            for row, column in zip(rows, columns, strict=True):
                frame[row - 1 : row + 2, column - 1 : column + 2] += SPOT
            frames.append(frame)
        path = write(folder / f"p{peaks}_master.h5", made.geometry, frames)
        found[str(peaks)] = measure(path, turns)
    return found


def by_workers(folder: Path, n: int, times: int) -> dict[str, Any]:
    """Whole runs: processor time of further frames on one worker and two, memory, start-up."""
    made = simulator("4M")
    # No frame comes twice: what is in frame after frame is static.
    masters = [
        write(
            folder / f"w{k}_master.h5",
            made.geometry,
            [made.frame(n * k + i).counts for i in range(n)],
        )
        for k in range(times)
    ]
    run_ours(masters[:1], "network", 1)  # compiles what is not compiled yet
    found = {}
    for workers in (1, 2):
        few, many = (run_ours(masters[:k], "network", workers) for k in (1, times))
        more = n * (times - 1)
        found[str(workers)] = {
            "processor_ms_per_frame": round(1e3 * (many.cpu_s - few.cpu_s) / more, 2),
            "frames_per_s": round(more / (many.wall_s - few.wall_s), 1),
            "worker_mb": round(many.worker_mb),
            "main_mb": round(many.main_mb),
            "processor_s_of_short_run": round(few.cpu_s, 1),
            "wall_s_of_short_run": round(few.wall_s, 1),
        }
    return found


def start_up(turns: int) -> dict[str, Any]:
    """Processor time, in s, until nothing has happened."""
    commands = {
        "import hitfinder": ["-c", "import hitfinder"],
        "hitfinder --help": ["-m", "hitfinder", "--help"],
        "hitfinder run --help": ["-m", "hitfinder", "run", "--help"],
    }
    found = {}
    for what, words in commands.items():
        taken = []
        for _ in range(turns + 1):
            before = resource.getrusage(resource.RUSAGE_CHILDREN)
            subprocess.run([sys.executable, *words], check=True, stdout=subprocess.DEVNULL)
            after = resource.getrusage(resource.RUSAGE_CHILDREN)
            taken.append(after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime)
        found[what] = round(min(taken), 2)
    return found


def least_ms(work: Callable[[], object], n: int, turns: int) -> float:
    """Processor time of each of `n` frames, in ms: the least of some turns after a first."""
    return round(min([processor_ms(work, n) for _ in range(turns + 1)][1:]), 2)


def simulating(preset: str, turns: int) -> dict[str, float]:
    """Processor time of a simulated frame, in ms, and of its compression alone."""
    made = Simulator.preset(preset, detector=DETECTORS["4M"])
    packer, buffer = FramePacker(made.shape, made.dtype), np.empty(made.shape, made.dtype)
    frame = made.frame(0).counts
    return {
        "path": least_ms(lambda: packer.pack(made.frame(1, buffer).counts), 1, turns),
        "bound": least_ms(lambda: packer.pack(frame), 1, turns),
    }


def loading(root: Path, turns: int) -> dict[str, float]:
    """Processor time of a frame in a batch of training, in ms, and of its decompression alone."""
    tree = open_tree(root)
    frames, indices = FrameDataset(tree), list(range(len(tree)))
    buffer = np.empty(tree.shape, np.uint16)

    def read() -> None:
        for index in indices:
            tree.read(OVERLAY, index, buffer)

    return {
        "path": least_ms(lambda: frames.batch(indices), len(indices), turns),
        "bound": least_ms(read, len(indices), turns),
    }


def training(root: Path, batch_size: int, turns: int) -> dict[str, Any]:
    """Processor time of a frame of a step of training, in ms, and of its arithmetic alone.

    The bound is the time of as many operations in a product of large matrices.
    """
    tree, config = open_tree(root), packaged("peak")
    targets = tree.attributes.peak.astype(np.float32)
    batch = FrameDataset(tree, targets=targets).batch(list(range(batch_size)))
    module = AttributeModule(config, tree.shape, np.ones(1, np.float32))
    module.log_dict = lambda *_, **__: None  # type: ignore[method-assign]
    optimiser = module.configure_optimizers()

    def step() -> None:
        optimiser.zero_grad()
        module.training_step(batch, 0).backward()
        optimiser.step()

    with FlopCounterMode(display=False) as counter:
        step()
    with memory_kept():
        step_ms = least_ms(step, batch_size, turns)
    one = torch.rand(1024, 1024)
    product_ms = least_ms(lambda: one @ one, 1, turns + 3)
    operations = counter.get_total_flops() / batch_size
    return {
        "path": step_ms,
        "bound": round(operations / (2 * 1024**3) * product_ms, 2),
        "network": config.network,
        "operations": operations,
    }


def paths(folder: Path, turns: int) -> dict[str, Any]:
    """Processor time a frame of paths besides the run, in ms, beside their bounds."""
    recipe = Recipe(8, 16, seed=1)
    build(folder / "images", report_matrix()[:1], recipe, SimulatedMaker(recipe))
    return {
        "simulate, single-shot": simulating("single-shot", 5 * turns),
        "simulate, integrated": simulating("integrated", turns),
        "loader": loading(folder / "images", turns),
        "training step": training(folder / "images", 4, 1),
    }


def draw(result: dict[str, Any]) -> None:
    """Draw the plot of the documentation."""
    figure, (left, middle, right) = plt.subplots(1, 3, figsize=(11, 3.6), layout="constrained")
    sizes, peaks = result["by_size"], result["by_peaks"]
    for name in (READING, "whole job, likelihood", "whole job, network"):
        left.plot(
            [s["megapixels"] for s in sizes.values()], [s[name] for s in sizes.values()], "o-"
        )
        middle.plot(
            [max(int(p), 1) for p in peaks], [p[name] for p in peaks.values()], "o-", label=name
        )
    left.set(xlabel="megapixels", ylabel="processor time a frame (ms)", xscale="log", yscale="log")
    middle.set(xlabel="spots in a 4M frame (none at 1)", xscale="log")
    middle.set_ylim(0)
    middle.legend(fontsize=8)
    ratios = {name: one["path"] / one["bound"] for name, one in result["paths"].items()}
    one = sizes["4M"]
    ratios = {"run, network": one["whole job, network"] / one[READING], **ratios}
    right.barh(list(ratios), list(ratios.values()))
    right.axvline(1, color="black", lw=0.8)
    right.set(xlabel="times its bound")
    right.invert_yaxis()
    figure.savefig(PICTURE, dpi=110)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--frames", type=int, default=12, help="frames of each kind")
    parser.add_argument("--turns", type=int, default=3, help="turns, of which the fastest counts")
    parser.add_argument("--only", action="append", help="measure these parts, keep the others")
    given = parser.parse_args()
    torch.set_num_threads(1)
    there = RESULTS / "scaling.json"
    result = json.loads(there.read_text()) if given.only else {}
    result |= results_header([])
    with tempfile.TemporaryDirectory(prefix="hitfinder-scaling") as temporary:
        folder = Path(temporary)
        parts: dict[str, Callable[[], Any]] = {
            "by_size": lambda: by_size(folder, given.frames, given.turns),
            "by_peaks": lambda: by_peaks(folder, given.frames, given.turns),
            "by_workers": lambda: by_workers(folder, 8 * given.frames, 4),
            "start_up_s": lambda: start_up(given.turns),
            "paths": lambda: paths(folder, given.turns),
        }
        for name in given.only or parts:
            result[name] = parts[name]()
    result["load_average"] = [round(load, 1) for load in os.getloadavg()]
    print(json.dumps(result, indent=1))
    write_json("scaling.json", result)
    draw(result)


if __name__ == "__main__":
    main()

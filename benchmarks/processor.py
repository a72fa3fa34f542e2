"""Processor time of a frame in a worker, beside what decompression alone takes of it.

Both are measured in one process, in turns, as processor time of its one thread: on a machine that
others use too it tells more than the time on the clock, though caches and memory are shared.
Frames are those of the suite, blanks and hits in turn, in a bitshuffle-LZ4 Eiger series.
"""

from __future__ import annotations

import argparse
import json
import os
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np

from hitfinder.experiment.open import open_experiment
from hitfinder.io.source import FrameSource
from hitfinder.io.write import NexusWriter
from hitfinder.job.chunks import Chunk, ChunkFinder, ChunkWork
from hitfinder.job.settings import job_settings
from inputs import recipes
from report import results_header, write_json

CONDITIONS = ("flux-1", "flux-100", "flux-2000")
FINDERS = ("network", "likelihood")


def write_frames(name: str, folder: Path, n: int) -> Path:
    """Write blanks and hits of a condition in turn."""
    recipe = next(one for one in recipes((name,)) if one.condition.name == name)
    assert recipe.blank is not None
    path = folder / f"{name}_master.h5"
    with NexusWriter(path, recipe.geometries[0], np.uint16) as writer:
        for k in range(n):
            rng = np.random.default_rng(k)
            frame = recipe.hit(rng, k // 2)[0] if k % 2 else recipe.blank(rng, k // 2)
            writer.write(frame.astype(np.uint16))
    return path


def processor_ms(work: Callable[[], object], n: int) -> float:
    """Processor time of each of `n` frames, in ms."""
    began = time.thread_time()
    work()
    return 1e3 * (time.thread_time() - began) / n


def measure(path: Path, turns: int) -> dict[str, float]:
    """Processor time a frame of the whole job with each finder, and of reading alone, in ms."""
    settings = {finder: job_settings(None, {"finder": finder}) for finder in FINDERS}
    experiment = open_experiment([path], settings[FINDERS[0]].geometry, None)
    source = experiment.source
    workers = {
        finder: ChunkFinder(
            ChunkWork(source, source.shape, source.dtype, experiment.geometry, chosen.finder)
        )
        for finder, chosen in settings.items()
    }
    buffer, every = np.empty(source.shape, source.dtype), Chunk(range(len(source)), 0)
    taken: dict[str, list[float]] = {}
    with source:
        for _ in range(turns + 1):
            own = {"reading and decompression": lambda: _read(source, buffer)}
            for finder, worker in workers.items():
                own[f"whole job, {finder}"] = lambda worker=worker: worker.find(every)  # type: ignore[misc]
            for what, work in own.items():
                taken.setdefault(what, []).append(processor_ms(work, len(source)))
    # The first turn loads compiled code.
    return {what: round(min(values[1:]), 2) for what, values in taken.items()}


def _read(source: FrameSource, buffer: np.ndarray) -> None:
    for index in range(len(source)):
        source.read(index, out=buffer)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--frames", type=int, default=24, help="frames of each condition")
    parser.add_argument("--turns", type=int, default=5, help="turns, of which the fastest counts")
    arguments = parser.parse_args()
    result = results_header([])
    with tempfile.TemporaryDirectory(prefix="hitfinder-processor") as temporary:
        folder = Path(temporary)
        result["processor_ms_per_frame"] = {
            name: measure(write_frames(name, folder, arguments.frames), arguments.turns)
            for name in CONDITIONS
        }
    result["load_average"] = [round(load, 1) for load in os.getloadavg()]
    print(json.dumps(result, indent=1))
    write_json("processor.json", result)


if __name__ == "__main__":
    main()

"""Workers that are ready before the first frame: nothing is left to be compiled for it."""

import logging
import subprocess
import sys

import numpy as np
import pytest

from hitfinder.executors.inline import Inline
from hitfinder.finding.settings import FinderSettings
from hitfinder.job.live.warm import COUNTS, WarmUp, warm_up

COMPILED = """
import gc, pathlib, sys
import numpy as np
import numba.core.dispatcher
from hitfinder.executors.inline import Inline
from hitfinder.finding.settings import FinderSettings
from hitfinder.finding.static.learner import StaticLearner
from hitfinder.geometry.geometry import Geometry
from hitfinder.io.memory import ArraySource
from hitfinder.io.simplon.images import PackedImage
from hitfinder.io.datafile import FramePacker
from hitfinder.job.chunks import ChunkWork
from hitfinder.job.live.warm import warm_up
from hitfinder.job.live.work import LiveChunk, LiveWork, masked
from hitfinder.job.finder_trial import FinderTrial

def compiled():
    kind = numba.core.dispatcher.Dispatcher
    return {(d.py_func.__qualname__, str(s)) for d in gc.get_objects() if isinstance(d, kind)
            for s in d.signatures}

finder = FinderSettings(finder="network")
warm_up(Inline(), finder, True, True)
before, modules = compiled(), set(sys.modules)
shape = (300, 260)
geometry = Geometry.flat(shape, 75e-6, camera_length_m=0.12, photon_energy_ev=7000.0)
bad = np.zeros(shape, bool)
bad[:, 130:140] = True
geometry = masked(geometry, bad)
for dtype in (np.dtype("<u2"), np.dtype("<u4")):
    photons = np.array([0.005, 0.05, 0.3, 2.0, 20.0])
    frames = np.random.default_rng(1).poisson(photons[:, None, None], (5, *shape)).astype(dtype)
    frames[0, 9:290:30, 7:250:30] += 12
    FinderTrial.of(ArraySource(frames), geometry, finder).finder()
    learner = StaticLearner(geometry)
    for number, frame in enumerate(frames):
        learner.look(number, frame)
    learner.learn()
    pack = FramePacker(shape, dtype).pack
    images = {n: PackedImage(shape, dtype, "bslz4", pack(f)) for n, f in enumerate(frames)}
    with LiveWork(ChunkWork(None, shape, dtype, geometry, finder), pathlib.Path("."),
                  "frames.h5").opened() as find:
        result = find(LiveChunk(0, 5, images, {}))
    images[4].unpacked()
    assert result.rows["hit"].any() and not result.rows["hit"].all()
print(sorted(compiled() - before), sorted(set(sys.modules) - modules))
"""


@pytest.mark.slow
def test_nothing_is_left_to_be_compiled_or_loaded_for_the_first_frame(tmp_path):
    (tmp_path / "shards").mkdir()
    done = subprocess.run(
        [sys.executable, "-c", COMPILED], capture_output=True, text=True, cwd=tmp_path, check=False
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.split("\n")[-2] == "[] []"


class Counting(Inline):
    n_workers = 3

    def __init__(self):
        self.given = []

    def run(self, work, tasks, *, ordered=False):
        self.given.append((work, list(tasks)))
        return iter(())


def test_every_worker_is_warmed_up_for_every_type_of_counts():
    executor, finder = Counting(), FinderSettings(finder="likelihood")
    warm_up(executor, finder, True, False)
    assert executor.given == [(WarmUp(finder, True), [dtype] * 3) for dtype in COUNTS]


class Picky:
    """A finder that takes frames of one shape only."""

    def __init__(self, geometry):
        if geometry.shape != (9, 9):
            raise RuntimeError("of another shape")


def test_a_finder_that_takes_no_small_frames_costs_nothing(caplog):
    caplog.set_level(logging.INFO)
    warm_up(Inline(), FinderSettings(finder=f"{__name__}:Picky"), True, True)
    assert "start with the first frame" in caplog.text
    assert np.dtype("<u2") in COUNTS

import os
import subprocess
import sys
from pathlib import Path

import pytest

from hitfinder.job.compiling import STEPS, CompileWork

FORBIDDEN = "PYTHONDONTWRITEBYTECODE"

RUN = """
import sys, numpy as np, hitfinder as hf
from hitfinder.executors.inline import Inline
for preset, name in (("single-shot", "one"), ("integrated", "many")):
    simulator = hf.Simulator.preset(preset)
    frames = np.stack([simulator[k][0] for k in range(4)]).astype(np.uint16)
    for finder in ("network", "likelihood"):
        where, out = simulator.geometry, f"{sys.argv[1]}/{name}-{finder}"
        hf.run(frames, out, geometry=where, workers=1, outputs=(), finder=finder)
    frames = f"{sys.argv[1]}/{name}"
    hf.simulate(frames, 4, preset=preset, executor=Inline())
    run = hf.run(f"{frames}/frames_master.h5", f"{frames}-out", workers=1)
    hf.index(run, "67.6,67.6,106.9", crystals=2, workers=1)
    hf.index(run, structure="1ic6", frames="all", crystals=2, workers=1, overwrite=True)
    hf.index(run, "67.6,67.6,106.9", pixels=True, frames="all", workers=1, overwrite=True)
"""


def test_a_step_that_fails_says_so(monkeypatch):
    monkeypatch.setattr("hitfinder.job.compiling.learn_static", lambda source, geometry: None)
    monkeypatch.setattr("hitfinder.job.chunks.ChunkFinder._find_one", broken)
    with CompileWork().opened() as do, pytest.raises(RuntimeError, match="odd"):
        do(STEPS[0])


def broken(*arguments):
    raise ValueError("odd")


@pytest.mark.slow
def test_what_is_compiled_beforehand_is_all_that_a_run_needs(tmp_path):
    environment = {**os.environ, "NUMBA_CACHE_DIR": str(tmp_path / "cache")}
    environment |= {"PYTHONPYCACHEPREFIX": str(tmp_path / "bytecode"), FORBIDDEN: "1"}
    python = [sys.executable, "-m", "hitfinder", "compile"]
    done = subprocess.run(python, env=environment, capture_output=True, text=True, timeout=900)
    assert done.returncode == 0, done.stderr
    assert "compiled in" in done.stdout
    before = kept(tmp_path / "cache")
    assert len(before) > 80
    bytecode = {file.name.partition(".")[0] for file in (tmp_path / "bytecode").rglob("*.pyc")}
    assert bytecode >= {"main", "compile", "likelihood", "ndarray", "figure", "backend_svg"}
    command = [sys.executable, "-c", RUN, tmp_path]
    subprocess.run(command, env=environment, check=True, timeout=900)
    assert kept(tmp_path / "cache") == before


def kept(folder: Path) -> set[str]:
    return {file.name for file in folder.rglob("*.nbc")}

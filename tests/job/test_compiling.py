import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from hitfinder.job.compiling import STEPS, CompileWork
from hitfinder.job.live.warm import made_up_frames

RUN = """
import sys, numpy as np, hitfinder as hf
from hitfinder.job.live.warm import small_geometry
hf.run(sys.argv[1], sys.argv[2], geometry=small_geometry(), workers=1, outputs=())
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
    frames = tmp_path / "frames.npy"
    np.save(frames, made_up_frames(np.dtype(np.uint16)))
    environment = {**os.environ, "NUMBA_CACHE_DIR": str(tmp_path / "cache")}
    python = [sys.executable, "-m", "hitfinder", "compile"]
    done = subprocess.run(python, env=environment, capture_output=True, text=True, timeout=900)
    assert done.returncode == 0, done.stderr
    assert "compiled in" in done.stdout
    before = kept(tmp_path / "cache")
    assert len(before) > 80
    command = [sys.executable, "-c", RUN, frames, tmp_path / "out"]
    subprocess.run(command, env=environment, check=True, timeout=900)
    assert kept(tmp_path / "cache") == before


def kept(folder: Path) -> set[str]:
    return {file.name for file in folder.rglob("*.nbc")}

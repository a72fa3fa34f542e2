"""Commands whose address space is limited, as by `ulimit -v` or a batch job."""

import json
import os
import re
import resource
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import h5py
import numpy as np
import pyarrow.parquet as pq
import pytest

from hitfinder.geometry.geometry import Geometry
from hitfinder.geometry.named import named_detector
from hitfinder.io.write import NexusWriter
from waiting import LONGEST_S

CODES = (0, 2, -signal.SIGABRT)
"""Done; an error that is told; ended by a compiler that got no memory."""

SIMULATED = (*("--n", 4, "--detector", "eiger2-x-500k", "--camera-length-m", 0.06, "--seed", 1),)
"""Frames that are hits, as indexing needs some."""


@pytest.fixture(scope="module")
def place(tmp_path_factory, hitfinder):
    """A simulation, and the run over it."""
    folder = tmp_path_factory.mktemp("place")
    hitfinder("simulate", "--out", folder / "sim", *SIMULATED, "-j", 1)
    hitfinder("run", folder / "sim" / "frames_master.h5", "--out", folder / "run", "-j", 1)
    return folder


def limited(megabytes, cwd, *words):
    limit = (megabytes << 20, megabytes << 20)
    return subprocess.run(
        [sys.executable, "-m", "hitfinder", *map(str, words)],
        cwd=cwd,
        capture_output=True,
        text=True,
        timeout=LONGEST_S,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_AS, limit),
    )


@pytest.mark.parametrize("megabytes", [300, 999])
def test_too_little_memory_is_told(tmp_path_factory, tmp_path, megabytes):
    master = tmp_path_factory.mktemp("series") / "one_master.h5"
    geometry = Geometry(named_detector("pilatus-100k"), 0.1, 8000.0)
    with NexusWriter(master, geometry, np.uint16) as writer:
        writer.write(np.zeros(geometry.shape, np.uint16))
    done = limited(megabytes, tmp_path, "view", master, "//0", "--out", "v.png")
    (error,) = done.stderr.splitlines()
    said = f"hitfinder: error: memory is limited to {megabytes} MB (`ulimit -v`)"
    assert error.startswith(said)
    assert done.returncode == 2
    assert not list(tmp_path.iterdir())


@pytest.fixture
def memory_group():
    """Return a folder of the kernel's: it ends processes of this group that take too much."""
    controller = Path("/sys/fs/cgroup/memory")
    group = controller / f"hitfinder-test-{os.getpid()}"
    try:
        group.mkdir()
    except OSError:
        pytest.skip("no group of processes can be made here")
    if not (group / "memory.oom_control").exists():
        group.rmdir()
        pytest.skip("this kernel limits the memory of groups in another way")
    yield group
    group.rmdir()


def kernel_kills(group):
    told = (group / "memory.oom_control").read_text()
    return int(re.search(r"^oom_kill (\d+)", told, re.MULTILINE)[1])


@pytest.mark.slow
def test_where_the_kernel_kills_for_want_of_memory_it_is_told_and_nothing_is_lost(
    memory_group, tmp_path, hitfinder
):
    """A limit that holds the command, which takes most at its start, but not four workers."""
    few = ("--n", 24, "--detector", "eiger2-x-4m", "--seed", 1, "-j", 1)
    hitfinder("simulate", "--out", tmp_path / "sim", *few)
    frames = tmp_path / "sim/frames_master.h5"
    words = ("run", frames, "--finder", "likelihood", "-j", 4)
    hitfinder(*words, "--out", tmp_path / "whole")
    (memory_group / "memory.limit_in_bytes").write_text("650M")
    done = subprocess.run(
        [sys.executable, "-m", "hitfinder", *map(str, words), "--out", tmp_path / "out"],
        capture_output=True,
        text=True,
        timeout=LONGEST_S,
        preexec_fn=lambda: (memory_group / "cgroup.procs").write_text("0"),
    )
    assert kernel_kills(memory_group)
    # A worker is ended, not the command.
    assert done.returncode in (0, 1, 2)
    assert "SIGKILL, perhaps for want of memory" in done.stderr
    assert "Traceback" not in done.stderr
    hitfinder(*words, "--out", tmp_path / "out", "--resume")
    for name in ("frames", "peaks"):
        one, other = (
            pq.read_table(tmp_path / folder / f"{name}.parquet") for folder in ("out", "whole")
        )
        varying = [column for column in ("seconds",) if column in one.column_names]
        assert one.drop_columns(varying).equals(other.drop_columns(varying))


@pytest.mark.slow
@pytest.mark.parametrize("megabytes", [450, 600, 750, 900, 1050, 1200, 1500])
def test_nothing_is_half_done_whatever_the_limit(place, tmp_path, megabytes):
    """No command leaves a file that opens and is not what it should be, nor a traceback."""
    frames, run = place / "sim/frames_master.h5", tmp_path / "indexed"
    shutil.copytree(place / "run", run)
    given = {
        "view": ("view", frames, "//0", "--out", "v.png"),
        "run": ("run", frames, "--out", "run", "-j", 2),
        "simulate": (*("simulate", "--out", "sim", *SIMULATED, "-j", 2),),
        "index": ("index", run, "--cell", "60,60,90", "--space-group", "P43212", "-j", 2),
    }
    codes = {}
    for name, words in given.items():
        done = limited(megabytes, tmp_path, *words)
        codes[name] = done.returncode
        assert "Traceback" not in done.stderr
        assert done.returncode in CODES
        assert done.returncode == 0 or "memory is " in done.stderr
        assert not list(tmp_path.glob("**/*.part"))
    assert (tmp_path / "v.png").exists() == (codes["view"] == 0)
    assert (tmp_path / "run/run.json").exists() == (codes["run"] == 0)
    if codes["run"] == 0:
        told = json.loads((tmp_path / "run/run.json").read_text())
        assert told["complete"]
        assert pq.read_table(tmp_path / "run/peaks.parquet").equals(
            pq.read_table(place / "run/peaks.parquet")
        )
    master = tmp_path / "sim/frames_master.h5"
    assert master.exists() == (codes["simulate"] == 0)
    if master.exists():
        with h5py.File(master) as one, h5py.File(frames) as other:
            assert (one["entry/data/data"][()] == other["entry/data/data"][()]).all()
    assert (run / "indexed.json").exists() or codes["index"] != 0
    if megabytes == 1500:
        assert set(codes.values()) == {0}

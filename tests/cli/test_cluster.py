"""Commands whose work is done by a cluster."""

import os
import signal
import subprocess
import sys
import time

import pyarrow.parquet as pq
import pytest

from waiting import LONGEST_S, wait_for

FEW = ("--n", "6", "--detector", "eiger2-x-500k", "--seed", "3")


@pytest.mark.slow  # all executors keep one contract: tests/executors
def test_frames_made_by_a_cluster_are_the_same(hitfinder, tmp_path):
    hitfinder("simulate", "--out", tmp_path / "here", *FEW, "-j", "1")
    hitfinder("simulate", "--out", tmp_path / "there", *FEW, "-j", "2", "--cluster", "local")
    here, there = (tmp_path / name / "frames_data_000001.h5" for name in ("here", "there"))
    assert here.read_bytes() == there.read_bytes()
    assert pq.read_table(here.parent / "truth.parquet").equals(
        pq.read_table(there.parent / "truth.parquet")
    )


def test_wrong_names_and_options(hitfinder, tmp_path, monkeypatch):
    monkeypatch.setattr("hitfinder.executors.cluster.CONNECT_S", 1)
    for words, message in (
        (["--cluster-option", "time=1"], "--cluster-option needs --cluster"),
        (["--cluster", "slurm", "--cluster-option", "time"], "'time' is not KEY=VALUE"),
        (["--cluster", "slurm", "--cluster-option", "tim=1"], "Did you mean 'time'"),
        (["--cluster", "nowhere:1"], "no Dask scheduler answers there"),
    ):
        done = hitfinder("simulate", "--out", tmp_path / "sim", *FEW, *words)
        assert (done.returncode, message in done.stderr) == (2, True), done.stderr
        assert not (tmp_path / "sim").exists()


def test_ctrl_c_leaves_no_worker(tmp_path):
    command = ["simulate", "--out", "sim", "--n", "3000", "--cluster", "local", "-j", "2"]
    program = subprocess.Popen(
        [sys.executable, "-m", "hitfinder", *command],
        cwd=tmp_path,
        start_new_session=True,
        stderr=subprocess.PIPE,
        text=True,
    )
    wait_for(lambda: [*tmp_path.glob("sim/*part*"), *tmp_path.glob("sim/.*")])
    time.sleep(1.0)
    os.killpg(program.pid, signal.SIGINT)
    _, said = program.communicate(timeout=LONGEST_S)
    assert program.returncode == 130
    assert "Traceback" not in said
    wait_for(lambda: str(program.pid) not in sessions(), "a process of the cluster goes on")


def sessions():
    told = subprocess.run(["ps", "-eo", "sid="], capture_output=True, text=True, check=True)
    return told.stdout.split()

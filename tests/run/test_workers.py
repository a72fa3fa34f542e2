import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from hitfinder.executors.processes import ENVIRONMENT
from hitfinder.run.pipeline import LARGEST_CHUNK, SMALLEST_CHUNK, chunks_of

ALL = [20.5 + index for index in range(12)]


def process(kind, folder):
    script = Path(__file__).with_name("odd_sources.py")
    command = [sys.executable, str(script), kind, str(folder)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout), done.stderr


def test_a_bad_frame_costs_only_itself(tmp_path):
    result, _ = process("mixed", tmp_path)
    bad = {1: "truncated", 5: "failed"}
    assert result["status"] == [bad.get(index, "ok") for index in range(12)]
    assert result["problems"]["1"] == "odd: ends too early"
    np.testing.assert_allclose(result["fs"], [ALL[i] for i in range(12) if i not in bad], atol=0.1)
    assert result["image"] == 10 * 40
    # The failing frame tells what its process was started with: one thread each.
    values = json.loads(result["problems"]["5"].removeprefix("RuntimeError: "))
    assert values == [os.environ.get(name, value) for name, value in ENVIRONMENT.items()]
    assert "NUMBA_NUM_THREADS" in ENVIRONMENT


def test_a_chunk_that_kills_its_worker_twice_is_given_up(tmp_path):
    result, said = process("dies", tmp_path)
    assert result["status"] == ["ok"] * 4 + ["worker-died"] * 4 + ["ok"] * 4
    assert result["n_peaks"] == [1] * 4 + [0] * 4 + [1] * 4
    assert "SIGKILL" in result["problems"]["5"]
    assert "SIGKILL" in said
    assert said.count("frames 4 to 7") == 2


def test_a_chunk_whose_worker_died_once_is_done_by_another(tmp_path):
    result, said = process("dies once", tmp_path)
    assert result["status"] == ["ok"] * 12
    np.testing.assert_allclose(result["fs"], ALL, atol=0.1)
    assert "frames 4 to 7; trying again" in said


def test_what_no_worker_can_do_ends_the_run(tmp_path):
    result, _ = process("cannot work", tmp_path)
    assert result == {"error": "odd: cannot be used"}


@pytest.mark.parametrize("n_frames", [1, 7, 8, 60, 5000, 1_000_000])
def test_chunks_cover_all_frames_in_order(n_frames):
    chunks = list(chunks_of(n_frames))
    assert [chunk.start for chunk in chunks] == [0, *(chunk.stop for chunk in chunks[:-1])]
    assert chunks[-1].stop == n_frames
    sizes = {chunk.stop - chunk.start for chunk in chunks[:-1]}
    assert sizes <= set(range(SMALLEST_CHUNK, LARGEST_CHUNK + 1))

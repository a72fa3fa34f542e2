"""Live runs that are killed: what is on disk reads at any moment, and one command finishes it."""

import contextlib
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import threading
import time

import h5py
import numpy as np
import pyarrow.parquet as pq
import pytest
import zmq

import hitfinder as hf
from hitfinder.errors import HitfinderError, OutputError
from hitfinder.io.ledger import open_ends
from hitfinder.io.simplon.simulated import SimulatedDetector, StreamSender, send_stream
from hitfinder.job.live import finish as module
from hitfinder.job.live.finish import finish
from hitfinder.job.live.live import live
from hitfinder.results.following import FollowedStore
from job.live.half_hits import N
from waiting import LONGEST_S, wait_for

N_SENT = 3000


@pytest.fixture(scope="module")
def killed(master, tmp_path_factory):
    """The folder of a live run that got SIGKILL while frames came, as it was at that moment."""
    out = tmp_path_factory.mktemp("killed") / "out"
    sender = StreamSender("tcp://127.0.0.1:*")
    detector = SimulatedDetector("stream2", 60, n_images=N_SENT)

    def send():
        with hf.open(master) as source, contextlib.suppress(zmq.ZMQError):  # closed below
            send_stream(source, detector, sender, timeout_s=LONGEST_S)

    thread = threading.Thread(target=send, daemon=True)
    thread.start()
    command = [sys.executable, "-m", "hitfinder", "live", sender.address, "--out", str(out)]
    options = ["--stop-at-end", "--finder", "likelihood", "-j", "1", "--max-delay", "600"]
    # The frames come again and again, so that all in them would be static.
    (out.parent / "settings.toml").write_text("hot_pixel_frames = 0\n")
    options += ["--config", str(out.parent / "settings.toml")]
    process = subprocess.Popen(
        [*command, *options],
        env=os.environ,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )

    def has_rows_and_tables():
        n_rows = sum(len(chunk.frames) for chunk in FollowedStore(out).fresh())
        return n_rows >= 100 and (out / "run.json").exists()

    # At any moment of what it does then.
    wait_for(has_rows_and_tables, rest=lambda: time.sleep(random.uniform(0.01, 0.05)))
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    sender.close(linger_ms=0)
    return out


@pytest.fixture
def out(killed, tmp_path):
    return shutil.copytree(killed, tmp_path / "out")


def rows_on_disk(out):
    return np.concatenate([chunk.frames for chunk in FollowedStore(out).fresh()])


@pytest.mark.slow
def test_what_is_on_disk_reads_and_no_row_is_there_twice(out):
    rows = rows_on_disk(out)
    assert len(np.unique(rows)) == len(rows) >= 100
    table = pq.read_table(out / "frames.parquet")
    assert len(pq.read_table(out / "peaks.parquet")) > 0
    assert len(table) > 0
    assert json.loads((out / "live.json").read_bytes())["state"] == "running"
    assert open_ends(json.loads((out / "live.json").read_bytes())["ledger"]) == []
    shards = sorted((out / "shards").glob("hits-*.cxi"))
    numbers = []
    for shard in shards:
        with h5py.File(shard) as file:
            numbers += file["/entry_1/result_1/frame"][()].tolist()
            assert file["/entry_1/data_1/data"][()].any(axis=(1, 2)).all()
    assert len(set(numbers)) == len(numbers) > 10


def check_finished(run, rows, master):
    assert not run.summary.complete
    n = max(rows) + 1
    statuses = run.frames["status"].to_pylist()
    assert len(statuses) == n
    assert [statuses[number] for number in rows] == ["ok"] * len(rows)
    assert set(statuses) <= {"ok", "passed-over"}
    hit = np.array(run.frames["hit"].to_pylist())
    assert [bool(hit[number]) for number in rows] == [number % N % 2 == 0 for number in rows]
    with hf.open(master) as source, h5py.File(run.folder / "hits.cxi") as hits:
        numbers = hits["/entry_1/result_1/frame"][()]
        assert numbers.tolist() == np.flatnonzero(hit).tolist()
        for row, number in enumerate(numbers):
            right = source[int(number) % N]
            np.testing.assert_array_equal(hits["/entry_1/data_1/data"][row], right)
    about = json.loads((run.folder / "run.json").read_bytes())
    ledger = about["live"]["ledger"]
    assert open_ends(ledger) == []
    assert (ledger["expected"], ledger["processed"]) == (N_SENT, len(rows))
    assert ledger["not_received"] == N_SENT - n
    assert about["live"]["ended"] == "the program was killed"
    live = json.loads((run.folder / "live.json").read_bytes())
    assert (live["state"], live["ledger"]) == ("interrupted", ledger)
    assert live["counts"]["hits"] == hit.sum()
    assert not (run.folder / "shards").exists()
    assert not (run.folder / ".parts").exists()
    assert (run.folder / "report.html").exists()


def test_one_command_writes_what_was_found(out, master):
    rows = rows_on_disk(out).tolist()
    done = subprocess.run(
        [sys.executable, "-m", "hitfinder", "finish", str(out)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert "Traceback" not in done.stderr
    assert "the run was killed" in done.stderr
    check_finished(hf.open_run(out), rows, master)
    # Once more does nothing.
    before = (out / "run.json").read_bytes()
    finish(out)
    assert (out / "run.json").read_bytes() == before


class Killed(BaseException):
    pass


@pytest.mark.slow
@pytest.mark.parametrize("at", range(4))
def test_it_may_be_killed_itself_and_begun_again(out, master, monkeypatch, at):
    rows = rows_on_disk(out).tolist()

    def killed(*given, **named):
        raise Killed

    names = "write_places", "_tell", "remove_shards", "_ledger"
    with monkeypatch.context() as patch:
        patch.setattr(module, names[at], killed)
        with pytest.raises(Killed):
            finish(out)
    check_finished(finish(out), rows, master)


@pytest.mark.slow
def test_a_kill_at_the_end_of_tidying_leaves_the_results(out, master, monkeypatch):
    rows = rows_on_disk(out).tolist()

    def killed(store):
        raise Killed

    with monkeypatch.context() as patch:
        patch.setattr(module.Store, "remove", killed)
        with pytest.raises(Killed):
            finish(out)
    check_finished(finish(out), rows, master)


@pytest.mark.slow
def test_frames_that_were_in_hand_have_their_row(out):
    rows = rows_on_disk(out)
    chunks = sorted((out / ".parts").glob("chunk-*.dat"))
    lost = chunks[len(chunks) // 2]
    lost.unlink()
    left = rows_on_disk(out)
    run = finish(out)
    statuses = run.frames["status"].to_pylist()
    assert {statuses[number] for number in set(rows.tolist()) - set(left.tolist())} == {
        "passed-over"
    }
    ledger = json.loads((out / "run.json").read_bytes())["live"]["ledger"]
    assert open_ends(ledger) == []
    assert ledger["passed_over"] >= len(rows) - len(left)


def test_a_new_run_into_the_folder_says_what_to_do_before_it_waits(out):
    with pytest.raises(HitfinderError, match="a run that did not end") as told:
        list(live("tcp://127.0.0.1:9", out, stop_at_end=True))
    assert "hitfinder finish" in str(told.value)


def test_a_run_that_is_at_work_is_left_alone(out):
    from hitfinder.results.store import Store

    with Store(out), pytest.raises(OutputError, match="another run is writing here"):
        finish(out)


def test_what_is_no_live_run_is_said(tmp_path):
    with pytest.raises(HitfinderError, match="holds no results"):
        finish(tmp_path)
    (tmp_path / ".parts").mkdir()
    (tmp_path / ".parts" / "job.json").write_text('{"input": 1}')
    with pytest.raises(HitfinderError, match="none of `hitfinder live`"):
        finish(tmp_path)


def test_a_kill_before_the_first_frame_leaves_nothing_and_that_is_said(tmp_path):
    with pytest.raises(HitfinderError, match="it is empty, so nothing was recorded in it"):
        finish(tmp_path)
    with pytest.raises(HitfinderError, match="there is no such folder"):
        finish(tmp_path / "none")
    (tmp_path / ".parts").mkdir()
    for job in (None, '{"live": "tcp://detector:31001"}'):
        if job is not None:
            (tmp_path / ".parts" / "job.json").write_text(job)
            (tmp_path / "shards").mkdir()
        with pytest.raises(HitfinderError, match="killed before its first frame: nothing was reco"):
            finish(tmp_path)
        assert (tmp_path / ".parts").is_dir()


@pytest.mark.slow
def test_a_kill_while_what_is_not_needed_is_deleted_costs_nothing(out, master):
    rows = rows_on_disk(out).tolist()
    finish(out)
    # What is deleted last may be any of these files.
    (out / ".parts").mkdir()
    (out / ".parts" / "run.json").write_text("{}")
    check_finished(finish(out), rows, master)

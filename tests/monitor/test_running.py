import contextlib
import errno
import gzip
import json
import shutil
import socket
import threading
import time

import numpy as np
import pyarrow.parquet as pq
import pytest

import hitfinder as hf
from hitfinder.errors import ConfigError
from hitfinder.locks import Lock, is_locked
from hitfinder.monitor.watched import WatchedRun
from waiting import LONGEST_S, wait_for


def test_a_run_at_work_is_shown_as_far_as_it_is(stopped, finished, serve):
    (stopped / "run.json").unlink()
    lock = Lock(stopped / ".parts" / "lock", "run")
    watched = WatchedRun(stopped)
    assert (watched.state, int(watched.table.ok.sum()), len(watched.table)) == ("running", 24, 60)
    whole = pq.read_table(finished / "frames.parquet")
    assert np.array_equal(watched.table.rows["score"][:24], whole["score"].to_numpy()[:24])
    assert np.array_equal(watched.table.rows["hit"][:24], whole["hit"].to_numpy()[:24])
    assert not watched.refresh()
    # A chunk is lost, or another one comes.
    parts = stopped / ".parts"
    first = sorted(parts.glob("chunk-*"))[0]
    (parts / "chunk-000000099.dat").write_bytes(first.read_bytes()[:-1])
    assert not watched.refresh()
    with serve(stopped) as served:
        assert served.json("/api/about")["state"] == "running"
        told = served.json("/api/summary")
        assert (told["processed"], told["pending"], told["state"]) == (24, 36, "running")
        assert told["verdict"]["word"] == "look"
        assert served.json("/api/frame/5")["peaks"]["fs"] == [
            *pq.read_table(finished / "peaks.parquet", filters=[("frame", "==", 5)])[
                "fs"
            ].to_pylist()
        ]
        assert served.ask("/api/frame/30/counts")[0] == 200
        assert served.json("/api/frame/30")["status"] == "pending"
    lock.release()
    assert watched.refresh()
    assert watched.state == "interrupted"


def test_the_page_follows_a_run_to_its_end(stopped, finished):
    watched = WatchedRun(stopped)
    assert (watched.state, watched.about["complete"]) == ("interrupted", False)
    master = finished.parent / "frames" / "run_master.h5"
    seen = []

    @contextlib.contextmanager
    def show(what, total):
        def advance(n, note=""):
            watched.refresh()
            seen.append((watched.state, int(watched.table.ok.sum())))

        yield advance

    hf.run(master, stopped, workers=1, hot_pixel_frames=0, resume=True, show=show)
    assert seen[0] == ("running", 24)
    assert [n for _, n in seen] == sorted(n for _, n in seen)
    assert seen[-1] == ("running", 60)
    assert watched.refresh()
    assert (watched.state, int(watched.table.ok.sum())) == ("complete", 60)


def test_a_reader_hears_of_changes_and_joins_late(finished, serve, tmp_path):
    folder = tmp_path / "run"
    folder.mkdir()
    for name in ("run.json", "frames.parquet", "peaks.parquet"):
        (folder / name).write_bytes((finished / name).read_bytes())
    with serve(folder) as served:
        import http.client

        connection = http.client.HTTPConnection("127.0.0.1", served.port, timeout=LONGEST_S)
        connection.request("GET", "/api/events", headers={"host": f"127.0.0.1:{served.port}"})
        stream = connection.getresponse()

        def event():
            lines = []
            while not lines or lines[-1]:
                lines.append(stream.readline().decode().strip())
                if lines == [""]:
                    lines = []
            told = dict(line.split(": ", 1) for line in lines if line)
            return told if "data" in told else event()

        first = event()
        assert json.loads(first["data"])["revision"] == 1
        own = {"origin": f"http://127.0.0.1:{served.port}"}
        served.ask("/api/notes", "POST", json.dumps({"text": "x"}), **own)
        second = event()
        assert json.loads(second["data"])["notes"] == 1
        assert second["id"] != first["id"]
        # Who comes back with the present state is told nothing old; others all of it.
        connection.close()
        run = json.loads((folder / "run.json").read_text())
        (folder / "run.json").write_text(json.dumps(run | {"complete": False}))
        connection.request(
            "GET",
            "/api/events",
            headers={"host": f"127.0.0.1:{served.port}", "last-event-id": second["id"]},
        )
        stream = connection.getresponse()
        assert json.loads(event()["data"])["state"] == "interrupted"
        connection.close()


def test_readers_who_leave_keep_nothing_from_the_others(finished, serve, monkeypatch):
    # They leave while the server looks at the folder, most often in the middle of a wait.
    monkeypatch.setattr("hitfinder.monitor.app.POLL_S", 0.003)
    with serve(finished) as served:
        asked = f"GET /api/events HTTP/1.1\r\nhost: 127.0.0.1:{served.port}\r\n\r\n".encode()

        def come_and_go():
            for number in range(25):
                with socket.create_connection(("127.0.0.1", served.port), LONGEST_S) as leaving:
                    leaving.sendall(asked)
                    leaving.recv(1000)
                    time.sleep(0.003 + 0.0007 * (number % 7))

        readers = [threading.Thread(target=come_and_go) for _ in range(4)]
        for reader in readers:
            reader.start()
        for reader in readers:
            reader.join()
        with socket.create_connection(("127.0.0.1", served.port), LONGEST_S) as staying:
            staying.sendall(asked)
            told = b""
            while b"revision" not in told:
                told += staying.recv(1000)


def test_a_folder_that_cannot_be_looked_at_for_a_while_is_looked_at_again(
    finished, serve, monkeypatch
):
    looks = []

    def refresh(self):
        looks.append(1)
        raise OSError(errno.EMFILE, "too many open files")

    with serve(finished):
        monkeypatch.setattr("hitfinder.monitor.app.POLL_S", 0.01)
        monkeypatch.setattr("hitfinder.monitor.shown.ShownRun.refresh", refresh)
        wait_for(lambda: len(looks) >= 3)


def test_a_folder_of_something_else_is_refused(tmp_path):
    (tmp_path / "run.json").write_text("{}")
    with pytest.raises(ConfigError, match="holds no results of a run"):
        WatchedRun(tmp_path)
    (tmp_path / "run.json").unlink()
    (tmp_path / "live.json").write_text('{"geometry": {}}')
    with pytest.raises(ConfigError, match="holds no run at work"):
        WatchedRun(tmp_path)


def test_a_live_run_is_followed_by_what_it_says(stopped):
    told = json.loads((stopped / "run.json").read_text())
    (stopped / "run.json").unlink()
    (stopped / ".parts" / "run.json").unlink()
    live = {name: told[name] for name in ("geometry", "hits_from")}
    live |= {"source": "tcp://detector:31001", "started": 1790000000.0, "state": "running"}
    live |= {"ledger": {"received": 24}}
    (stopped / "live.json").write_text(json.dumps(live))
    watched = WatchedRun(stopped)
    assert (len(watched.table), int(watched.table.ok.sum())) == (24, 24)
    assert watched.about["inputs"] == ["tcp://detector:31001"]


def test_hits_of_a_live_run_can_be_looked_at(stopped, finished, serve, tmp_path):
    told = json.loads((stopped / "run.json").read_text())
    live = {name: told[name] for name in ("geometry", "hits_from")} | {"ledger": {"received": 24}}
    (stopped / "live.json").write_text(json.dumps(live))
    for name in ("run.json", ".parts/run.json", "hits.cxi"):
        (stopped / name).unlink()
    (stopped / "shards").mkdir()
    frames = finished.parent / "frames" / "run_master.h5"
    with serve(stopped) as served:
        assert served.json("/api/about")["layout"] is None
        assert served.ask("/api/frame/5/counts")[0] == 409
        hf.run(frames, tmp_path / "copied", workers=1, hot_pixel_frames=0, copy_frames=True)
        shutil.copy(tmp_path / "copied" / "hits.cxi", stopped / "shards" / "hits-000000000.cxi")
        about = served.json("/api/about")
        assert about["layout"]["shape"] == [200, 220]
        assert about["live"]["ledger"] == {"received": 24}
        status, _, body = served.ask("/api/frame/5/counts")
        assert status == 200
        with hf.open(frames) as source:
            counts = np.frombuffer(gzip.decompress(body), "<u2").reshape(200, 220)
            assert np.array_equal(counts, source[5])
        status, _, body = served.ask("/api/frame/4/counts")
        assert status == 409
        assert "only its hits are" in json.loads(body)["error"]


def test_looking_at_a_lock_does_not_take_it(tmp_path):
    assert not is_locked(tmp_path / "lock")
    lock = Lock(tmp_path / "lock", "run")
    assert is_locked(tmp_path / "lock")
    lock.release()
    assert not is_locked(tmp_path / "lock")
    Lock(tmp_path / "lock", "run").release()

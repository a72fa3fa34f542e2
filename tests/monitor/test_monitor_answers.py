import gzip
import json
import socket

import numpy as np
import pyarrow.parquet as pq
import pytest

import hitfinder as hf
from hitfinder.errors import ConfigError
from hitfinder.monitor.serve import PageServer


@pytest.fixture(scope="module")
def tables(finished):
    return pq.read_table(finished / "frames.parquet"), pq.read_table(finished / "peaks.parquet")


def test_the_numbers_are_those_of_the_tables(served, tables):
    frames, peaks = tables
    told = served.json("/api/summary")
    hit = frames["hit"].to_numpy()
    assert (told["frames"], told["processed"], told["hits"]) == (60, 60, hit.sum())
    assert 20 <= told["hits"] <= 30
    assert told["peaks"] == peaks.num_rows
    assert told["peaks_per_hit"] == np.median(frames["n_peaks"].to_numpy()[hit])
    assert told["resolution_a"] == pytest.approx(np.median(frames["resolution_a"].to_numpy()[hit]))
    mean = frames["background_per_pixel"].to_numpy().mean()
    assert told["background_per_pixel"] == pytest.approx(mean, rel=1e-5)
    assert sum(told["history"]["hits"]) == told["hits"]
    assert sum(told["history"]["processed"]) == 60
    scores = told["scores"]
    assert sum(scores["hits"]) == told["hits"]
    assert sum(scores["others"]) == 60 - told["hits"]
    assert sum(told["peak_histogram"]["hits"]) == told["hits"]
    best = frames["score"].to_numpy().argmax()
    assert told["best"][0]["frame"] == best


def test_another_threshold_decides_the_hits_anew(served, tables):
    score = tables[0]["score"].to_numpy()
    threshold = float(np.sort(score)[-8])
    told = served.json(f"/api/summary?threshold={threshold}")
    assert told["hits"] == 8
    assert not told["as_run"]
    assert told["false_hits"] == pytest.approx(10**-threshold)
    n_peaks = tables[0]["n_peaks"].to_numpy()
    told = served.json("/api/summary?min_peaks=6")
    assert told["hits"] == ((score >= 2) & (n_peaks >= 6)).sum()


@pytest.mark.parametrize("asked", ["threshold=nan", "threshold=x", "min_peaks=-1", "min_peaks=2.5"])
def test_impossible_limits_are_refused(served, asked):
    status, _, body = served.ask(f"/api/summary?{asked}")
    assert status == 400
    assert json.loads(body)["error"]


def test_a_frame_and_its_peaks_come_as_in_the_run(served, finished, tables):
    frames, peaks = tables
    with hf.open(finished.parent / "frames" / "run_master.h5") as source:
        stored = source[5]
    told = served.json("/api/frame/5")
    of_frame = peaks.filter(np.equal(peaks["frame"].to_numpy(), 5))
    assert told["n_peaks"] == of_frame.num_rows > 2
    assert told["peaks"]["fs"] == of_frame["fs"].to_pylist()
    assert told["peaks"]["column"] == pytest.approx(of_frame["fs"].to_pylist())
    assert told["peaks"]["row"] == pytest.approx(of_frame["ss"].to_pylist())
    assert told["peaks"]["doubtful"] == [p < 0.5 for p in of_frame["probability"].to_pylist()]
    assert told["score"] == frames["score"][5].as_py()
    status, headers, body = served.ask("/api/frame/5/counts")
    assert (status, headers["x-dtype"], headers["x-shape"]) == (200, "uint16", "200,220")
    counts = np.frombuffer(gzip.decompress(body), "<u2").reshape(200, 220)
    assert np.array_equal(counts, stored)
    _, _, body = served.ask("/api/mask")
    assert not np.frombuffer(gzip.decompress(body), np.uint8).any()


def test_all_frames_in_one_picture(served, finished):
    with hf.open(finished.parent / "frames" / "run_master.h5") as source:
        frames = np.stack([source[number] for number in range(60)])
    for kind, wanted in (("sum", frames.sum(axis=0)), ("maximum", frames.max(axis=0))):
        status, headers, body = served.ask(f"/api/whole/{kind}")
        assert (status, headers["x-dtype"], headers["x-shape"]) == (200, "float32", "200,220")
        counts = np.frombuffer(gzip.decompress(body), "<f4").reshape(200, 220)
        assert np.array_equal(counts, wanted)
    assert served.ask("/api/whole/median")[0] == 400


@pytest.mark.parametrize("path", ["/api/frame/60", "/api/frame/60/counts"])
def test_a_frame_that_is_none_is_told(served, path):
    status, _, body = served.ask(path)
    assert (status, json.loads(body)["error"]) == (400, "the run has no frame 60, the last is 59")


def test_walking_through_the_frames(served, tables):
    hit, score = (tables[0][name].to_numpy() for name in ("hit", "score"))
    hits = np.flatnonzero(hit)
    ranked = np.argsort(-score, kind="stable")

    def go(goal, frame, more=""):
        return served.json(f"/api/go/{goal}?frame={frame}{more}")["frame"]

    assert go("next-hit", hits[3]) == hits[4]
    assert go("next-hit", hits[-1]) is None
    assert go("previous-hit", hits[4]) == hits[3]
    assert go("best", 0) == ranked[0]
    assert go("worse", ranked[0]) == ranked[1]
    assert go("better", ranked[1]) == ranked[0]
    assert go("better", ranked[0]) is None
    assert go("random-hit", 0) in hits
    assert 0 <= go("random", 0) < 60
    top = f"&threshold={score[ranked[1]]}"
    assert {go("next-hit", -1, top), go("previous-hit", 60, top)} == set(ranked[:2].tolist())
    assert served.ask("/api/go/nowhere")[0] == 400


def test_without_the_frames_the_tables_are_shown(finished, serve, tmp_path):
    folder = tmp_path / "run"
    folder.mkdir()
    for path in finished.iterdir():
        if path.is_file():
            (folder / path.name).write_bytes(path.read_bytes())
    run = json.loads((folder / "run.json").read_text())
    run["inputs"] = [str(tmp_path / "gone_master.h5")]
    (folder / "run.json").write_text(json.dumps(run))
    with serve(folder) as served:
        assert served.json("/api/summary")["frames"] == 60
        assert "gone_master.h5" in served.json("/api/about")["frames_problem"]
        assert served.json("/api/frame/5")["n_peaks"] > 2
        status, _, body = served.ask("/api/frame/5/counts")
        assert status == 409
        assert "gone_master.h5" in json.loads(body)["error"]


def test_what_is_no_run_is_refused(tmp_path):
    with pytest.raises(ConfigError, match="holds neither the results of a run nor"):
        PageServer(tmp_path, "127.0.0.1", 0)


def test_a_port_in_use_is_told(finished):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(ConfigError, match=f"port {port} is in use. Choose another"):
            PageServer(finished, "127.0.0.1", port)

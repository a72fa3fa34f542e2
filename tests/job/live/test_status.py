import json
import time

import numpy as np

from hitfinder.job.live import status as module
from hitfinder.job.live.follower import Followers
from hitfinder.job.live.status import LiveStatus
from hitfinder.results.chunk import OK, ChunkResult, empty_rows
from hitfinder.results.doubts import Doubts
from waiting import LONGEST_S, wait_for


def with_rays(first, n):
    """Results of frames of which every other one rests on one bright pixel alone."""
    rows = empty_rows(n, OK)
    rows["hit"] = np.arange(n) % 2 == 1
    rows["doubt"][rows["hit"]] = "one-pixel"
    rows["score"] = np.where(rows["hit"], 5.0, 0.2)
    hit = rows["support"][rows["hit"]]
    hit["kind"], hit["n_alone"], hit["n_bright"], hit["strength"] = "one-pixel", 1, 1, 5.0
    hit["score"], hit["nearer"] = 0.2, np.linspace(0.4, 1, len(hit))
    hit["fs"], hit["ss"] = 10.0 * np.arange(len(hit)), first + 20.0 * np.arange(len(hit))
    rows["support"][rows["hit"]] = hit
    return ChunkResult(np.arange(first, first + n), rows)


def test_hits_are_those_of_the_second_look_so_far(tmp_path):
    ledger = {"received": 80, "processed": 80, "passed_over": 0, "waiting": 0}
    about = {"hits_from": {"score": 2.0, "false_hits": 0.01}}
    status = LiveStatus(tmp_path, about, lambda: ledger, dict, Followers())
    chunks = [with_rays(0, 40), with_rays(40, 40)]
    with status:
        status.take(chunks[0], dict.fromkeys(range(40), 0.1))
        status.learn(Doubts.of(lambda: chunks[:1], 2.0, 10**6), chunks[:1])
        # What comes next is decided by what was learnt before.
        status.take(chunks[1], dict.fromkeys(range(40, 80), 0.1))
    counts = json.loads((tmp_path / "live.json").read_bytes())["counts"]
    assert (counts["hits"], counts["doubtful_hits"], counts["doubted_frames"]) == (0, 0, 40)
    last = json.loads((tmp_path / "live-frames.json").read_bytes())
    assert not any(last["hit"])
    assert last["doubt"] == 40 * ["", "one-pixel"]


def test_what_cannot_be_told_does_not_end_the_telling(tmp_path, caplog):
    ledger = {"received": 80, "processed": 80, "passed_over": 0, "waiting": 0}
    about = {"hits_from": {"score": 2.0, "false_hits": 0.01}}
    told = [{"x": float("nan")}, {"x": 1.0}]
    followers = Followers()
    followers.told = lambda: told[0]
    with LiveStatus(tmp_path, about, lambda: ledger, dict, followers):
        assert "the status cannot be written" in caplog.text
        assert not (tmp_path / "live.json").exists()
        told.pop(0)
    assert json.loads((tmp_path / "live.json").read_bytes())["x"] == 1.0


def test_a_clock_that_is_set_back_stops_neither_history_nor_rates(
    tmp_path, monkeypatch, own_module
):
    ledger = {"received": 0, "processed": 0, "passed_over": 0, "waiting": 0}
    about = {"hits_from": {"score": 2.0, "false_hits": 0.01}}
    monkeypatch.setattr(module, "EVERY_S", 0.02)
    monkeypatch.setattr(module, "HISTORY_EVERY_S", 0.05)
    monkeypatch.setattr(module, "RATE_OVER_S", LONGEST_S)
    with LiveStatus(tmp_path, about, lambda: ledger, dict, Followers()):
        set_back = time.time() - 3600
        own_module(module, "time", time=lambda: set_back)

        def lines_while_frames_come():
            ledger["received"] += 10
            return len((tmp_path / "live-history.jsonl").read_text().splitlines())

        wait_for(lambda: lines_while_frames_come() >= 5)
    assert json.loads((tmp_path / "live.json").read_bytes())["rates"]["received_per_second"] > 0

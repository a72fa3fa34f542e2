"""Prometheus metrics of the ledger, read by Prometheus' own parser."""

import json
from urllib.parse import urlsplit

import pytest

pytest.importorskip("uvicorn")
parser = pytest.importorskip("prometheus_client.parser")

from hitfinder.io.ledger import FrameLedger

LEDGER = FrameLedger(
    expected=70, received=66, duplicates=2, passed_over=3, damaged=1, processed=58, failed=1,
    waiting=1, written=60, slowest_s=1.25,
)  # fmt: skip


def metrics_of(body):
    """Values by name and labels."""
    return {
        (sample.name, *sample.labels.values()): sample.value
        for family in parser.text_string_to_metric_families(body.decode())
        for sample in family.samples
    }


@pytest.fixture
def live_folder(finished, tmp_path):
    """A run with what a live one says of itself."""
    folder = tmp_path / "run"
    folder.mkdir()
    for path in finished.iterdir():
        if path.is_file():
            (folder / path.name).write_bytes(path.read_bytes())
    about = json.loads((folder / "run.json").read_bytes())
    told = {
        "state": "finished",
        "updated": 1790000012.3,
        "hits_from": about["hits_from"],
        "geometry": about["geometry"],
        "counts": {"frames": 60, "processed": 58, "hits": 30, "peaks": 200},
        "delays_s": {"median": 0.2, "p99": None},
        "ledger": LEDGER.told(),
        "messages": {"headers": 1, "malformed": 4},
        "energy": {"set_ev": 6000.0, "run": {"ev": 6012.5, "sigma_ev": 3.0}, "recent": None},
        "camera_length": {"set_m": 0.03, "run": {"m": None, "sigma_m": None}},
        "drift": {"drifts": True, "words": ["it drifts"]},
        "index_rate": {"searched": 20, "indexed": 12, "by_chance": 1, "skipped": 7, "cell": "x"},
        "offered": {"address": "tcp://x", "hits": 30, "fetched": 20, "passed_over": 10},
        "published": {"hits": 30, "sent": 30, "missed_by_some": 5, "subscribers": 2},
    }
    (folder / "live.json").write_text(json.dumps(told))
    return folder


def test_metrics_are_those_of_the_ledger(live_folder, serve):
    with serve(live_folder) as served:
        status, headers, body = served.ask("/metrics")
        summary = served.json("/api/summary")
    assert status == 200
    assert headers["content-type"].startswith("text/plain; version=")
    assert headers["cache-control"] == "no-store"
    found = metrics_of(body)
    told = LEDGER.told()
    assert found.pop(("hitfinder_slowest_seconds",)) == told.pop("slowest_s")
    for name, value in told.items():
        total = "" if name in ("expected", "waiting", "not_received") else "_total"
        assert found[f"hitfinder_ledger_{name}{total}",] == value
    assert found["hitfinder_hits",] == summary["hits"]
    assert found["hitfinder_frames", "ok"] == summary["by_status"]["ok"]
    assert found["hitfinder_state", "complete"] == 1
    assert found["hitfinder_messages", "malformed"] == 4
    assert found["hitfinder_energy_ev", "run"] == 6012.5
    assert found["hitfinder_energy_sigma_ev", "run"] == 3.0
    assert found["hitfinder_camera_length_set_m",] == 0.03
    assert found["hitfinder_drifts",] == 1
    assert found["hitfinder_index_indexed_total",] == 12
    assert found["hitfinder_offered_hits", "fetched"] == 20
    # Each hit has one outcome.
    for name in ("offered", "published"):
        assert sum(n for key, n in found.items() if key[0] == f"hitfinder_{name}_hits") == 30
    assert found["hitfinder_published_missed_by_some",] == 5
    assert found["hitfinder_published_subscribers",] == 2
    # What is not known is left out.
    assert ("hitfinder_delay_p99_seconds",) not in found
    assert ("hitfinder_camera_length_m", "run") not in found


def test_metrics_of_a_run_on_files_are_its_frames(served):
    found = metrics_of(served.ask("/metrics")[2])
    assert found["hitfinder_frames", "ok"] == 60
    assert not [name for name, *_ in found if "ledger" in name]


def test_who_may_read_the_metrics(finished, serve):
    with serve(finished, host="0.0.0.0") as served:
        token = urlsplit(served.server.address).query.partition("=")[2]
        assert served.ask("/metrics")[0] == 401
        assert served.ask("/metrics", authorization="Bearer wrong")[0] == 401
        assert served.ask("/metrics", authorization=f"Basic {token}")[0] == 401
        assert served.ask("/metrics", authorization=f"Bearer {token}")[0] == 200
        refused = {"authorization": f"Bearer {token}", "origin": "http://evil.example"}
        assert served.ask("/metrics", **refused)[0] == 403


def test_another_name_of_this_machine_gets_no_metrics(served):
    assert served.ask("/metrics", host="evil.example")[0] == 403

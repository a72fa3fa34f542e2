"""Which run a folder's page shows: its own, one that begins later, the newest of its series."""

import json
import os
import shutil

import pytest

from hitfinder.errors import ConfigError
from hitfinder.monitor.place import newest_run
from hitfinder.monitor.serve import PageServer
from hitfinder.monitor.shown import ShownRun
from hitfinder.results.store import Store

TABLES = ("run.json", "frames.parquet", "peaks.parquet")


def copy_tables(finished, folder, written_s=None):
    """Put the tables of a run into a folder, as if last written at a time."""
    folder.mkdir(parents=True)
    for name in TABLES:
        shutil.copy(finished / name, folder)
        if written_s is not None:
            os.utime(folder / name, (written_s, written_s))
    return folder


def test_the_newest_series_is_shown(finished, tmp_path):
    shift = tmp_path / "shift"
    assert newest_run(shift) is None
    late = copy_tables(finished, shift / "series_000002", 2000)
    early = copy_tables(finished, shift / "series_000010", 1000)
    (shift / "series_000011").mkdir()
    assert newest_run(shift) == late
    assert newest_run(early) == early
    assert newest_run(finished) == finished


def test_the_next_series_takes_the_place_of_the_one_before(finished, tmp_path):
    first = copy_tables(finished, tmp_path / "series_000001", 1000)
    shown = ShownRun(tmp_path)
    assert (shown.number, shown.state) == (1, "complete")
    shown.notes.add("of the first")
    before = shown.version
    assert not shown.refresh()
    second = copy_tables(finished, tmp_path / "series_000002", 2000)
    assert shown.refresh()
    assert (shown.number, shown.name) == (2, "series_000002")
    assert shown.version != before
    assert shown.answers.about()["folder"] == str(second)
    assert shown.notes.all() == []
    # A note on a series that is over does not bring it back.
    (first / "notes.json").write_text("[]")
    assert not shown.refresh()


def test_a_run_that_has_not_begun_is_waited_for(finished, serve, tmp_path):
    folder = tmp_path / "later"
    with pytest.raises(ConfigError, match="holds neither the results of a run nor a run at work"):
        PageServer(folder, "127.0.0.1", 0)
    with serve(folder, wait=True) as served:
        assert served.json("/api/about") == {"waiting": True, "folder": str(folder)}
        status, _, body = served.ask("/api/summary")
        assert (status, json.loads(body)["error"]) == (409, f"{folder}: no run has begun yet")
        own = {"origin": f"http://127.0.0.1:{served.port}"}
        assert served.ask("/api/notes", "POST", json.dumps({"text": "x"}), **own)[0] == 400
        copy_tables(finished, folder)
        assert served.server.shown.refresh()
        assert served.json("/api/summary")["frames"] == 60


def test_a_job_that_has_just_begun_is_waited_for_unless_it_was_killed(tmp_path):
    with Store(tmp_path):
        shown = ShownRun(tmp_path)
        assert (shown.state, shown.name) == ("waiting", "")
    with pytest.raises(ConfigError, match="a run was begun in it, and nothing was recorded"):
        ShownRun(tmp_path)


def test_of_an_empty_folder_it_is_said_that_nothing_was_recorded(tmp_path):
    with pytest.raises(ConfigError, match="it is empty, so nothing was recorded in it"):
        ShownRun(tmp_path)

"""Calls that workers make while a process does something else."""

import os
from pathlib import Path

import pytest

from hitfinder.errors import ConfigError
from hitfinder.executors import processes
from hitfinder.executors.beside import Beside
from hitfinder.executors.processes import Processes
from waiting import LONGEST_S, wait_for


@pytest.fixture(autouse=True)
def importable(monkeypatch):
    monkeypatch.syspath_prepend(str(Path(__file__).parent))


@pytest.fixture
def call(tmp_path):
    from trial_work import NotedCall

    def made(name, **how):
        return NotedCall(tmp_path / name, **how)

    return made


def test_workers_begin_at_once_however_large_the_calls_are(call, tmp_path, monkeypatch):
    # However long workers take to start.
    monkeypatch.setattr(processes, "_SEND_S", LONGEST_S)
    with Processes(2) as executor:
        beside = Beside(executor)
        calls = {name: call(name, ballast=bytes(20_000_000)) for name in ("one", "two", "three")}
        for name, made in calls.items():
            beside.add(name, made)
        beside.start()
        for name in ("one", "two"):
            wait_for((tmp_path / name).exists)
        workers = {worker.process.pid for worker in executor._workers}
        assert {beside.result(name, made) for name, made in reversed(calls.items())} <= workers
        assert len(list(tmp_path.iterdir())) == 3


def test_without_workers_calls_are_made_when_they_are_asked_for(call, tmp_path):
    beside = Beside()
    beside.add("one", call("one"))
    beside.start()
    assert not (tmp_path / "one").exists()
    assert beside.result("one", call("one")) == beside.result("other", call("two")) == os.getpid()


def test_what_ends_workers_is_done_here(call):
    with Processes(1) as executor:
        beside = Beside(executor)
        for name in ("one", "two"):
            beside.add(name, call(name, dies=name == "one"))
        beside.start()
        assert beside.result("one", call("one")) == os.getpid()
        assert beside.result("two", call("two")) != os.getpid()


def test_what_workers_cannot_do_is_tried_here(call):
    with Processes(1) as executor:
        beside = Beside(executor)
        for name in ("one", "two", "three"):
            beside.add(name, call(name, fails=name == "one"))
        beside.start()
        assert beside.result("one", call("one")) == os.getpid()
        with pytest.raises(ConfigError, match="no such call"):
            beside.result("two", call("two", fails=True))
        assert beside.result("three", call("three")) == os.getpid()


def test_results_that_nobody_took_are_not_those_of_the_next_run(call):
    with Processes(1) as executor:
        for name in ("one", "two"):
            beside = Beside(executor)
            beside.add(name, call(name))
            beside.start()
        assert beside.result("two", call("two")) in {w.process.pid for w in executor._workers}
        assert beside.result("one", call("one")) == os.getpid()

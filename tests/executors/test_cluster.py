"""Dask clusters: those of this machine, and a scheduler that others have started."""

import contextlib
import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from hitfinder.errors import ConfigError, HitfinderError, OutputError
from hitfinder.executors.checking import check_executor
from hitfinder.executors.cluster import SlurmSettings, cluster_executor, slurm_settings
from hitfinder.executors.contract import Done, Lost, results
from waiting import LONGEST_S, wait_for

HERE = Path(__file__).parent


@pytest.fixture(autouse=True)
def importable(monkeypatch):
    monkeypatch.syspath_prepend(str(HERE))
    # As for our own clusters: how often a lost task is tried is the executor's affair.
    monkeypatch.setenv("DASK_DISTRIBUTED__SCHEDULER__ALLOWED_FAILURES", "0")
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(HERE), *sys.path]))


@pytest.fixture
def trial(tmp_path):
    from trial_work import Trial

    return lambda **options: Trial(tmp_path, **options)


@pytest.fixture
def start(tmp_path):
    """Start programs of Dask, which end with the test."""
    started = []

    def start(*command):
        with open(tmp_path / f"dask-{len(started)}.log", "wb") as log:
            program = subprocess.Popen(
                [sys.executable, "-m", "dask", *map(str, command)],
                stdout=log,
                stderr=log,
                cwd=tmp_path,
                start_new_session=True,
            )
        started.append(program)
        return program

    yield start
    for program in reversed(started):
        if program.poll() is None:
            os.killpg(program.pid, signal.SIGKILL)
        program.wait()


@pytest.fixture
def scheduler(start, tmp_path):
    """Address of a scheduler without workers."""
    file = tmp_path / "scheduler.json"
    start("scheduler", "--host", "127.0.0.1", "--port", 0, "--no-dashboard", *to_file(file))
    wait_for(lambda: file.exists() and "address" in file.read_text())
    return json.loads(file.read_text())["address"]


def to_file(file):
    return "--scheduler-file", file


def worker(start, address, *options):
    return start("worker", address, "--no-dashboard", "--nthreads", 1, "--no-nanny", *options)


@pytest.mark.slow
def test_the_local_cluster_keeps_the_contract():
    check_executor(lambda: cluster_executor("local", workers=2))


@pytest.mark.parametrize("n_failures", [1, 9])
def test_a_local_cluster_whose_workers_die_at_the_start(monkeypatch, n_failures):
    """Dask gives up a cluster as a whole then."""
    begun = []

    class Cluster(contextlib.nullcontext):
        def __init__(self, **options):
            begun.append(options)
            if len(begun) <= n_failures:
                raise RuntimeError("Nanny failed to start.")

    class Client:
        def __init__(self, cluster, **options):
            self.close = begun.clear

    monkeypatch.setattr("distributed.LocalCluster", Cluster)
    monkeypatch.setattr("distributed.Client", Client)
    if n_failures > 1:
        with pytest.raises(HitfinderError, match=r"end while they start\. Memory"):
            cluster_executor("local", workers=2)
        assert len(begun) == 3
        return
    with cluster_executor("local", workers=2):
        assert len(begun) == 2
    assert not begun


def test_a_lost_worker_costs_nothing_and_others_may_come(scheduler, start, trial, caplog):
    """As under a batch system: one worker is killed within a task, another comes later."""
    first = worker(start, scheduler)
    with cluster_executor(scheduler) as executor:
        tasks = [("", 0), ("die once", 1), *(("wait", number) for number in range(2, 8))]
        found = results(executor.run(trial(), tasks, ordered=True))
        assert next(found) == 0
        first.wait(LONGEST_S)
        worker(start, scheduler)
        assert list(found) == [number**2 for number in range(1, 8)]
    assert caplog.text.count("trying again") == 1


def test_a_worker_with_several_threads(scheduler, start, trial, tmp_path):
    """Every thread opens the work for itself, since its buffers are for one task at a time."""
    worker(start, scheduler, "--nthreads", 3)
    with cluster_executor(scheduler) as executor:
        found = executor.run(trial(), [("wait", number) for number in range(12)], ordered=True)
        assert list(results(found)) == [number**2 for number in range(12)]


def test_a_task_that_ends_its_workers_is_lost_alone(scheduler, start, trial):
    for _ in range(3):
        worker(start, scheduler)
    with cluster_executor(scheduler) as executor:
        found = list(executor.run(trial(), [("", 0), ("die", 1), ("wait", 2)], ordered=True))
    assert [type(outcome) for outcome in found] == [Done, Lost, Done]
    assert "ended" in found[1].why


@pytest.mark.slow
def test_a_task_without_end_ends_its_workers(scheduler, start, trial, monkeypatch):
    monkeypatch.setattr("hitfinder.executors.tasks.FIRST_S", 1.0)
    monkeypatch.setattr("hitfinder.executors.tasks.LONGEST_S", 1.0)
    for _ in range(3):
        worker(start, scheduler)
    with cluster_executor(scheduler) as executor:
        found = list(executor.run(trial(), [("", 0), ("spin", 1), ("wait", 2)], ordered=True))
    assert [type(outcome) for outcome in found] == [Done, Lost, Done]


def test_a_lost_scheduler_ends_the_run(start, tmp_path, scheduler, trial):
    worker(start, scheduler)
    with cluster_executor(scheduler) as executor:
        # How long it looks for the scheduler again.
        executor._client._timeout = 2
        found = executor.run(trial(), [("", 0), ("sleep", 1), ("sleep", 2)])
        next(found)
        subprocess.run(["pkill", "-9", "-f", str(tmp_path / "scheduler.json")], check=True)
        with pytest.raises(HitfinderError, match="the cluster is lost"):
            list(found)


def test_workers_of_another_version(scheduler, start, trial, monkeypatch):
    worker(start, scheduler)
    monkeypatch.setattr("hitfinder.__version__", "99.0")
    with (
        cluster_executor(scheduler) as executor,
        pytest.raises(HitfinderError, match=r"a worker has hitfinder .*, not 99\.0"),
    ):
        list(executor.run(trial(), [("", 0)]))


def test_errors_of_the_work(scheduler, start, trial):
    worker(start, scheduler)
    with cluster_executor(scheduler) as executor:
        with pytest.raises(OutputError, match="trial: has failed"):
            list(executor.run(trial(), [("", 0), ("fail", 1)]))
        with pytest.raises(HitfinderError, match="OddError"):
            list(executor.run(trial(), [("odd", 0)]))
        assert list(results(executor.run(trial(), [("", 3)]))) == [9]


def test_what_is_no_cluster(monkeypatch):
    monkeypatch.setattr("hitfinder.executors.cluster.CONNECT_S", 1)
    with pytest.raises(HitfinderError, match=r"tcp://127.0.0.1:9: no Dask scheduler answers"):
        cluster_executor("tcp://127.0.0.1:9")
    with pytest.raises(HitfinderError, match="no Dask scheduler answers"):
        cluster_executor("lokal")
    with pytest.raises(ConfigError, match="'local' takes no options, got time"):
        cluster_executor("local", {"time": "1"})
    with pytest.raises(ConfigError, match="has its own workers"):
        cluster_executor("tcp://127.0.0.1:9", workers=3)


def test_ctrl_c_is_what_it_was_after_slurm_was_asked_for():
    code = """
import signal
from hitfinder.errors import ConfigError
from hitfinder.executors.cluster import cluster_executor
before = signal.signal(signal.SIGINT, signal.default_int_handler)
try:
    cluster_executor("slurm", {"memory_per_worker": "much"})
except ConfigError as error:
    print(error.what)
print(signal.getsignal(signal.SIGINT) is signal.default_int_handler)
"""
    command = [sys.executable, "-c", code]
    done = subprocess.run(command, capture_output=True, text=True, timeout=LONGEST_S)
    assert done.stderr == ""
    assert done.stdout.splitlines() == ["memory_per_worker must be like 2GB, got 'much'", "True"]


def test_settings_of_slurm():
    given = {"partition": "short", "workers": "12", "time": "30"}
    assert slurm_settings(given) == SlurmSettings(partition="short", workers=12, time="30")
    assert slurm_settings({}, 5).workers == 5
    for wrong, message in (
        ({"partitoin": "short"}, "Did you mean 'partition'"),
        ({"workers": "many"}, "'workers' must be a whole number, got 'many'"),
        ({"workers_per_job": "0"}, "workers_per_job must be at least 1"),
    ):
        with pytest.raises(ConfigError, match=message):
            slurm_settings(wrong)
    with pytest.raises(ConfigError, match="memory_per_worker must be like 2GB, got 'much'"):
        cluster_executor("slurm", {"memory_per_worker": "much"})

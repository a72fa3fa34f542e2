"""The process from which workers are forked."""

import errno
import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from hitfinder.cli.run import WORKER_IMPORTS
from hitfinder.errors import HitfinderError
from hitfinder.executors import forking
from hitfinder.executors.contract import results
from hitfinder.executors.forking import MESSAGE, Said
from hitfinder.executors.nursery import Nursery
from hitfinder.executors.processes import Processes
from waiting import LONGEST_S, wait_for

HERE = Path(__file__).parent


@pytest.fixture(autouse=True)
def importable(monkeypatch):
    monkeypatch.syspath_prepend(str(HERE))


@pytest.fixture
def trial(tmp_path):
    from trial_work import Trial

    return Trial(tmp_path)


def status(process, name):
    lines = Path(f"/proc/{process}/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(f"{name}:"))


def test_what_workers_of_a_run_import_starts_no_thread_before_they_are_forked(trial):
    """A fork has only the thread that forks: locks that others hold stay locked in it."""
    with Processes(2) as executor:
        executor.start(2, WORKER_IMPORTS)
        list(executor.run(trial, [("wait", 1), ("wait", 2)]))
        nursery = executor._nursery.process.pid
        assert status(nursery, "Threads") == 1
        assert {status(w.process.pid, "PPid") for w in executor._workers} == {nursery}
        maps = Path(f"/proc/{nursery}/maps").read_text()
    assert "h5py" in maps


def test_what_starts_threads_is_imported_by_workers_alone():
    """pyarrow does."""
    from trial_work import Imported

    with Processes(1) as executor:
        executor.start(1, ["hitfinder.results.run"])
        (done,) = executor.run(Imported("pyarrow"), [1])
        assert done.result[1]
        assert status(executor._nursery.process.pid, "Threads") == 1


def test_modules_of_others_are_imported_by_workers_alone():
    """Nobody knows what these start."""
    from trial_work import Imported

    with Processes(2) as executor:
        executor.start(1, ["hitfinder.units", "json.tool"])
        (done,) = executor.run(Imported("json.tool"), [1])
        assert done.result[1]
        command = Path(f"/proc/{executor._nursery.process.pid}/cmdline").read_text()
    assert "hitfinder.units" in command
    assert "json.tool" not in command


def test_workers_go_with_what_they_were_forked_from_and_others_come(trial, caplog):
    with Processes(2) as executor:
        found = results(executor.run(trial, [("wait", n) for n in range(6)], ordered=True))
        assert next(found) == 0
        executor._nursery.process.kill()
        assert list(found) == [n**2 for n in range(1, 6)]
    assert "so did the one before it" not in caplog.text


def test_it_is_left_when_the_executor_is(trial):
    with Processes(1) as executor:
        list(executor.run(trial, [("", 1)]))
        process, worker = executor._nursery.process, executor._workers[0].process
        assert process.poll() is worker.poll() is None
    assert process.poll() == 0
    assert worker.poll() is not None
    with pytest.raises(ProcessLookupError):
        os.kill(worker.pid, 0)


def test_a_worker_that_cannot_be_forked_is_told(own_module):
    def fork():
        raise OSError(errno.EAGAIN, "no more")

    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    end, other = socket.socketpair()
    own_module(forking, "os", fork=fork)
    # What serves listens to ends of its children, which are none of this process's.
    own_module(forking, "signal", signal=lambda *_: None)
    with ours, end, other:
        socket.send_fds(ours, [MESSAGE.pack(Said.FORK, 7, 0)], [other.fileno()])
        ours.shutdown(socket.SHUT_WR)
        with theirs:
            forking._Forks(theirs).serve()
        assert MESSAGE.unpack(ours.recv(MESSAGE.size)) == (Said.NOT_FORKED, 7, errno.EAGAIN)


def test_the_end_of_who_has_not_read_all_is_an_end(own_module):
    own_module(forking, "signal", signal=lambda *_: None)
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    with theirs:
        forks = forking._Forks(theirs)
        forks._tell(Said.ENDED, 7, 0)
        ours.close()
        forks.serve()


def test_what_dies_before_it_forks_is_told(trial, monkeypatch):
    """As where the memory that it may have is too little to load the libraries."""
    monkeypatch.setattr("hitfinder.executors.nursery._CODE", "import os; os._exit(3)")
    with Processes(2) as executor, pytest.raises(HitfinderError, match=r"start \(exit code 3\)"):
        list(executor.run(trial, [("", 1)]))


def test_it_ends_with_its_parent():
    code = (
        "from hitfinder.executors.nursery import Nursery; import os;"
        "print(Nursery([]).process.pid, flush=True); os._exit(0)"
    )
    told = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    there = Path(f"/proc/{told.stdout.strip()}")
    wait_for(lambda: not there.exists(), "it goes on without its parent")


def test_signals_reach_a_worker_that_is_not_forked_yet():
    nursery = Nursery([])
    ours, theirs = socket.socketpair()
    try:
        with ours, theirs:
            worker = nursery.fork(theirs)
            worker.kill()
            assert worker.wait(LONGEST_S) == "SIGKILL, perhaps for want of memory"
            assert worker.poll() == -9
    finally:
        nursery.close()

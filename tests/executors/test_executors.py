import os
import signal
import subprocess
import sys
import time
from itertools import count, islice, takewhile
from pathlib import Path

import pytest

from hitfinder.errors import HitfinderError, OutputError
from hitfinder.executors import processes
from hitfinder.executors import tasks as task_module
from hitfinder.executors.cluster import cluster_executor
from hitfinder.executors.contract import Done, Lost, results
from hitfinder.executors.inline import Inline
from hitfinder.executors.nursery import ENVIRONMENT
from hitfinder.executors.processes import FAILED_STARTS, Processes, started_ahead
from hitfinder.executors.tasks import TaskQueue
from waiting import LONGEST_S, wait_for

HERE = Path(__file__).parent
BALLAST = bytes(1 << 20)


@pytest.fixture(scope="module", autouse=True)
def importable():
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(HERE))
        yield


@pytest.fixture
def trial(tmp_path):
    from trial_work import Trial

    return lambda **options: Trial(tmp_path, **options)


@pytest.fixture(scope="module")
def dask(importable):
    """One worker of Dask, started once."""
    with cluster_executor("local", workers=1) as made:
        yield made


@pytest.fixture(params=[Inline, lambda: Processes(1), lambda: Processes(3), None], ids="i13d")
def executor(request):
    if request.param is None:
        yield request.getfixturevalue("dask")
        return
    with request.param() as made:
        yield made


def tasks(word, n):
    return [(word, number) for number in range(n)]


# What every executor must do.


def test_every_task_has_its_result(executor, trial):
    found = list(executor.run(trial(), tasks("wait", 7)))
    assert {outcome.task[1]: outcome.result for outcome in found} == {n: n**2 for n in range(7)}
    assert len(found) == 7


def test_outcomes_come_in_order_where_wanted(executor, trial):
    found = executor.run(trial(), tasks("wait", 12), ordered=True)
    assert list(results(found)) == [n**2 for n in range(12)]


@pytest.mark.parametrize("ordered", [False, True])
def test_tasks_are_taken_only_when_there_is_room(executor, trial, ordered):
    taken = count()
    endless = (("", next(taken)) for _ in count())
    found = executor.run(trial(), endless, ordered=ordered)
    assert len(list(islice(found, 5))) == 5
    assert next(taken) <= 5 + 12
    found.close()


def test_no_task_at_the_moment_is_not_the_end(executor, trial):
    """What was done meanwhile is given out, though the next task is not there yet."""
    seen = []

    def stream():
        yield "", 1
        while 1 not in seen:
            yield None
        yield "", 2

    for outcome in executor.run(trial(), stream()):
        seen.append(outcome.task[1])
    assert seen == [1, 2]


def test_there_may_be_no_task(executor, trial):
    assert list(executor.run(trial(), [])) == []
    assert not getattr(executor, "_workers", ()), "none is started, nor waited for"


def test_an_executor_serves_several_runs(executor, trial, tmp_path):
    from trial_work import noted

    for number in (3, 4):
        assert list(results(executor.run(trial(), [("", number)]))) == [number**2]
    assert len(noted(tmp_path, "began-3")) == 1
    assert noted(tmp_path, "began-3") == noted(tmp_path, "began-4"), "the worker is kept"


def test_an_error_of_the_work_reaches_the_caller(executor, trial):
    with pytest.raises(OutputError, match="trial: has failed"):
        list(executor.run(trial(), [*tasks("", 3), ("fail", 3)]))
    with pytest.raises(OutputError, match="cannot be opened"):
        list(executor.run(trial(opens="badly"), tasks("", 2)))
    assert list(results(executor.run(trial(), tasks("", 2), ordered=True))) == [0, 1]


def test_large_work_and_results(executor, trial):
    found = results(executor.run(trial(ballast=BALLAST), tasks("large", 4), ordered=True))
    for number, array in enumerate(found):
        assert array.shape == (3_000_000,)
        assert (array == number).all()


def test_work_that_is_cut_short_is_left(executor, trial, tmp_path):
    from trial_work import noted

    found = executor.run(trial(), tasks("", 40))
    next(found)
    found.close()
    assert noted(tmp_path, "left") == noted(tmp_path, "opened") or not isinstance(executor, Inline)


# What worker processes must do besides.


def test_an_error_that_cannot_be_sent_is_told(trial):
    with Processes(1) as executor, pytest.raises(HitfinderError, match="OddError"):
        list(executor.run(trial(), [("odd", 0)]))


def test_want_of_memory_in_a_worker_is_told(trial):
    with Processes(1) as executor, pytest.raises(HitfinderError, match="worker process: memory is"):
        list(executor.run(trial(), [("grow", 0)]))


@pytest.mark.parametrize("word", ["die once", "hang once"])
def test_a_task_whose_worker_ends_is_done_by_another(trial, word, caplog):
    with Processes(2, hung_after_s=3.0) as executor:
        found = executor.run(trial(), [*tasks("", 3), (word, 3), *tasks("wait", 3)], ordered=True)
        assert list(results(found)) == [0, 1, 4, 9, 0, 1, 4]
    assert caplog.text.count(f"at {(word, 3)}; trying again") == 1


@pytest.mark.parametrize(("word", "why"), [("die", "SIGKILL"), ("hang", "idle for 3 s")])
def test_a_task_that_ends_its_workers_is_lost_alone(trial, word, why):
    with Processes(2, hung_after_s=3.0) as executor:
        found = list(executor.run(trial(), [("", 0), (word, 1), *tasks("wait", 3)], ordered=True))
    assert [type(outcome) for outcome in found] == [Done, Lost, Done, Done, Done]
    assert found[1].task == (word, 1)
    assert why in found[1].why
    assert found[1].hung == (word == "hang")
    with pytest.raises(HitfinderError, match="so did the one that tried again"):
        list(results(found))


@pytest.fixture
def soon(monkeypatch):
    """Work without end is noticed after some seconds: more where workers start slowly."""
    monkeypatch.setattr(task_module, "LONGEST_S", 2.0)
    monkeypatch.setattr(task_module, "TIMES_SLOWEST", 5.0)


def test_a_task_without_end_is_done_by_another_worker_or_lost_alone(trial, soon, caplog):
    given = [("", 0), ("spin once", 1), ("", 2), ("spin", 3), ("", 4)]
    with Processes(2) as executor:
        found = list(executor.run(trial(), given, ordered=True))
    assert [outcome.result for outcome in found if isinstance(outcome, Done)] == [0, 1, 4, 16]
    (lost,) = (outcome for outcome in found if isinstance(outcome, Lost))
    assert (lost.task, lost.hung) == (("spin", 3), False)
    assert "at work for" in lost.why
    for task in (given[1], given[3]):
        assert caplog.text.count(f"at {task}; trying again") == 1


def test_a_task_has_the_time_of_many_that_were_finished():
    line = TaskQueue(range(9))
    assert line.limit_s == task_module.FIRST_S
    for took_s, limit_s in ((3.0, 600.0), (100.0, 2000.0), (1.0, 2000.0)):
        line.done(line.next(), None, took_s)
        assert line.limit_s == limit_s


def test_workers_that_die_at_the_start_are_replaced(trial, tmp_path):
    with Processes(2) as executor:
        found = executor.run(trial(opens="once", ballast=BALLAST), tasks("", 5), ordered=True)
        assert list(results(found)) == [n**2 for n in range(5)]
    assert (tmp_path / "died").exists()


def test_workers_that_cannot_start_end_the_run(trial, tmp_path, caplog):
    from trial_work import noted

    with Processes(2) as executor, pytest.raises(HitfinderError, match="while they start"):
        list(executor.run(trial(opens="never", ballast=BALLAST), tasks("", 5)))
    assert len(noted(tmp_path, "opened")) in range(2 * FAILED_STARTS, 2 * FAILED_STARTS + 2)
    assert "going on with 1" in caplog.text


@pytest.mark.parametrize("delay_s", [0.0, 0.02, 0.1, 0.3])
def test_workers_killed_early_hold_up_nothing(trial, kill_workers, delay_s):
    """The work is larger than a pipe holds: who waits for a dead worker to read waits for ever."""
    with Processes(2) as executor:
        killed = kill_workers(executor, 2, delay_s)
        # Tasks come until one is killed, and some more.
        endless = takewhile(lambda task: task[1] < 6 or not killed, (("", n) for n in count()))
        found = list(results(executor.run(trial(ballast=20 * BALLAST), endless, ordered=True)))
        assert found == [n**2 for n in range(len(found))]
        assert len(found) >= 6


def test_all_workers_start_at_once(trial, tmp_path):
    """None waits until the one before has read its work."""
    with Processes(4) as executor:
        found = executor.run(trial(ballast=BALLAST), tasks("wait", 12))
        next(found)
        assert len(executor._workers) == 4
        list(found)


def test_no_more_workers_are_started_than_there_are_tasks(trial):
    with Processes(5) as executor:
        list(executor.run(trial(), tasks("", 2)))
        assert len(executor._workers) <= 2


def test_what_workers_are_started_with(trial, monkeypatch):
    monkeypatch.setenv("OMP_NUM_THREADS", "3")
    monkeypatch.delenv("OPENBLAS_NUM_THREADS", raising=False)
    with Processes(1) as executor:
        list(executor.run(trial(), [("", 0)]))
        told = Path(f"/proc/{executor._workers[0].process.pid}/environ").read_bytes()
    values = dict(item.split(b"=", 1) for item in told.split(b"\0") if item)
    assert values[b"OMP_NUM_THREADS"] == b"3"
    assert values[b"OPENBLAS_NUM_THREADS"] == ENVIRONMENT["OPENBLAS_NUM_THREADS"].encode()
    assert "NUMBA_NUM_THREADS" in ENVIRONMENT


def test_workers_started_ahead_are_taken_by_an_executor(trial):
    with started_ahead(2, ["fractions"]), Processes(2) as executor:
        ahead = [worker.process for worker in processes._ahead]
        assert list(results(executor.run(trial(), tasks("", 4), ordered=True))) == [0, 1, 4, 9]
        assert {worker.process.pid for worker in executor._workers} <= {one.pid for one in ahead}
    assert all(one.poll() is not None for one in ahead)


def test_a_worker_started_ahead_that_died_costs_nothing(trial):
    with started_ahead(1, []), Processes(1) as executor:
        processes._ahead[0].process.kill()
        assert list(results(executor.run(trial(), tasks("", 3)))) == [0, 1, 4]


def test_workers_that_nobody_takes_end_with_the_block():
    with started_ahead(2, ["this_is_no_module"]):
        ahead = [worker.process for worker in processes._ahead]
        assert [one.poll() for one in ahead] == [None, None]
    assert all(one.poll() is not None for one in ahead)
    assert not processes._ahead


def test_impossible_numbers():
    with pytest.raises(ValueError, match="at least 1"):
        Processes(0)


# Whole programs: signals go to process groups, and scripts are imported by workers.


def script(tmp_path, text):
    path = tmp_path / "script.py"
    path.write_text(f"import sys\nsys.path.insert(0, {str(HERE)!r})\n{text}")
    return [sys.executable, str(path)]


RUN = """
from pathlib import Path
from hitfinder.executors.processes import Processes
from trial_work import Trial
executor = Processes(2)
def go(word, n):
    with executor:
        work = Trial(Path({folder!r}), ballast=bytes(1 << 20))
        for outcome in executor.run(work, [(word, number) for number in range(n)]):
            print(outcome.task, outcome.result, flush=True)
"""


def test_a_script_needs_no_guard(tmp_path):
    command = script(tmp_path, RUN.format(folder=str(tmp_path)) + "go('', 3)\n")
    done = subprocess.run(command, capture_output=True, text=True, timeout=LONGEST_S)
    assert sorted(done.stdout.split("\n")) == ["", "('', 0) 0", "('', 1) 1", "('', 2) 4"]
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.parametrize("guard", [True, False])
def test_work_of_a_script_itself(tmp_path, guard):
    """Workers import the script, which must not start the same again then."""
    text = """
import contextlib
from hitfinder.errors import HitfinderError
from hitfinder.executors.processes import Processes
class Mine:
    def __init__(self, n):
        self.n = n
    @contextlib.contextmanager
    def opened(self):
        yield lambda task: Mine(self.n * task)
if {guard}:
    with Processes(2) as executor:
        try:
            print([done.result.n for done in executor.run(Mine(5), [1, 2], ordered=True)])
        except HitfinderError as error:
            print(error)
"""
    text = text.format(guard='__name__ == "__main__"' if guard else "True")
    command = script(tmp_path, text)
    done = subprocess.run(command, capture_output=True, text=True, timeout=LONGEST_S)
    assert done.returncode == 0, done.stderr
    wanted = "[5, 10]" if guard else 'needs `if __name__ == "__main__":` before it'
    assert wanted in done.stdout


@pytest.fixture
def sleeping(tmp_path):
    """A program whose two workers are within a task, in a process group of its own."""
    text = "import signal\nsignal.signal(signal.SIGINT, signal.default_int_handler)\n"
    text += RUN.format(folder=str(tmp_path)) + "go('sleep', 4)\n"
    program = subprocess.Popen(
        script(tmp_path, text), start_new_session=True, stderr=subprocess.PIPE, text=True
    )
    wait_for(lambda: len(list(tmp_path.glob("began-*"))) == 2)
    yield program
    if program.poll() is None:
        os.killpg(program.pid, signal.SIGKILL)
    program.wait()


def test_interrupts_stop_tasks_once_and_no_worker_complains(tmp_path, sleeping):
    """As a terminal sends them: to the workers too; the second while the tasks clean up."""
    for _ in range(2):
        os.killpg(sleeping.pid, signal.SIGINT)
        time.sleep(0.2)
    # Workers have the same standard error: it ends when the last of them does.
    _, said = sleeping.communicate(timeout=LONGEST_S)
    assert said.count("Traceback") == said.count("KeyboardInterrupt\n") > 0
    assert "worker.py" not in said
    names = sorted(path.stem for path in tmp_path.glob("*-*"))
    assert names == ["began-0", "began-1", "cleaned-0", "cleaned-1"]


def test_workers_end_with_their_parent(tmp_path, sleeping):
    from trial_work import noted

    workers = noted(tmp_path, "opened")
    assert len(workers) == 2
    sleeping.kill()
    there = [Path(f"/proc/{worker}") for worker in workers]
    wait_for(lambda: not any(map(Path.exists, there)), "a worker goes on without its parent")


def test_workers_that_are_started_early_import_and_then_do_the_work():
    from trial_work import Imported

    with Processes(3) as executor:
        executor.start(2, ["json.tool", "no.such.module"])
        first = {worker.process.pid for worker in executor._workers}
        executor.start(9)
        assert len(first) == 2 < len(executor._workers) == 3
        done = [outcome.result for outcome in executor.run(Imported("json.tool"), range(8))]
        assert first <= {worker.process.pid for worker in executor._workers}
    assert {pid for pid, there in done if there} <= first
    assert {there for pid, there in done if pid in first} == {True}


def test_a_worker_frees_what_one_work_holds_before_the_next():
    from trial_work import Holding

    with Processes(1) as executor:
        left = [list(results(executor.run(Holding(), [1, 2]))) for _ in range(3)]
    assert left == [[0, 0]] * 3

"""The executor of a Dask cluster: workers of this machine, of others, or of a batch system.

The workers need the same hitfinder and the same paths to the files. Nothing of a task depends on
which of them has it, so the results are those of one process.
"""

from __future__ import annotations

import contextlib
import logging
import pickle
import queue
import signal
import threading
import time
import uuid
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import CancelledError
from typing import Any, Self, cast

import distributed
from distributed.diagnostics.plugin import WorkerPlugin

import hitfinder
from hitfinder.errors import HitfinderError
from hitfinder.executors.contract import Done, Lost, ResultT, TaskT, Work
from hitfinder.executors.tasks import TaskQueue, Ticket
from hitfinder.executors.worker import pickled_error

log = logging.getLogger(__name__)

NO_WORKER_S = 30.0
"""Time without a worker after which that is said."""

_LOOK_AGAIN_S = 0.5
_ASK_AGAIN_S = 0.02
_FINDING_WORK_S = 10.0
_left: set[str] = set()
"""Names of the work that this process, a worker, has left."""


class Dask:
    """Does the work in the workers of a Dask cluster, one task in the hands of each.

    A task whose worker dies, or is taken away by a batch system, is tried once more by another one.
    Workers may come and go while there is work.

    Parameters
    ----------
    client : distributed.Client
        Connected to the scheduler of the cluster; the executor closes it.
    most_workers : int, optional
        Workers that the cluster may grow to; by default those it has.
    cluster : context manager, optional
        Ends the workers; left when the executor is.
    """

    def __init__(
        self,
        client: distributed.Client,
        most_workers: int | None = None,
        cluster: contextlib.AbstractContextManager[Any] | None = None,
    ) -> None:
        self._client, self._most_workers = client, most_workers or 0
        self._open = contextlib.ExitStack()
        if cluster is not None:
            self._open.push(cluster)
        self._open.callback(client.close)

    @property
    def n_workers(self) -> int:
        """Tasks that are worked on at a time, at most."""
        return max(self._most_workers, _n_threads(self._client), 1)

    def run(
        self,
        work: Work[TaskT, ResultT],
        tasks: Iterable[TaskT | None],
        *,
        ordered: bool = False,
    ) -> Iterator[Done[TaskT, ResultT] | Lost[TaskT]]:
        """Have the work done for every task; see `Executor.run`."""
        name = f"hitfinder-{uuid.uuid4()}"
        desk = _Desk(name, hitfinder.__version__, pickle.dumps(work, pickle.HIGHEST_PROTOCOL))
        line = TaskQueue(tasks, 2 * self.n_workers if ordered else None)
        flow = _Submitted(self._client, name, self._most_workers)
        with self._errors():
            # Every worker gets the work once, those that come later too.
            self._client.register_plugin(desk, name)
        try:
            with self._errors():
                flow.hand_out(line)
            while not line.is_finished:
                with self._errors():
                    flow.take_in(line, _ASK_AGAIN_S if line.is_waiting else _LOOK_AGAIN_S)
                    # Before the caller takes in what was done: no worker needs to wait for that.
                    flow.hand_out(line)
                yield from line.outcomes()
        except BaseException:
            with contextlib.suppress(Exception):
                flow.drop()
                self._client.run(_cut_short, name)
            raise
        finally:
            with contextlib.suppress(Exception):
                self._client.unregister_worker_plugin(name)

    @contextlib.contextmanager
    def _errors(self) -> Iterator[None]:
        """Tell in words that the scheduler is gone, or does not answer."""
        try:
            yield
            if self._client.status in ("closed", "closing"):
                raise OSError("the connection is closed")
        except (OSError, CancelledError, TimeoutError, ModuleNotFoundError) as error:
            where = getattr(self._client.scheduler, "address", None) or "the Dask scheduler"
            hint = "Are scheduler and workers still there, with the same hitfinder installed?"
            raise HitfinderError(f"the cluster is lost ({error})", where, hint) from error

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc_info: object) -> None:
        self._open.close()


class _Submitted:
    """Tasks on their way to the workers, and what comes back."""

    def __init__(self, client: distributed.Client, name: str, most_workers: int) -> None:
        self._client, self._name, self._most_workers = client, name, most_workers
        self._out: dict[distributed.Future, Ticket] = {}
        self._done: queue.SimpleQueue[distributed.Future] = queue.SimpleQueue()
        self._no_worker_since: float | None = None
        self._said = False

    def hand_out(self, line: TaskQueue) -> None:
        """Submit tasks, as many as there may be workers: none waits behind another one's task."""
        n_threads = _n_threads(self._client)
        most = max(self._most_workers, n_threads, 1)
        while len(self._out) < most and (ticket := line.next()) is not None:
            future = self._client.submit(
                _do,
                self._name,
                pickle.dumps(ticket.task, pickle.HIGHEST_PROTOCOL),
                line.limit_s,
                key=f"{self._name}-{ticket.number}-{ticket.ended}",
                pure=False,
            )
            self._out[future] = ticket
            future.add_done_callback(self._done.put)
        self._tell_no_worker(n_threads)

    def take_in(self, line: TaskQueue, timeout_s: float) -> None:
        """Wait for an outcome, and take in all that are there."""
        if not (self._out or line.is_waiting):
            return
        with contextlib.suppress(queue.Empty):
            self._settle(line, self._done.get(timeout=timeout_s))
            while True:
                self._settle(line, self._done.get_nowait())

    def _settle(self, line: TaskQueue, future: distributed.Future) -> None:
        ticket = self._out.pop(future)
        if future.status == "error":
            error = future.exception()
            if not isinstance(error, distributed.KilledWorker):
                raise error
            last = getattr(error.last_worker, "address", "its worker")
            self._fail(line, ticket, f"{last} ended")
            return
        is_result, content, took_s = future.result()
        if not is_result:
            raise pickle.loads(content)
        line.done(ticket, pickle.loads(content), took_s)

    def _fail(self, line: TaskQueue, ticket: Ticket, why: str) -> None:
        again = line.failed(ticket, why, hung=False)
        then = "trying again" if again else "so did the one before it"
        log.warning("a worker died (%s) at %s; %s", why, ticket.task, then)

    def _tell_no_worker(self, n_threads: int) -> None:
        if not self._out or n_threads:
            self._no_worker_since = None
            return
        self._no_worker_since = self._no_worker_since or time.monotonic()
        if not self._said and time.monotonic() - self._no_worker_since > NO_WORKER_S:
            self._said = True
            log.warning("the cluster has no worker at the moment; waiting for one")

    def drop(self) -> None:
        """Take back what is not done."""
        self._client.cancel(list(self._out), force=True)


def _n_threads(client: distributed.Client) -> int:
    """Ask the scheduler how many tasks its workers can have in hand at this moment."""
    return sum(client.nthreads().values())


class _Desk(WorkerPlugin):
    """The work at a worker: opened when its first task comes, left at the end."""

    def __init__(self, name: str, version: str, content: bytes) -> None:
        self.name, self._version, self._content = name, version, content

    def setup(self, worker: distributed.Worker) -> None:
        """Make ready where the work is going to be done."""
        self._stack, self._lock = contextlib.ExitStack(), threading.Lock()
        self._own = threading.local()
        self.is_cut_short = False

    def do(self, task: bytes) -> bytes:
        """Return the result of a task."""
        do = getattr(self._own, "do", None)
        if do is None:
            do = self._own.do = self._opened()
        return pickle.dumps(do(pickle.loads(task)), pickle.HIGHEST_PROTOCOL)

    def _opened(self) -> Callable[[Any], Any]:
        # Buffers of the work are for one task at a time, so every thread has its own.
        if self._version != hitfinder.__version__:
            raise HitfinderError(
                f"a worker has hitfinder {hitfinder.__version__}, not {self._version}",
                hint="Give the workers the same Python environment.",
            )
        work = cast("Work[Any, Any]", pickle.loads(self._content))
        with self._lock:
            return self._stack.enter_context(work.opened())

    def teardown(self, worker: distributed.Worker) -> None:
        """Leave the work; by an exception if it was cut short."""
        _left.add(self.name)
        if self.is_cut_short:
            with contextlib.suppress(_CutShortError):
                error = _CutShortError()
                self._stack.__exit__(type(error), error, None)
        self._stack.close()


class _CutShortError(Exception):
    """Leaves work that is not to be finished."""


def _do(name: str, task: bytes, limit_s: float) -> tuple[bool, bytes, float]:
    """Do a task in a worker: whether it went well, the result or the error, and the time in s."""
    worker, began = distributed.get_worker(), time.monotonic()
    try:
        with _time_limit(limit_s if worker.state.nthreads == 1 else 0.0):
            done = _desk(worker, name).do(task)
        return True, done, time.monotonic() - began
    except Exception as error:
        log.debug("worker", exc_info=True)
        return False, pickled_error(error), time.monotonic() - began


@contextlib.contextmanager
def _time_limit(limit_s: float) -> Iterator[None]:
    """Have the system end this process unless the block ends in time; 0 is no limit.

    The system does so whatever the process is at, a loop in compiled code too. A process has one
    such clock, so it serves a worker of one thread.
    """
    signal.setitimer(signal.ITIMER_REAL, limit_s)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0.0)


def _desk(worker: distributed.Worker, name: str) -> _Desk:
    # A worker that has just come may be given a task while its plugins are still on their way.
    until = time.monotonic() + _FINDING_WORK_S
    while name not in worker.plugins and time.monotonic() < until:
        if name in _left:
            raise HitfinderError("the work was cut short")
        time.sleep(0.01)
    return cast("_Desk", worker.plugins[name])


def _cut_short(name: str, dask_worker: distributed.Worker) -> None:
    """Note at a worker that its work is not to be finished."""
    if name in dask_worker.plugins:
        cast("_Desk", dask_worker.plugins[name]).is_cut_short = True

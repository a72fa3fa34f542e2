"""The executor of worker processes of this machine.

Workers are forked from a process that is there for nothing else, and never from this one, since
that would share locks and threads of libraries; see `hitfinder.executors.nursery`. Everything goes
over a socket that the parent never waits for: all workers start at once, and one that dies or stops
at any moment, while it starts too, holds up nothing.
"""

from __future__ import annotations

import contextlib
import logging
import os
import pickle
import select
import selectors
import signal
import socket
import time
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, Self

from hitfinder import interrupts
from hitfinder.errors import HitfinderError
from hitfinder.executors.channel import Channel, Tag
from hitfinder.executors.contract import Done, Lost, ResultT, TaskT, Work
from hitfinder.executors.nursery import Nursery
from hitfinder.executors.tasks import TaskQueue, Ticket
from hitfinder.executors.worker import Hello, is_worker

log = logging.getLogger(__name__)

HUNG_AFTER_S = 300.0
"""A worker that is at work and has used no processor for so long is taken to hang: it is stopped,
or waits for a file that does not come."""

FAILED_STARTS = 3
"""Workers that die one after another while they start, before one less is tried."""

_GRACE_S = 5.0
_LOOK_AGAIN_S = 0.5
_LONGEST_LOOK_S = 60.0
_ASK_AGAIN_S = 0.02
_SEND_S = 0.5


def available_cores() -> int:
    """Return the number of cores this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


@contextlib.contextmanager
def started_ahead(n_workers: int, modules: Sequence[str]) -> Iterator[None]:
    """Have workers start before there is an executor; the first one in the block takes them.

    They import what they need while this process imports what comes before their first tasks.

    Parameters
    ----------
    n_workers : int
        How many. The block ends those that no executor took.
    modules : sequence of str
        What they import.
    """
    with contextlib.suppress(OSError):
        nursery = Nursery(modules) if n_workers else None
        while nursery is not None and len(_ahead) < n_workers:
            _ahead.append(_Worker(nursery, modules))
    try:
        yield
    finally:
        for worker in _ahead:
            worker.ask_to_end()
        while _ahead:
            worker = _ahead.pop()
            worker.end(_GRACE_S)
            worker.channel.close()
            worker.nursery.close()


_ahead: list[_Worker] = []
"""Workers that no executor has taken yet; who takes one takes what it was forked from, too."""


class Processes:
    """Does the work in worker processes, one task in the hands of each.

    Workers are started when there are tasks for them, or before by `start`, and kept until the
    executor is left. A task whose worker dies, hangs, or is at work without end is tried once more,
    by another one; see `HUNG_AFTER_S` and `hitfinder.executors.tasks.LONGEST_S`.

    Parameters
    ----------
    n_workers : int
        Processes, at most.
    hung_after_s : float
        See `HUNG_AFTER_S`.

    Raises
    ------
    ValueError
        If there is no worker.
    """

    def __init__(self, n_workers: int, *, hung_after_s: float = HUNG_AFTER_S) -> None:
        if n_workers < 1:
            raise ValueError(f"workers must be at least 1, got {n_workers}")
        self.n_workers, self._hung_after_s = n_workers, hung_after_s
        self._workers: list[_Worker] = []
        self._nursery: Nursery | None = None
        self._selector = selectors.DefaultSelector()
        self._failed_starts = 0
        self._runs = 0

    def start(self, n_workers: int, modules: Sequence[str] = ()) -> None:
        """Start workers before there is work, so that they are ready sooner.

        Parameters
        ----------
        n_workers : int
            How many, if there may be so many.
        modules : sequence of str
            What they import meanwhile.
        """
        if is_worker():
            return  # `run` says what is wrong.
        while len(self._workers) < min(n_workers, self.n_workers):
            if self._start(modules) is None:
                return

    def run(
        self,
        work: Work[TaskT, ResultT],
        tasks: Iterable[TaskT | None],
        *,
        ordered: bool = False,
    ) -> Iterator[Done[TaskT, ResultT] | Lost[TaskT]]:
        """Have the work done for every task, beginning at once; see `Executor.run`."""
        if is_worker():
            raise HitfinderError(
                "a worker process cannot have workers of its own",
                hint='A script that starts a run needs `if __name__ == "__main__":` before it.',
            )
        if any(worker.ticket is not None for worker in self._workers):
            # Nobody took the outcomes of the run before.
            self._stop()
        content = pickle.dumps(work, pickle.HIGHEST_PROTOCOL)
        self._runs += 1
        queue = TaskQueue(tasks, 2 * self.n_workers if ordered else None)
        with self._stopped_by_errors():
            self._hand_out(queue, content)
        return self._outcomes(queue, content)

    def send(self) -> None:
        """Send what is handed out now, which otherwise goes while outcomes are waited for.

        To workers that do not take it for `_SEND_S` it goes then.
        """
        while sending := {w.channel.socket: w for w in self._workers if w.channel.is_sending}:
            _, ready, _ = select.select([], [*sending], [], _SEND_S)
            if not ready:
                return
            for end in ready:
                sending[end].channel.flush()
                self._watch(sending[end])

    def _outcomes(self, queue: TaskQueue, content: bytes) -> Iterator[Any]:
        """Yield the outcomes of tasks, and hand out more of them."""
        with self._stopped_by_errors():
            while not queue.is_finished:
                self._attend(queue, content, _ASK_AGAIN_S if queue.is_waiting else _LOOK_AGAIN_S)
                yield from queue.outcomes()

    @contextlib.contextmanager
    def _stopped_by_errors(self) -> Iterator[None]:
        try:
            yield
        except BaseException:
            # What the workers still have in hand is of no use to whatever comes next.
            self._stop()
            raise

    def _hand_out(self, queue: TaskQueue, content: bytes) -> None:
        """Give tasks to idle workers, and start workers as long as there are tasks for them."""
        while True:
            idle = next((worker for worker in self._workers if worker.ticket is None), None)
            if idle is None and len(self._workers) >= self.n_workers:
                return
            ticket = queue.next()
            if ticket is None:
                return
            worker = idle or self._start()
            if worker is None:
                queue.put_back(ticket)
                return
            self._give(worker, ticket, content)

    def _give(self, worker: _Worker, ticket: Ticket, content: bytes) -> None:
        if worker.run != self._runs:
            worker.run, worker.is_ready = self._runs, False
            worker.channel.put(Tag.WORK, content)
        worker.take(ticket)
        worker.channel.put(Tag.TASK, pickle.dumps(ticket.task, pickle.HIGHEST_PROTOCOL))
        self._watch(worker)

    def _start(self, modules: Sequence[str] = ()) -> _Worker | None:
        try:
            worker = self._taken() or _Worker(self._nursery_with(modules), modules)
        except OSError as error:
            self._note_failed_start(error.strerror or str(error))
            return None
        self._workers.append(worker)
        self._selector.register(worker.channel.socket, selectors.EVENT_READ, worker)
        return worker

    def _taken(self) -> _Worker | None:
        """Return a worker that was started ahead, if there is one that this executor can have."""
        fits = (w for w in _ahead if self._nursery in (None, w.nursery) and w.nursery.is_alive)
        worker = next(fits, None)
        if worker is not None:
            _ahead.remove(worker)
            self._nursery = worker.nursery
        return worker

    def _nursery_with(self, modules: Sequence[str]) -> Nursery:
        """Return the process to fork a worker from, which has such modules if it starts only now.

        Raises
        ------
        OSError
            If it cannot be started.
        """
        if self._nursery is not None and not self._nursery.is_alive:
            self._nursery.close()
            self._nursery = None
        if self._nursery is None:
            self._nursery = Nursery(modules)
        return self._nursery

    def _watch(self, worker: _Worker) -> None:
        """Look for messages of a worker and, if something is to be sent, for room."""
        events = selectors.EVENT_READ | (selectors.EVENT_WRITE if worker.channel.is_sending else 0)
        self._selector.modify(worker.channel.socket, events, worker)

    def _attend(self, queue: TaskQueue, content: bytes, timeout_s: float) -> None:
        """Wait for messages and take them in; see to workers that died or hang."""
        for key, events in self._selector.select(timeout_s):
            worker: _Worker = key.data
            if events & selectors.EVENT_WRITE:
                worker.channel.flush()
                self._watch(worker)
            if events & selectors.EVENT_READ:
                try:
                    messages = worker.channel.poll()
                except EOFError:
                    self._bury(worker, queue, worker.end(_GRACE_S))
                    continue
                for tag, told in messages:
                    self._take_in(worker, queue, tag, told)
        for worker in list(self._workers):
            worker.look()
            if worker.hangs(self._hung_after_s):
                worker.end()
                self._bury(worker, queue, f"idle for {self._hung_after_s:g} s, so ended", hung=True)
            elif worker.ticket is not None and worker.at_work_s > queue.limit_s:
                worker.end()
                self._bury(worker, queue, f"at work for {queue.limit_s:.3g} s, so ended")
        # Before the caller takes in what was done: no worker needs to wait for that.
        self._hand_out(queue, content)

    def _take_in(
        self, worker: _Worker, queue: TaskQueue, tag: Tag, told: bytes | bytearray
    ) -> None:
        if tag is Tag.READY:
            worker.is_ready, self._failed_starts = True, 0
        elif tag is Tag.ERROR:
            raise pickle.loads(told)
        elif worker.ticket is not None:
            worker.look()
            queue.done(worker.ticket, pickle.loads(told), worker.at_work_s)
            worker.ticket = None

    def _bury(self, worker: _Worker, queue: TaskQueue, why: str, hung: bool = False) -> None:
        """Take note of a worker's end, and put its task in line again or give it up."""
        self._forget(worker)
        if not worker.is_ready:
            self._note_failed_start(why)
            if worker.ticket is not None:
                queue.put_back(worker.ticket)
        elif worker.ticket is not None:
            again = queue.failed(worker.ticket, why, hung)
            then = "trying again" if again else "so did the one before it"
            log.warning("a worker died (%s) at %s; %s", why, worker.ticket.task, then)

    def _note_failed_start(self, why: str) -> None:
        self._failed_starts += 1
        log.debug("a worker ended while it started (%s)", why)
        if self._failed_starts < FAILED_STARTS:
            return
        self._failed_starts, self.n_workers = 0, self.n_workers - 1
        if not self.n_workers:
            hint = "Memory or processes may be short: see `ulimit -a`, or close other programs."
            raise HitfinderError(f"worker processes end while they start ({why})", hint=hint)
        log.warning(
            "worker processes end while they start (%s); going on with %d", why, self.n_workers
        )

    def _forget(self, worker: _Worker) -> None:
        self._workers.remove(worker)
        self._selector.unregister(worker.channel.socket)
        worker.channel.close()

    def _stop(self) -> None:
        """End the workers, with time to clean up for those that are within a task."""
        with interrupts.held():
            for worker in self._workers:
                worker.ask_to_end()
            until = time.monotonic() + _GRACE_S
            for worker in list(self._workers):
                worker.end(until - time.monotonic())
                self._forget(worker)
            if self._nursery is not None:
                self._nursery.close()
                self._nursery = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc_info: object) -> None:
        self._stop()


class _Worker:
    """A worker process, seen from its parent."""

    def __init__(self, nursery: Nursery, modules: Sequence[str]) -> None:
        ours, theirs = socket.socketpair()
        self.channel, self.nursery = Channel(ours), nursery
        try:
            with theirs:
                self.process = nursery.fork(theirs)
        except OSError:
            ours.close()
            raise
        self.ticket: Ticket | None = None
        self.run, self.is_ready = 0, False
        self._looked, self.at_work_s = time.monotonic(), 0.0
        self._idle_s, self._processor_s = 0.0, 0.0
        self.channel.put(Tag.HELLO, pickle.dumps(Hello.of(nursery.process.pid, modules)))

    def take(self, ticket: Ticket) -> None:
        """Note what it is given to do."""
        self.ticket, self._looked = ticket, time.monotonic()
        self.at_work_s = self._idle_s = 0.0
        self._processor_s = self.process.processor_s or 0.0

    def look(self) -> None:
        """Note how long it has had its task, but not while this process itself was stopped."""
        now = time.monotonic()
        passed_s, self._looked = min(now - self._looked, _LONGEST_LOOK_S), now
        self.at_work_s += passed_s
        self._idle_s += passed_s

    def hangs(self, after_s: float) -> bool:
        """Whether it has a task and used no processor for so many seconds."""
        if self.ticket is None or self._idle_s < after_s:
            return False
        used = self.process.processor_s
        if used == self._processor_s:
            return True
        self._processor_s, self._idle_s = used or 0.0, 0.0
        return False

    def ask_to_end(self) -> None:
        """Send what ends an idle worker at once, and a busy one when it has cleaned up."""
        self.process.send_signal(signal.SIGTERM)
        # One that is stopped gets the signal only when it goes on.
        self.process.send_signal(signal.SIGCONT)

    def end(self, grace_s: float = 0.0) -> str:
        """Wait for the end, then force it; return how it ended."""
        told = self.process.wait(max(grace_s, 0.0))
        if told is None:
            self.process.kill()
            # A process that waits for a dead file server cannot be killed; it is left behind.
            told = self.process.wait(1.0)
        return told or "does not end"

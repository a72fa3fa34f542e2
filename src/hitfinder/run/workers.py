"""Processes that read frames and find peaks in them, a chunk at a time."""

from __future__ import annotations

import collections
import contextlib
import dataclasses
import logging
import multiprocessing
import os
import signal
from collections.abc import Callable, Iterable, Iterator
from multiprocessing.connection import Connection, wait
from multiprocessing.context import SpawnProcess
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hitfinder import interrupts, logs
from hitfinder.errors import HitfinderError
from hitfinder.finding.peaks import PEAK_DTYPE
from hitfinder.results.binned import bin_size, binned_shape
from hitfinder.results.store import WORKER_DIED, Part, empty_rows
from hitfinder.run.chunks import ChunkFinder, Span, Task

log = logging.getLogger(__name__)

TRIES = 2
"""How often a chunk is given to a process before its frames are given up."""

ENVIRONMENT = {
    # Every core has its own process: threads of libraries would only get in one another's way.
    "OMP_NUM_THREADS": "1",
    "OPENBLAS_NUM_THREADS": "1",
    "MKL_NUM_THREADS": "1",
    "NUMBA_NUM_THREADS": "1",
    # glibc returns buffers of the size of a frame to the kernel and gets them back page by
    # page, which costs more than filling them; let it keep them.
    "MALLOC_MMAP_THRESHOLD_": "268435456",
    "MALLOC_TRIM_THRESHOLD_": "268435456",
    "MALLOC_TOP_PAD_": "67108864",
}

OnPart = Callable[[Part, NDArray], None]


def work(connection: Connection, task: Task, level: int) -> None:
    """Answer chunks that come over a connection until None does: the life of a worker."""
    logs.configure()
    logging.getLogger("hitfinder").setLevel(level)
    with contextlib.suppress(EOFError, BrokenPipeError, ConnectionResetError):
        try:
            with task.source:
                finder = ChunkFinder(task)
                while (span := connection.recv()) is not None:
                    connection.send(finder.find(span))
        except HitfinderError as error:
            connection.send(error)
        except (EOFError, BrokenPipeError, ConnectionResetError):
            raise
        except Exception as error:
            log.debug("worker", exc_info=True)
            connection.send(HitfinderError(f"{type(error).__name__}: {error}", "worker process"))


@dataclasses.dataclass
class _Worker:
    process: SpawnProcess
    connection: Connection
    span: Span


class Pool:
    """Worker processes, one chunk in the hands of each.

    Parameters
    ----------
    task : Task
        What is pickled to every worker.
    n_workers : int
        Number of processes.
    """

    def __init__(self, task: Task, n_workers: int) -> None:
        self._task, self._n_workers = task, n_workers
        self._workers: list[_Worker] = []
        self._context = multiprocessing.get_context("spawn")

    def run(self, spans: Iterable[Span], on_part: OnPart) -> None:
        """Have every chunk processed.

        Chunks finish in any order; a chunk whose process dies goes to one more process, then its
        frames get the status ``worker-died``.

        Parameters
        ----------
        spans : iterable of (int, int)
            First frame of each chunk and the one after its last.
        on_part : callable
            Called in this process with each finished `Part` and its binned image.

        Raises
        ------
        HitfinderError
            If a worker cannot work at all.
        """
        waiting = collections.deque(spans)
        tries: collections.Counter[Span] = collections.Counter()
        try:
            while waiting or self._workers:
                while waiting and len(self._workers) < self._n_workers:
                    self._start(waiting.popleft())
                ready = wait([worker.connection for worker in self._workers])
                for worker in [w for w in self._workers if w.connection in ready]:
                    try:
                        answer = worker.connection.recv()
                    except (EOFError, OSError):
                        self._bury(worker, tries, waiting, on_part)
                        continue
                    if isinstance(answer, HitfinderError):
                        raise answer
                    # Hand out the next chunk first, so that the worker need not wait.
                    self._next(worker, waiting)
                    on_part(*answer)
        finally:
            self._stop()

    def _start(self, span: Span) -> None:
        ours, theirs = self._context.Pipe()
        level = logging.getLogger("hitfinder").level
        process = self._context.Process(target=work, args=(theirs, self._task, level), daemon=True)
        with environment(ENVIRONMENT), interrupts.held():
            process.start()
        theirs.close()
        self._workers.append(_Worker(process, ours, span))
        with contextlib.suppress(BrokenPipeError):
            ours.send(span)

    def _next(self, worker: _Worker, waiting: collections.deque[Span]) -> None:
        if waiting:
            worker.span = waiting.popleft()
            with contextlib.suppress(BrokenPipeError):
                worker.connection.send(worker.span)
            return
        with contextlib.suppress(BrokenPipeError):
            worker.connection.send(None)
        self._workers.remove(worker)
        worker.process.join()
        worker.connection.close()

    def _bury(
        self,
        worker: _Worker,
        tries: collections.Counter[Span],
        waiting: collections.deque[Span],
        on_part: OnPart,
    ) -> None:
        """Take note of a dead worker, and put its chunk in line again or give it up."""
        self._workers.remove(worker)
        worker.process.join()
        worker.connection.close()
        (start, stop), tries[worker.span] = worker.span, tries[worker.span] + 1
        why = _cause(worker.process.exitcode)
        where = f"frames {start} to {stop - 1}"
        if tries[worker.span] < TRIES:
            log.warning("a worker died (%s) at %s; trying them once more", why, where)
            waiting.append(worker.span)
            return
        log.error("a worker died (%s) at %s again; giving them up", why, where)
        on_part(*_lost(self._task, worker.span, why))

    def _stop(self) -> None:
        for worker in self._workers:
            worker.process.kill()
        for worker in self._workers:
            worker.process.join()
            worker.connection.close()
        self._workers.clear()


def _lost(task: Task, span: Span, why: str) -> tuple[Part, NDArray[Any]]:
    """Results of a chunk that killed its workers."""
    start, stop = span
    shape = task.source.shape
    image = np.zeros(binned_shape(shape, bin_size(shape)), np.int64)
    rows = empty_rows(stop - start, WORKER_DIED)
    problems = dict.fromkeys(range(start, stop), f"the worker process died: {why}")
    return Part(start, rows, np.empty(0, PEAK_DTYPE), np.zeros((2, 0)), problems), image


def _cause(exit_code: int | None) -> str:
    if exit_code is not None and exit_code < 0:
        name = signal.Signals(-exit_code).name
        return f"{name}, perhaps for want of memory" if name == "SIGKILL" else name
    return f"exit code {exit_code}"


@contextlib.contextmanager
def environment(variables: dict[str, str]) -> Iterator[None]:
    """Set environment variables that are not set yet, for the time of the block."""
    added = {name: value for name, value in variables.items() if name not in os.environ}
    os.environ.update(added)
    try:
        yield
    finally:
        for name in added:
            del os.environ[name]

"""Frames of a simulation in order, made by one process or several."""

from __future__ import annotations

import contextlib
import multiprocessing
import os
from collections.abc import Iterator
from multiprocessing.connection import Connection
from multiprocessing.shared_memory import SharedMemory

import numpy as np
from numpy.typing import NDArray

from hitfinder import interrupts
from hitfinder.errors import HitfinderError
from hitfinder.simulate.simulator import SimulatedFrame, Simulator

SLOTS = 3
"""Frames each worker may be ahead."""


def available_cores() -> int:
    """Return the number of cores this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


@contextlib.contextmanager
def simulated_frames(
    simulator: Simulator, n: int, workers: int = 1, start: int = 0
) -> Iterator[Iterator[SimulatedFrame]]:
    """Give frames in order; the frames are the same whatever the number of workers.

    Parameters
    ----------
    simulator : Simulator
        What makes them.
    n : int
        Number of frames.
    workers : int
        Processes; 1 works in this one.
    start : int
        Number of the first frame.

    Yields
    ------
    iterator of SimulatedFrame
        The counts of a frame are overwritten once the next one is asked for.

    Raises
    ------
    ValueError
        If there is no worker.
    HitfinderError
        From the iterator, if a worker ends before its work is done.
    """
    if workers < 1:
        raise ValueError(f"workers must be at least 1, got {workers}")
    workers = min(workers, max(n, 1))
    if workers == 1:
        yield simulator.frames(n, start, reuse=True)
        return
    with contextlib.ExitStack() as stack:
        team = [
            stack.enter_context(_Worker(simulator, w, workers, n, start)) for w in range(workers)
        ]
        yield _in_order(team, n)


def _in_order(team: list[_Worker], n: int) -> Iterator[SimulatedFrame]:
    for number in range(n):
        yield from team[number % len(team)].next()


class _Worker:
    """A process that makes every so manieth frame in shared memory."""

    def __init__(self, simulator: Simulator, index: int, step: int, n: int, start: int) -> None:
        self._shape, self._dtype = simulator.shape, simulator.dtype
        size = int(np.prod(self._shape)) * self._dtype.itemsize
        self._memory = SharedMemory(create=True, size=SLOTS * size)
        # Started anew, not forked: a forked process would share locks and threads of libraries.
        context = multiprocessing.get_context("spawn")
        self._connection, theirs = context.Pipe()
        numbers = range(start + index, start + n, step)
        arguments = (simulator, numbers, self._memory.name, theirs)
        self._process = context.Process(target=_work, args=arguments, daemon=True)
        with interrupts.held():
            self._process.start()
        theirs.close()
        self._slots = _slots(self._memory, self._shape, self._dtype)

    def next(self) -> Iterator[SimulatedFrame]:
        """Yield the worker's next frame, and give its memory back afterwards."""
        try:
            answer = self._connection.recv()
        except (EOFError, OSError) as error:
            raise HitfinderError(
                "a worker process ended before its frames were done",
                hint="It may have run out of memory: try fewer --workers.",
            ) from error
        if isinstance(answer, Exception):
            raise answer
        slot, truth, shot = answer
        yield SimulatedFrame(self._slots[slot], truth, shot)
        # The worker may have ended already, with nothing more to do.
        with contextlib.suppress(OSError):
            self._connection.send(slot)

    def __enter__(self) -> _Worker:
        return self

    def __exit__(self, *exc_info: object) -> None:
        self._connection.close()
        self._process.join(timeout=10)
        if self._process.is_alive():
            self._process.terminate()
            self._process.join()
        self._slots = []
        self._memory.close()
        self._memory.unlink()


def _slots(memory: SharedMemory, shape: tuple[int, int], dtype: np.dtype) -> list[NDArray]:
    frames = np.ndarray((SLOTS, *shape), dtype, memory.buf)
    return list(frames)


def _work(simulator: Simulator, numbers: range, memory_name: str, connection: Connection) -> None:
    """Make frames into free slots until all are done or nobody listens any more."""
    memory = SharedMemory(memory_name)
    slots = _slots(memory, simulator.shape, simulator.dtype)
    free = list(range(SLOTS))
    try:
        for number in numbers:
            while not free or connection.poll():
                free.append(connection.recv())
            slot = free.pop(0)
            try:
                frame = simulator.frame(number, slots[slot])
            except Exception as error:
                connection.send(error)
                return
            connection.send((slot, frame.truth, frame.shot))
        while True:
            connection.recv()
    except (EOFError, OSError):
        return
    finally:
        slots.clear()
        with contextlib.suppress(BufferError):
            memory.close()

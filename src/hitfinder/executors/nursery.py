"""The process from which workers are forked, seen from the one that wants them.

It is started as a program of its own, imports what workers need, and does nothing else: it has no
threads and no open files, so that a fork of it shares no lock that is held and nothing half
written. What it has imported its workers have at once, and all of them keep it in memory once.
"""

from __future__ import annotations

import contextlib
import itertools
import os
import select
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Sequence

from hitfinder import interrupts
from hitfinder.executors.forking import MESSAGE, Said

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
"""Set for workers, where the user has set nothing."""

SHARED = "hitfinder."
"""Beginning of the names of modules that are imported before a fork, unless they start threads."""

_SEND_S, _PID_S = 60.0, 60.0
"""Longest time to ask for a worker, and to learn its process number: others may use the cores."""

_GRACE_S = 1.0
_CODE = (
    "import sys; sys.path[:] = {path!r}; from hitfinder.executors.forking import main; "
    "main({fd}, {parent}, sys.argv[1:])"
)


class Nursery:
    """The process from which workers are forked; it ends when it is closed, and they with it.

    Parameters
    ----------
    modules : sequence of str
        What workers import. Those of this package are imported once for all.

    Raises
    ------
    OSError
        If it cannot be started.
    """

    def __init__(self, modules: Sequence[str]) -> None:
        shared = [name for name in modules if name.startswith(SHARED)]
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        code = _CODE.format(path=sys.path, fd=theirs.fileno(), parent=os.getpid())
        try:
            # Ctrl-C in a terminal goes to the workers too, but the parent decides what it means.
            with theirs, interrupts.held():
                self.process = subprocess.Popen(
                    [sys.executable, "-c", code, *shared],
                    stdin=subprocess.DEVNULL,
                    pass_fds=[theirs.fileno()],
                    env={**ENVIRONMENT, **os.environ},
                )
        except OSError:
            ours.close()
            raise
        ours.settimeout(_SEND_S)
        self._socket, self._numbers = ours, itertools.count()
        self._pids: dict[int, int] = {}
        self._ends: dict[int, tuple[int, str]] = {}
        self._is_gone = False

    @property
    def is_alive(self) -> bool:
        """Whether it runs, so that it can be asked for a worker."""
        return not self._is_gone and self.process.poll() is None

    def fork(self, end: socket.socket) -> Forked:
        """Have a worker forked that answers at this end of a socket.

        Raises
        ------
        OSError
            If nobody can be asked for one.
        """
        number = next(self._numbers)
        message = MESSAGE.pack(Said.FORK, number, 0)
        socket.send_fds(self._socket, [message], [end.fileno()])
        return Forked(self, number)

    def send_signal(self, number: int, signal_number: int) -> None:
        """Send a signal to a worker, unless it has ended."""
        with contextlib.suppress(OSError):
            self._socket.send(MESSAGE.pack(Said.SIGNAL, number, signal_number))

    def pid(self, number: int, timeout_s: float = 0.0) -> int | None:
        """Return the process number of a worker; None if it is not forked within a time."""
        self._listen(lambda: number in self._pids or number in self._ends, timeout_s)
        return self._pids.get(number)

    def end_of(self, number: int, timeout_s: float = 0.0) -> tuple[int, str] | None:
        """Return the exit code of a worker and how it ended; None if it has not within a time."""
        self._listen(lambda: number in self._ends, timeout_s)
        if self._is_gone and number not in self._ends:
            # A worker cannot outlive it.
            code = self._wait(_GRACE_S)
            self._ends[number] = code, _cause(code)
        return self._ends.get(number)

    def _listen(self, is_enough: Callable[[], bool], timeout_s: float) -> None:
        """Take in what it says of its workers until that is enough, or for a time."""
        until, poll = time.monotonic() + timeout_s, select.poll()
        while not (is_enough() or self._is_gone):
            poll.register(self._socket, select.POLLIN)
            if not poll.poll(1e3 * max(until - time.monotonic(), 0.0)):
                return
            self._take_in()

    def _take_in(self) -> None:
        try:
            said = self._socket.recv(MESSAGE.size)
        except OSError:
            said = b""
        if not said:
            self._is_gone = True
            return
        what, number, value = MESSAGE.unpack(said)
        if what == Said.FORKED:
            self._pids[number] = value
        elif what == Said.NOT_FORKED:
            self._ends[number] = value, os.strerror(value)
        else:
            code = os.waitstatus_to_exitcode(value)
            self._ends[number] = code, _cause(code)

    def close(self) -> None:
        """End it, and workers that have not ended."""
        self._is_gone = True
        self._socket.close()
        self._wait(_GRACE_S)

    def _wait(self, grace_s: float) -> int:
        """Wait for its end, then force it; return the exit code."""
        with contextlib.suppress(subprocess.TimeoutExpired):
            return self.process.wait(grace_s)
        self.process.kill()
        # A process that waits for a dead file server cannot be killed; it is left behind.
        with contextlib.suppress(subprocess.TimeoutExpired):
            return self.process.wait(_GRACE_S)
        return -signal.SIGKILL


class Forked:
    """A worker process that a `Nursery` has forked, or is to fork.

    Parameters
    ----------
    nursery : Nursery
        That process.
    number : int
        Which of its workers this is.
    """

    def __init__(self, nursery: Nursery, number: int) -> None:
        self._nursery, self._number = nursery, number

    @property
    def pid(self) -> int:
        """Process number, which is waited for.

        Raises
        ------
        OSError
            If it is not forked.
        """
        found = self._nursery.pid(self._number, _PID_S)
        if found is None:
            raise OSError("the worker is not forked")
        return found

    @property
    def at_work(self) -> int:
        """Process number, or that of the nursery as long as the worker is not forked."""
        return self._nursery.pid(self._number) or self._nursery.process.pid

    @property
    def processor_s(self) -> float | None:
        """Processor time used by what is at work, in s; None where it is not told."""
        try:
            with open(f"/proc/{self.at_work}/stat", encoding="utf-8", errors="replace") as file:
                fields = file.read().rpartition(")")[2].split()
        except OSError:
            return None
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def poll(self) -> int | None:
        """Return the exit code, negative for a signal; None if it has not ended."""
        end = self._nursery.end_of(self._number)
        return None if end is None else end[0]

    def wait(self, timeout_s: float) -> str | None:
        """Wait for the end and return how it ended; None if it has not within a time."""
        end = self._nursery.end_of(self._number, timeout_s)
        return None if end is None else end[1]

    def send_signal(self, signal_number: int) -> None:
        """Send a signal, unless it has ended."""
        self._nursery.send_signal(self._number, signal_number)

    def kill(self) -> None:
        """Force it to end, unless it has ended."""
        self.send_signal(signal.SIGKILL)


def _cause(exit_code: int) -> str:
    if exit_code >= 0:
        return f"exit code {exit_code}"
    name = signal.Signals(-exit_code).name
    return f"{name}, perhaps for want of memory" if name == "SIGKILL" else name

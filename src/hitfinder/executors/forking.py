"""The life of the process from which workers are forked: it imports, forks, and tells of ends."""

from __future__ import annotations

import contextlib
import gc
import os
import signal
import socket
import struct
import sys
import traceback
from collections.abc import Sequence
from types import FrameType

from hitfinder.executors import worker
from hitfinder.lazy import import_all

MESSAGE = struct.Struct("<cqq")
"""What either side says: one of `Said`, the number of a worker, and a value."""


class Said:
    """What a message is.

    Attributes
    ----------
    FORK, SIGNAL : bytes
        To the process: fork a worker, whose socket goes with it; send a worker the signal of the
        value.
    FORKED, NOT_FORKED, ENDED : bytes
        From the process: the worker's process number, the number of the error for which there is
        none, and the status with which it ended.
    """

    FORK, SIGNAL = b"f", b"s"
    FORKED, NOT_FORKED, ENDED = b"F", b"N", b"E"


def main(descriptor: int, parent: int, modules: Sequence[str]) -> None:
    """Fork workers as they are asked for, until the other end of a socket is closed.

    Parameters
    ----------
    descriptor : int
        Number of the socket.
    parent : int
        Process number of the one at the other end, with which this process ends.
    modules : sequence of str
        What to import before, the last arguments of the command. Workers import them themselves
        if they start threads.
    """
    worker.end_with(parent)
    import_all(modules)
    if modules and len(os.listdir("/proc/self/task")) > 1:
        # A fork would lack the other threads, and have the locks that they hold: begin again
        # without what has started them. What was said on the socket waits there.
        os.execv(sys.executable, sys.orig_argv[: -len(modules)])
    # Collected once, and left alone then: what is not touched is not copied for a worker.
    gc.collect()
    gc.freeze()
    with socket.socket(fileno=descriptor) as control:
        _Forks(control).serve()
    # There is nothing to clean up, and to take all modules down takes a while.
    os._exit(0)


class _Forks:
    """Forks workers, and keeps their numbers."""

    def __init__(self, control: socket.socket) -> None:
        self._control = control
        self._pids: dict[int, int] = {}

    def serve(self) -> None:
        """Do what is asked."""
        signal.signal(signal.SIGCHLD, self._tell_ends)
        while True:
            try:
                said, ends, _, _ = socket.recv_fds(self._control, MESSAGE.size, 1)
            except ConnectionResetError:
                # The other end was killed before it read what was told.
                return
            if not said:
                return
            what, number, value = MESSAGE.unpack(said)
            if what == Said.FORK:
                self._fork(number, ends[0])
            elif number in self._pids:
                os.kill(self._pids[number], value)

    def _fork(self, number: int, end: int) -> None:
        # The end of a worker is told when its number is known.
        signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGCHLD})
        try:
            pid = os.fork()
        except OSError as error:
            self._tell(Said.NOT_FORKED, number, error.errno or 0)
        else:
            if pid == 0:
                self._live(end)
            self._pids[number] = pid
            self._tell(Said.FORKED, number, pid)
        finally:
            os.close(end)
            signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGCHLD})

    def _live(self, end: int) -> None:
        """Be a worker, and end."""
        code = 1
        try:
            self._control.close()
            signal.signal(signal.SIGCHLD, signal.SIG_DFL)
            signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGCHLD})
            worker.main(end)
            code = 0
        except BaseException:
            traceback.print_exc()
        finally:
            with contextlib.suppress(OSError):
                sys.stdout.flush()
                sys.stderr.flush()
            os._exit(code)

    def _tell_ends(self, number: int, frame: FrameType | None) -> None:
        """Tell of all workers that have ended."""
        for one, pid in list(self._pids.items()):
            with contextlib.suppress(ChildProcessError):
                ended, status = os.waitpid(pid, os.WNOHANG)
                if ended:
                    del self._pids[one]
                    self._tell(Said.ENDED, one, status)

    def _tell(self, what: bytes, number: int, value: int) -> None:
        # Whoever is gone needs to know nothing.
        with contextlib.suppress(OSError):
            self._control.send(MESSAGE.pack(what, number, value))

"""The life of a worker process: work comes over a socket, then tasks, and results go back."""

from __future__ import annotations

import _thread
import contextlib
import ctypes
import dataclasses
import gc
import io
import logging
import os
import pickle
import runpy
import signal
import socket
import sys
import threading
import time
import types
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from types import FrameType
from typing import Any

from hitfinder import logs
from hitfinder.errors import HitfinderError, ShortMemoryError, is_short_of_memory
from hitfinder.executors.channel import Message, Tag, receive, send
from hitfinder.lazy import import_all

log = logging.getLogger(__name__)

MAIN_AGAIN = "__mp_main__"
"""What a worker calls the script that its parent runs, as `multiprocessing` does; a script tells
the two apart by ``if __name__ == "__main__"``."""

_ASK_AGAIN_S = 0.01
_PARENT_DEATH_SIGNAL = 1
"""PR_SET_PDEATHSIG of Linux' prctl(2)."""


@dataclasses.dataclass(frozen=True)
class Hello:
    """What a worker is told first.

    Attributes
    ----------
    log_level : int
        Of the package's log.
    main_path, main_module : str, optional
        Where the parent's main script is, or its name if it was started by ``python -m``.
    parent : int
        Process number of the parent.
    path : tuple of str
        Where modules are found.
    modules : tuple of str
        What to import before there is work.
    """

    log_level: int
    main_path: str | None
    main_module: str | None
    parent: int
    path: tuple[str, ...]
    modules: tuple[str, ...] = ()

    @classmethod
    def of(cls, parent: int, modules: Sequence[str]) -> Hello:
        """Return what a worker of this process is told whose parent is another one."""
        main = sys.modules["__main__"]
        # What comes back may be of a class that the worker knows by this name.
        sys.modules.setdefault(MAIN_AGAIN, main)
        spec: Any = getattr(main, "__spec__", None)
        path = getattr(main, "__file__", None)
        return cls(
            logging.getLogger("hitfinder").level,
            None if path is None else os.path.abspath(path),
            None if spec is None else spec.name,
            parent,
            tuple(sys.path),
            tuple(modules),
        )


class Stopped(BaseException):
    """The parent asks for an end; raised within a task, so that it can clean up."""


_hello: Hello | None = None


def is_worker() -> bool:
    """Whether this process is a worker itself."""
    return _hello is not None


def main(descriptor: int) -> None:
    """Answer what comes over a socket until its other end is closed.

    Parameters
    ----------
    descriptor : int
        The socket's number.
    """
    # The parent started this process with it held back; Ctrl-C stays so.
    signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGTERM})
    end = socket.socket(fileno=descriptor)
    try:
        with _asked_again(), contextlib.suppress(BrokenPipeError, ConnectionResetError):
            message = receive(end)
            if message is not None:
                _begin(pickle.loads(message[1]))
                _serve(end)
    except Stopped:
        # What it was at has cleaned up; nothing else is worth the time.
        os._exit(128 + signal.SIGTERM)


def _begin(hello: Hello) -> None:
    global _hello
    _hello = hello
    sys.path[:] = hello.path
    logs.configure()
    logging.getLogger("hitfinder").setLevel(hello.log_level)
    # A worker whose parent is killed must not write to files that the next run writes.
    end_with(hello.parent)
    # Where memory is short the kernel ends one that is easily replaced, not its parent.
    with contextlib.suppress(OSError):
        Path("/proc/self/oom_score_adj").write_text("500")
    import_all(hello.modules)


def end_with(parent: int) -> None:
    """End this process when its parent ends, now if it has ended already.

    Parameters
    ----------
    parent : int
        Process number of the parent.
    """
    ctypes.CDLL(None).prctl(_PARENT_DEATH_SIGNAL, signal.SIGKILL)
    if os.getppid() != parent:
        os._exit(1)


def _serve(end: socket.socket) -> None:
    """Do one work after another."""
    message = receive(end)
    try:
        while message is not None:
            work, message = _Unpickler(io.BytesIO(message[1])).load(), None
            with work.opened() as do:
                send(end, Tag.READY)
                message = _do_tasks(end, do)
            # Its buffers, held in circles too, are freed before the next work makes its own.
            del do, work
            gc.collect()
    except (BrokenPipeError, ConnectionResetError):
        raise
    except Exception as error:
        log.debug("worker process", exc_info=True)
        send(end, Tag.ERROR, pickled_error(error))


def _do_tasks(end: socket.socket, do: Callable[[Any], Any]) -> Message | None:
    """Do tasks until there is other work, which is returned, or an end."""
    while (message := receive(end)) is not None and message[0] is Tag.TASK:
        with _stoppable():
            result = do(_Unpickler(io.BytesIO(message[1])).load())
        send(end, Tag.RESULT, pickle.dumps(result, pickle.HIGHEST_PROTOCOL))
    return message


@contextlib.contextmanager
def _stoppable() -> Iterator[None]:
    """Let a request for an end raise `Stopped` in the block; elsewhere it ends the process."""
    before = signal.signal(signal.SIGTERM, _stop)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def _stop(number: int, frame: FrameType | None) -> None:
    # Whatever cleans up must not be stopped by a second request.
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    raise Stopped


@contextlib.contextmanager
def _asked_again() -> Iterator[None]:
    """Ask for an end once more, for the time of the block, when what it stops ignores it.

    Python reports what a finaliser or the callback of a weak reference raises to
    `sys.unraisablehook` and goes on, so that the request would be lost there.
    """
    before = sys.unraisablehook

    def report(ignored: sys.UnraisableHookArgs) -> None:
        if not issubclass(ignored.exc_type, Stopped):
            before(ignored)
        elif signal.getsignal(signal.SIGTERM) is signal.SIG_IGN:
            signal.signal(signal.SIGTERM, _stop)
            # Only later: this runs within that which ignores it.
            _thread.start_new_thread(_ask_main_thread, ())

    sys.unraisablehook = report
    try:
        yield
    finally:
        sys.unraisablehook = before


def _ask_main_thread() -> None:
    time.sleep(_ASK_AGAIN_S)
    main_thread = threading.main_thread().ident
    assert main_thread is not None
    signal.pthread_kill(main_thread, signal.SIGTERM)


def pickled_error(error: Exception) -> bytes:
    """Return an error as it can be sent; one that cannot be is told in words."""
    if is_short_of_memory(error):
        error = ShortMemoryError("worker process")
    elif not isinstance(error, HitfinderError):
        error = HitfinderError(f"{type(error).__name__}: {error}", "worker process")
    try:
        content = pickle.dumps(error)
        pickle.loads(content)
    except Exception:
        return pickle.dumps(HitfinderError(str(error)))
    return content


class _Unpickler(pickle.Unpickler):
    """Finds what the parent's main script defines by running that script, if need be."""

    def find_class(self, module_name: str, global_name: str) -> Any:
        if module_name == "__main__" and MAIN_AGAIN not in sys.modules:
            _import_main()
        return super().find_class(module_name, global_name)


def _import_main() -> None:
    assert _hello is not None
    main = types.ModuleType(MAIN_AGAIN)
    sys.modules[MAIN_AGAIN] = main
    if _hello.main_module is not None:
        found = runpy.run_module(_hello.main_module, run_name=MAIN_AGAIN, alter_sys=True)
    elif _hello.main_path is not None:
        found = runpy.run_path(_hello.main_path, run_name=MAIN_AGAIN)
    else:
        return
    main.__dict__.update(found)
    sys.modules["__main__"] = main

"""Ctrl-C: that none is lost, and that with several processes the parent decides what it means."""

from __future__ import annotations

import _thread
import contextlib
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from multiprocessing import resource_tracker
from types import FrameType
from typing import TypeVar

T = TypeVar("T")

_CTRL_C = {signal.SIGINT}
_REPEAT_AFTER_S = 0.01


@contextlib.contextmanager
def repeated() -> Iterator[None]:
    """Send Ctrl-C again, for the time of the block, whenever what it interrupts ignores it.

    Python reports what a finaliser or the callback of a weak reference raises to
    `sys.unraisablehook` and goes on, so that a Ctrl-C would be lost there.
    """
    before = sys.unraisablehook

    def report(ignored: sys.UnraisableHookArgs) -> None:
        if issubclass(ignored.exc_type, KeyboardInterrupt):
            # Only later: the hook runs within that which ignores it.
            _thread.start_new_thread(_interrupt_main_thread, ())
        else:
            before(ignored)

    sys.unraisablehook = report
    try:
        yield
    finally:
        sys.unraisablehook = before


def _interrupt_main_thread() -> None:
    # A shell's background job ignores Ctrl-C: what stopped it was the other signal.
    ignores_ctrl_c = signal.getsignal(signal.SIGINT) is signal.SIG_IGN
    time.sleep(_REPEAT_AFTER_S)
    main = threading.main_thread().ident
    assert main is not None
    signal.pthread_kill(main, signal.SIGTERM if ignores_ctrl_c else signal.SIGINT)


@contextlib.contextmanager
def held() -> Iterator[None]:
    """Hold Ctrl-C back for the time of the block, and from processes started in it for ever."""
    # Started with the first process otherwise, it lets Ctrl-C through again.
    resource_tracker.ensure_running()
    before = signal.pthread_sigmask(signal.SIG_BLOCK, _CTRL_C)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def interruptible(function: Callable[..., T], *arguments: object) -> T:
    """Call a function in a process that was started with Ctrl-C `held`, which may stop it.

    Once stopped, every later call stops at once.

    Raises
    ------
    KeyboardInterrupt
        If it was stopped; what cleans up after it is not stopped again.
    """
    signal.signal(signal.SIGINT, _stop)
    try:
        signal.pthread_sigmask(signal.SIG_UNBLOCK, _CTRL_C)
        return function(*arguments)
    finally:
        signal.pthread_sigmask(signal.SIG_BLOCK, _CTRL_C)


def _stop(number: int, frame: FrameType | None) -> None:
    signal.pthread_sigmask(signal.SIG_BLOCK, _CTRL_C)
    signal.raise_signal(signal.SIGINT)
    raise KeyboardInterrupt

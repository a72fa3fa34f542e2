"""Ctrl-C and the request to end (SIGTERM): that they mean the same, and that none is lost."""

from __future__ import annotations

import _thread
import contextlib
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from types import FrameType

_REQUESTS = {signal.SIGINT, signal.SIGTERM}
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
    """Hold both back for the time of the block, and from processes started in it for ever."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, _REQUESTS)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


@contextlib.contextmanager
def handled_as_before() -> Iterator[None]:
    """Leave as it is what both do, whatever is set by the modules that the block imports."""
    before = {number: signal.getsignal(number) for number in _REQUESTS}
    try:
        yield
    finally:
        for number, handler in before.items():
            if handler is not None and signal.getsignal(number) != handler:
                signal.signal(number, handler)


@contextlib.contextmanager
def deferred() -> Iterator[None]:
    """Let both wait until the block is done, so that it is done whole or not at all.

    Unlike `held` it needs no other thread to hold signals back: they may come to any, but what
    Python makes of them happens in the main thread, where alone this does something.
    """
    came: list[int] = []
    with _handled(_REQUESTS, lambda number, frame: came.append(number)):
        yield
    for first in came[:1]:
        signal.raise_signal(first)


@contextlib.contextmanager
def terminate_as_interrupt() -> Iterator[None]:
    """Treat the signal with which batch systems end a job (SIGTERM) like Ctrl-C."""

    def interrupt(number: int, frame: FrameType | None) -> None:
        raise KeyboardInterrupt

    with _handled({signal.SIGTERM}, interrupt):
        yield


@contextlib.contextmanager
def _handled(
    numbers: Iterable[signal.Signals], handler: Callable[[int, FrameType | None], None]
) -> Iterator[None]:
    """Have signals handled so for the time of the block, if this is the main thread."""
    try:
        before = {number: signal.signal(number, handler) for number in numbers}
    except ValueError:  # not in the main thread
        yield
        return
    try:
        yield
    finally:
        for number, own in before.items():
            signal.signal(number, own)

"""Ctrl-C with several processes: a terminal sends it to all, the parent decides what it means."""

from __future__ import annotations

import contextlib
import signal
from collections.abc import Callable, Iterator
from multiprocessing import resource_tracker
from types import FrameType
from typing import TypeVar

T = TypeVar("T")

_CTRL_C = {signal.SIGINT}


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

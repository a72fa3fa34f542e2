"""How far a job is: a bar on a terminal, a line now and then elsewhere."""

from __future__ import annotations

import contextlib
import logging
import sys
import time
from collections.abc import Iterator
from typing import Protocol

log = logging.getLogger(__name__)

SECONDS_BETWEEN_LINES = 10.0


class Advance(Protocol):
    """What is told of progress."""

    def __call__(self, n: int, note: str = "") -> None:
        """Tell that `n` more are done, and what else is to be shown so far."""


@contextlib.contextmanager
def counting(what: str, total: int) -> Iterator[Advance]:
    """Show progress on standard error while the body works, unless the log is turned down.

    Parameters
    ----------
    what : str
        What is counted, such as ``frames``.
    total : int
        How many there are.

    Yields
    ------
    Advance
        The first call of a job that goes on tells what was done before.
    """
    if not log.isEnabledFor(logging.INFO):
        yield _silent
    elif sys.stderr.isatty():
        with _bar(what, total) as advance:
            yield advance
    else:
        yield _LoggedCount(what, total)


def _silent(n: int, note: str = "") -> None:
    pass


@contextlib.contextmanager
def _bar(what: str, total: int) -> Iterator[Advance]:
    from rich.console import Console
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        Progress,
        TextColumn,
        TimeRemainingColumn,
    )

    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("{task.fields[rate]}  [green]{task.fields[note]}[/]"),
        TimeRemainingColumn(),
    )
    rate = _Rate()
    with Progress(*columns, console=Console(stderr=True), transient=True) as shown:
        task = shown.add_task(what, total=total, rate="", note="")

        def advance(n: int, note: str = "") -> None:
            rate.add(n)
            shown.update(task, advance=n, rate=f"{rate.per_second:.1f}/s", note=note)

        yield advance


class _LoggedCount:
    def __init__(self, what: str, total: int) -> None:
        self._what, self._total, self._rate = what, total, _Rate()
        self._next = time.monotonic() + SECONDS_BETWEEN_LINES

    def __call__(self, n: int, note: str = "") -> None:
        self._rate.add(n)
        now = time.monotonic()
        if now < self._next:
            return
        self._next = now + SECONDS_BETWEEN_LINES
        done, speed = self._rate.done, self._rate.per_second
        told = [f"{done} of {self._total} {self._what}", *([note] if note else [])]
        if speed:
            told += [f"{speed:.1f}/s", f"{(self._total - done) / speed:.0f} s left"]
        log.info("%s", ", ".join(told))


class _Rate:
    """How many a second since the first were done; what comes before is no measure of the rest."""

    def __init__(self) -> None:
        self.done, self.per_second = 0, 0.0
        self._calls = 0
        self._began = (0.0, 0)

    def add(self, n: int) -> None:
        """Count `n` more."""
        self.done += n
        now, self._calls = time.monotonic(), self._calls + 1
        if self._calls <= 2:
            self._began = now, self.done
        elif now > self._began[0]:
            self.per_second = (self.done - self._began[1]) / (now - self._began[0])

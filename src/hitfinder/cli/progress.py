"""How far a job is: a bar on a terminal, a line now and then elsewhere."""

from __future__ import annotations

import contextlib
import logging
import sys
import time
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from hitfinder.inference.store import Counts

log = logging.getLogger(__name__)

OnProgress = Callable[["Counts"], None]

SECONDS_BETWEEN_LINES = 10.0


@contextlib.contextmanager
def progress(n_frames: int) -> Iterator[OnProgress]:
    """Show the progress of a job for the time of the block.

    Parameters
    ----------
    n_frames : int
        Frames of the job.

    Yields
    ------
    callable
        To be called with the counts so far; the first call tells what was done before.
    """
    if not log.isEnabledFor(logging.INFO):
        yield lambda counts: None
    elif sys.stderr.isatty():
        with _bar(n_frames) as show:
            yield show
    else:
        yield _Lines(n_frames)


@contextlib.contextmanager
def _bar(n_frames: int) -> Iterator[OnProgress]:
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
        TextColumn("{task.fields[rate]}  [green]{task.fields[hits]} hits[/]{task.fields[bad]}"),
        TimeRemainingColumn(),
    )
    rate = _Rate()
    with Progress(*columns, console=Console(stderr=True)) as shown:
        task = shown.add_task("finding peaks", total=n_frames, rate="", hits=0, bad="")

        def show(counts: Counts) -> None:
            bad = f"  [red]{counts.problems} unreadable[/]" if counts.problems else ""
            shown.update(
                task,
                completed=counts.frames,
                rate=f"{rate(counts.frames):.1f} frames/s",
                hits=counts.hits,
                bad=bad,
            )

        yield show


class _Lines:
    def __init__(self, n_frames: int) -> None:
        self._n_frames, self._rate = n_frames, _Rate()
        self._next = time.monotonic() + SECONDS_BETWEEN_LINES

    def __call__(self, counts: Counts) -> None:
        rate, now = self._rate(counts.frames), time.monotonic()
        if now < self._next:
            return
        self._next = now + SECONDS_BETWEEN_LINES
        how_fast = ""
        if rate:
            left = (self._n_frames - counts.frames) / rate
            how_fast = f", {rate:.1f} frames/s, {left:.0f} s left"
        log.info("%d of %d frames, %d hits%s", counts.frames, self._n_frames, counts.hits, how_fast)


class _Rate:
    """Frames per second since the first were done; what comes before is no measure of the rest."""

    def __init__(self) -> None:
        self._before: int | None = None
        self._began: tuple[float, int] | None = None

    def __call__(self, frames: int) -> float:
        now = time.monotonic()
        if self._before is None:
            self._before = frames
        if self._began is None:
            if frames > self._before:
                self._began = now, frames
            return 0.0
        seconds = now - self._began[0]
        return (frames - self._began[1]) / seconds if seconds > 0 else 0.0

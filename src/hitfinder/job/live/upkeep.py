"""Keeps the folder of a live run readable and its files few, beside the flow of the frames."""

from __future__ import annotations

import bisect
import logging
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Self

from hitfinder.job.live.kept import Shards
from hitfinder.results.chunk import Counts
from hitfinder.results.store import Store

log = logging.getLogger(__name__)

TABLES_EVERY_S, TABLES_SHARE = 5.0, 50
"""The tables are written so often, or less often if that takes more than this part of the time."""

JOINED = 32
"""Chunks that follow one another, of one size, are joined when there are so many."""

SIZES = (256, 4096)
"""Frames from which on a chunk is of the next size; those of the last size stay as they are."""

_LOOK_AGAIN_S = 1.0


class Upkeep:
    """Writes the tables now and then and joins small files, in a thread of its own.

    It is a context manager. However long a run is, frames do not wait for its tables, and there are
    some dozens of files, and one more for thousands of frames, instead of one for each few frames.

    Parameters
    ----------
    folder : Path
        Folder of the run.
    store : Store
        Where results are kept.
    write_tables : callable
        Writes the tables of what was found so far; given what is set when it is to stop.
    """

    def __init__(
        self, folder: Path, store: Store, write_tables: Callable[[threading.Event], None]
    ) -> None:
        self._store, self._write_tables = store, write_tables
        self._shards = Shards(folder)
        self._tables_at = time.monotonic() + TABLES_EVERY_S
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._keep_up, name="upkeep", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *exc_info: object) -> None:
        self._stopping.set()
        self._thread.join()

    def _keep_up(self) -> None:
        while not self._stopping.wait(_LOOK_AGAIN_S):
            try:
                self._join()
                self._tables()
            except Exception as error:
                # What cannot be tidied must not end what can be measured.
                if not self._stopping.is_set():
                    log.debug("upkeep", exc_info=True)
                    log.warning("the tables of the run so far cannot be written: %s", error)

    def _join(self) -> None:
        done = self._store.chunks_done()
        for homes in neighbours(done):
            self._store.join(homes)
        self._shards.join(lambda first: is_settled(first, done))

    def _tables(self) -> None:
        began = time.monotonic()
        if began < self._tables_at:
            return
        self._write_tables(self._stopping)
        took = time.monotonic() - began
        self._tables_at = time.monotonic() + max(TABLES_EVERY_S, TABLES_SHARE * took)


def neighbours(done: Mapping[int, Counts]) -> Iterator[list[int]]:
    """Yield chunks that are to be joined, by the numbers of their first frames.

    Parameters
    ----------
    done : mapping of int to Counts
        Number of the first frame of each chunk that is done, and what it holds: frames that follow
        one another.
    """
    run: list[int] = []
    next_frame, size = 0, 0
    for home in sorted(done):
        n_frames = done[home].frames
        own = bisect.bisect(SIZES, n_frames)
        if home != next_frame or own != size:
            run = []
        run, size, next_frame = [*run, home], own, home + n_frames
        if size < len(SIZES) and len(run) == JOINED:
            yield run
            run = []


def is_settled(number: int, done: Mapping[int, Counts]) -> bool:
    """Whether a frame is in a chunk that is done."""
    home = max((home for home in done if home <= number), default=None)
    return home is not None and number < home + done[home].frames

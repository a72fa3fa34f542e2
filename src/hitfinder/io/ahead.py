"""Opening many files by several processes: to find out what a file says takes long."""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Callable, Iterator

from hitfinder.io.handles import POOL
from hitfinder.io.source import FrameSource

FEWEST_FILES = 100
"""Files that are opened by several processes; fewer are open before these have started."""

_AT_A_TIME = 16


@dataclasses.dataclass(frozen=True)
class OpenWork:
    """The work of opening files; see `hitfinder.executors.contract.Work`.

    Attributes
    ----------
    open : callable
        Opens one file. It is pickled, so it holds settings and no file.
    """

    open: Callable[[str], FrameSource]

    @contextlib.contextmanager
    def opened(self) -> Iterator[Callable[[list[str]], list[FrameSource]]]:
        """Return a function that opens files, asks what they say, and closes them."""
        yield lambda files: [self._look_into(file) for file in files]

    def _look_into(self, file: str) -> FrameSource:
        with POOL.visit():
            source = self.open(file)
            # A source keeps what it has found out.
            _ = source.problems
        source.close()
        return source


def batches(files: list[str]) -> list[list[str]]:
    """Divide files into tasks."""
    return [files[k : k + _AT_A_TIME] for k in range(0, len(files), _AT_A_TIME)]

"""The run that the page shows, which may begin later, and be followed by another one."""

from __future__ import annotations

from pathlib import Path

from hitfinder.errors import SourceError
from hitfinder.monitor.answers import Answers
from hitfinder.monitor.notes import Notes
from hitfinder.monitor.place import newest_run
from hitfinder.monitor.watched import WatchedRun
from hitfinder.results.following import FollowedStore

WAITING = "waiting"
"""State of a folder in which no run has begun."""


class ShownRun:
    """The run of a folder, or the newest of its series.

    Parameters
    ----------
    folder : Path
        Folder of a run, or of the series of ``hitfinder live``.
    wait : bool
        Whether the run may begin later.

    Raises
    ------
    ConfigError
        If there is no run, and none is waited for.

    Attributes
    ----------
    folder : Path
        As given.
    number : int
        Rises with each run; 0 before the first.
    """

    def __init__(self, folder: Path, wait: bool = False) -> None:
        self.folder = folder
        self.number = 0
        self._run: tuple[WatchedRun, Answers, Notes] | None = None
        if newest_run(folder) is None and not (wait or FollowedStore(folder).is_at_work):
            WatchedRun(folder)  # says what is wrong with it
        self.refresh()

    def refresh(self) -> bool:
        """Read what has changed; return whether anything has.

        Raises
        ------
        ConfigError
            If the folder of the run holds none (any more).
        """
        newest = newest_run(self.folder)
        if self._run is not None and newest in (None, self._run[0].folder):
            return self._run[0].refresh()
        if newest is None:
            return False
        watched = WatchedRun(newest)
        self._run = watched, Answers(watched), Notes(newest)
        self.number += 1
        return True

    @property
    def answers(self) -> Answers:
        """What is asked about the run.

        Raises
        ------
        SourceError
            If it has not begun.
        """
        return self._known()[1]

    @property
    def notes(self) -> Notes:
        """What people have noted about the run.

        Raises
        ------
        SourceError
            If it has not begun.
        """
        return self._known()[2]

    @property
    def is_waiting(self) -> bool:
        """Whether no run has begun."""
        return self._run is None

    @property
    def name(self) -> str:
        """Of the folder of the run; empty before there is one."""
        return "" if self._run is None else self._run[0].folder.resolve().name

    @property
    def state(self) -> str:
        """That of the run, or ``waiting``."""
        return WAITING if self._run is None else self._run[0].state

    @property
    def version(self) -> tuple[int, int, int]:
        """Which run it is, and how often it and its notes have changed."""
        if self._run is None:
            return 0, 0, 0
        watched, _, notes = self._run
        return self.number, watched.revision, notes.changes

    def close(self) -> None:
        """Close the files of the frames."""
        if self._run is not None:
            self._run[1].close()

    def _known(self) -> tuple[WatchedRun, Answers, Notes]:
        if self._run is None:
            raise SourceError("missing-file", "no run has begun yet", str(self.folder))
        return self._run

"""Where the run is that the page of a folder shows."""

from __future__ import annotations

from pathlib import Path

RUN_FILES = ("run.json", ".parts/run.json", "live.json")
"""One of these is in the folder of a run, whether it is finished or at work."""

SERIES = "series_*"
"""Folders that `hitfinder live` makes, one for each series."""

_BEGUN = ".parts"


def is_of_run(folder: Path) -> bool:
    """Say whether a folder is one that `hitfinder run` or `hitfinder live` wrote, or writes."""
    return any((folder / name).is_file() for name in RUN_FILES)


def has_run(folder: Path) -> bool:
    """Say whether a folder is that of a run, or one in which `hitfinder live` has put series."""
    return newest_run(folder) is not None


def has_begun(folder: Path) -> bool:
    """Say whether a job was begun in a folder, be it that it has said nothing of itself yet."""
    return (folder / _BEGUN).is_dir()


def newest_run(folder: Path) -> Path | None:
    """Return the folder itself if it is of a run, or its series that was written to last.

    None if there is no run.
    """
    if is_of_run(folder):
        return folder
    written = {series: _written(series) for series in folder.glob(SERIES)}
    known = {series: when for series, when in written.items() if when is not None}
    return max(known, key=lambda series: (known[series], series.name), default=None)


def _written(folder: Path) -> int | None:
    """Return when a run last said something of itself; None if it is none.

    A live run that is over writes no more, so the newest is the one at work.
    """
    for name in reversed(RUN_FILES):
        try:
            return (folder / name).stat().st_mtime_ns
        except OSError:
            continue
    return None

"""A run's folder as the page sees it, read again whenever it changes."""

from __future__ import annotations

import json
import logging
import os
import threading
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet
from numpy.typing import NDArray

from hitfinder.errors import ConfigError
from hitfinder.monitor.decision import Decision
from hitfinder.monitor.frame_rows import COLUMNS, FrameRows
from hitfinder.results.hits import FRAMES, PEAKS
from hitfinder.results.run import CRYSTALS, RUN, Run

log = logging.getLogger(__name__)

PEAK_COLUMNS = ("fs", "ss", "photons", "snr", "resolution_a", "probability")
"""What the page shows of a peak."""

CRYSTAL_COLUMNS = ("frame", "crystal", "indexed", "score", "n_peaks", "n_indexed")


class WatchedRun:
    """The results in a folder, finished or not.

    Parameters
    ----------
    folder : Path
        Folder of ``hitfinder run``.

    Raises
    ------
    ConfigError
        If it holds no results of a run.

    Attributes
    ----------
    run : Run
        The run.
    about : dict
        What ``run.json`` says.
    table : FrameRows
        The frames.
    decision : Decision
        How the run decides which frames are hits.
    revision : int
        Rises whenever something has changed.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.revision = 0
        self._seen: object = None
        self._changing = threading.Lock()
        self.refresh()

    def refresh(self) -> bool:
        """Read what has changed; return whether anything has.

        Raises
        ------
        ConfigError
            If the folder holds no results of a run (any more).
        """
        with self._changing:
            seen = self._state()
            if seen == self._seen:
                return False
            self._load()
            self._seen = seen
            self.revision += 1
            return True

    def _state(self) -> object:
        """Return what differs whenever the files do."""
        found: list[tuple[int, int, int] | None] = []
        for name in (RUN, FRAMES, PEAKS, CRYSTALS):
            try:
                there = os.stat(self.folder / name)
            except OSError:
                found.append(None)
            else:
                found.append((there.st_ino, there.st_size, there.st_mtime_ns))
        return found

    def _load(self) -> None:
        run = Run(self.folder)
        try:
            about = json.loads((self.folder / RUN).read_bytes())
            wanted = ["status", "geometry", *COLUMNS]
            table = FrameRows.of(pyarrow.parquet.read_table(self.folder / FRAMES, columns=wanted))
            decision = Decision.of_run(about)
        except (OSError, ValueError, KeyError, TypeError) as error:
            hint = "Name the folder that `hitfinder run` wrote."
            raise ConfigError("holds no results of a run", str(self.folder), hint) from error
        self.run, self.about, self.table, self.decision = run, about, table, decision

    @property
    def state(self) -> str:
        """``complete`` or ``interrupted``."""
        return "complete" if self.about["complete"] else "interrupted"

    def peaks_of(self, frame: int) -> dict[str, NDArray]:
        """Return the peaks of a frame by column."""
        table = pyarrow.parquet.read_table(
            self.folder / PEAKS, columns=[*PEAK_COLUMNS], filters=[("frame", "==", frame)]
        )
        return {name: table[name].to_numpy().astype(float) for name in PEAK_COLUMNS}

    def indexed(self) -> NDArray[np.int64] | None:
        """Return the frames that are indexed; None if the run has not been indexed."""
        path = self.folder / CRYSTALS
        if not path.exists():
            return None
        table = pyarrow.parquet.read_table(path, columns=["frame", "indexed"])
        return np.unique(table["frame"].to_numpy()[table["indexed"].to_numpy()])

    def crystals_of(self, frame: int) -> list[dict[str, Any]]:
        """Return the crystals of a frame, if the run has been indexed."""
        path = self.folder / CRYSTALS
        if not path.exists():
            return []
        table = pyarrow.parquet.read_table(
            path, columns=[*CRYSTAL_COLUMNS], filters=[("frame", "==", frame)]
        )
        return table.to_pylist()

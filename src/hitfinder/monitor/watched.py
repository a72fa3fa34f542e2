"""A run's folder as the page sees it, read again whenever it changes."""

from __future__ import annotations

import contextlib
import copy
import json
import math
import os
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet
from numpy.typing import NDArray

from hitfinder.crystal.orientation import COLUMNS as COMPONENTS
from hitfinder.errors import ConfigError
from hitfinder.indexing.indexer import USUAL_BANDWIDTH
from hitfinder.monitor.decision import Decision
from hitfinder.monitor.frame_rows import COLUMNS, DecidedFrames, FrameRows
from hitfinder.monitor.live_state import LIVE, about_live, read_live
from hitfinder.results.chunk import SUPPORT_DTYPE
from hitfinder.results.finished import maxima_of_hits, read_support, read_totals
from hitfinder.results.following import FollowedStore
from hitfinder.results.hits import FRAMES, PEAKS
from hitfinder.results.run import CRYSTALS, RUN, Run
from hitfinder.results.static_hits import places_of
from hitfinder.results.totals import Totals

PEAK_COLUMNS = ("fs", "ss", "photons", "snr", "resolution_a", "probability")
"""What the page shows of a peak."""

CRYSTAL_COLUMNS = ("frame", "crystal", "indexed", "score", "n_peaks", "n_indexed", *COMPONENTS)

INDEX_INFO = "indexed.json"

MOST_DECISIONS = 8
"""By so many thresholds it is remembered which frames are hits."""

FILES = (RUN, FRAMES, PEAKS, CRYSTALS, LIVE)
"""What tells, by its time, that something has changed."""


class WatchedRun:
    """The results in a folder, finished or not.

    A finished run is read from its tables, one that a job is at work on from what the job keeps.

    Parameters
    ----------
    folder : Path
        Folder of ``hitfinder run`` or ``hitfinder live``.

    Raises
    ------
    ConfigError
        If it holds no results of a run.

    Attributes
    ----------
    run : Run
        The run.
    about : dict
        What ``run.json`` says, or what the job has said of itself when it started.
    live : dict or None
        What ``live.json`` says, if there is one.
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
        self.live: dict[str, Any] | None = None
        self._seen: object = None
        self._store: FollowedStore | None = None
        self._at_work = False
        self._changing, self._deciding = threading.Lock(), threading.Lock()
        self._decided: tuple[FrameRows, dict[Decision, DecidedFrames]] | None = None
        self.refresh()

    def refresh(self) -> bool:
        """Read what has changed; return whether anything has.

        Raises
        ------
        ConfigError
            If the folder holds no results of a run (any more).
        """
        with self._changing:
            at_work = FollowedStore(self.folder).is_at_work
            seen = at_work, self._state()
            changed = seen != self._seen
            if changed:
                self.live = read_live(self.folder)
                self._at_work = at_work
                if (self.folder / RUN).exists() and not at_work:
                    self._load()
                elif self._store is None:
                    self._begin()
            if self._store is not None:
                changed |= self._follow()
            self._seen = seen
            self.revision += changed
            return changed

    def _state(self) -> object:
        """Return what differs whenever the files do."""
        found: list[tuple[int, int, int] | None] = []
        for name in FILES:
            try:
                there = os.stat(self.folder / name)
            except OSError:
                found.append(None)
            else:
                found.append((there.st_ino, there.st_size, there.st_mtime_ns))
        return found

    def _load(self) -> None:
        """Read the tables."""
        run = Run(self.folder)
        try:
            about = json.loads((self.folder / RUN).read_bytes())
            wanted = ["status", "geometry", "doubt", *COLUMNS]
            frames = pyarrow.parquet.read_table(self.folder / FRAMES, columns=wanted)
            maxima, saturation = maxima_of_hits(self.folder), about["geometry"].get("saturation")
            table = FrameRows.of(frames, self._support(), maxima, saturation)
            decision = Decision.of_run(about)
        except (OSError, ValueError, KeyError, TypeError) as error:
            hint = "Name the folder that `hitfinder run` wrote."
            raise ConfigError("holds no results of a run", str(self.folder), hint) from error
        self.run, self.about, self.table, self.decision = run, about, table, decision
        self._store = None

    def _support(self) -> tuple[NDArray[np.int64], NDArray[np.void]]:
        """Return what scores rest on, as far as the folder tells."""
        with contextlib.suppress(ConfigError):
            return read_support(self.folder)
        return np.empty(0, np.int64), np.empty(0, SUPPORT_DTYPE)

    def _begin(self) -> None:
        """Start to follow a job."""
        store = FollowedStore(self.folder)
        try:
            about = store.about if self.live is None else about_live(self.live)
            run, decision = Run.at_work(self.folder, about), Decision.of_run(about)
            saturation = about["geometry"].get("saturation")
            table = FrameRows.pending(run.summary.frames, saturation)
        except (KeyError, TypeError, ValueError, AttributeError, OverflowError) as error:
            raise ConfigError("holds no run at work", str(self.folder)) from error
        self.run, self.about, self.table, self.decision = run, about, table, decision
        self._store = store

    def _follow(self) -> bool:
        """Take in what the job has found since; readers of the table keep the one they have."""
        assert self._store is not None
        table = None
        for chunk in self._store.fresh():
            if table is None:
                table = copy.deepcopy(self.table)
                if self.live is not None:
                    # Once, for all chunks: a reader may join after a hundred thousand frames.
                    table.make_room(self._store.reach)
            table.take(chunk)
        self.table = table or self.table
        return table is not None

    def decided(self, decision: Decision) -> tuple[FrameRows, DecidedFrames]:
        """Return the frames, and which of them are hits by a decision."""
        with self._deciding:
            table = self.table
            if self._decided is None or self._decided[0] is not table:
                self._decided = table, {}
            kept = self._decided[1]
            if decision not in kept:
                if len(kept) >= MOST_DECISIONS:
                    kept.clear()
                kept[decision] = decision.decided(table, self._n_pixels, self._places)
            return table, kept[decision]

    @property
    def _n_pixels(self) -> int:
        """Pixels of a frame that are not masked."""
        told = self.about["geometry"]
        masked = int(told.get("masked_pixels", 0)) + int(told.get("static_pixels", 0))
        return max(math.prod(told["shape"]) - masked, 1)

    def _places(self) -> Iterator[tuple[NDArray[np.int64], NDArray[np.float64]]]:
        """Yield the frame of each peak, and its position."""
        if self._store is not None:
            for chunk in self._store.chunks():
                yield places_of(chunk)
            return
        table = pyarrow.parquet.read_table(self.folder / PEAKS, columns=["frame", "fs", "ss"])
        at = np.stack([table["fs"].to_numpy(), table["ss"].to_numpy()], 1)
        yield table["frame"].to_numpy(), at.astype(float)

    @property
    def state(self) -> str:
        """``complete``, ``running`` or ``interrupted``."""
        if self._at_work:
            return "running"
        return "complete" if self.about["complete"] and self._store is None else "interrupted"

    def peaks_of(self, frame: int) -> dict[str, NDArray]:
        """Return the peaks of a frame by column."""
        if self._store is not None:
            chunk = self._store.chunk_with(frame)
            if chunk is None:
                return {name: np.empty(0) for name in PEAK_COLUMNS}
            peaks = chunk.peaks[chunk.frame_of_peak == frame]
            return {name: peaks[name].astype(float) for name in PEAK_COLUMNS}
        table = pyarrow.parquet.read_table(
            self.folder / PEAKS, columns=[*PEAK_COLUMNS], filters=[("frame", "==", frame)]
        )
        return {name: table[name].to_numpy().astype(float) for name in PEAK_COLUMNS}

    def totals(self) -> Totals | None:
        """Return what is added up over the frames; None if the folder does not tell."""
        if self._store is not None:
            return self._store.totals()
        with contextlib.suppress(ConfigError):
            return read_totals(self.folder)
        return None

    def indexed(self) -> NDArray[np.int64] | None:
        """Return the frames that are indexed; None if the run has not been indexed."""
        path = self.folder / CRYSTALS
        if not path.exists():
            return None
        table = pyarrow.parquet.read_table(path, columns=["frame", "indexed"])
        return np.unique(table["frame"].to_numpy()[table["indexed"].to_numpy()])

    def bandwidth(self) -> float:
        """Return the relative bandwidth, full width, that the run was indexed with."""
        with contextlib.suppress(OSError, ValueError, KeyError, TypeError):
            told = json.loads((self.folder / INDEX_INFO).read_bytes())
            return float(told["settings"]["bandwidth"])
        return USUAL_BANDWIDTH

    def crystals_of(self, frame: int) -> list[dict[str, Any]]:
        """Return the crystals of a frame, if the run has been indexed."""
        path = self.folder / CRYSTALS
        if not path.exists():
            return []
        table = pyarrow.parquet.read_table(
            path, columns=[*CRYSTAL_COLUMNS], filters=[("frame", "==", frame)]
        )
        return table.to_pylist()

"""What a job has found so far, kept on disk so that a killed job can go on where it was."""

from __future__ import annotations

import copy
import json
import logging
import shutil
import threading
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hitfinder import atomic
from hitfinder.errors import OutputError
from hitfinder.locks import Lock
from hitfinder.results.chunk import ChunkResult, Counts
from hitfinder.results.storefiles import (
    TOTALS,
    arrays_of,
    chunk_name,
    chunk_of,
    joined,
    joined_name,
    names_of,
    totals_name,
)
from hitfinder.results.totals import Totals
from hitfinder.sealed import read_arrays, write_arrays

log = logging.getLogger(__name__)

PARTS, LOCK, JOB, ABOUT = ".parts", "lock", "job.json", "run.json"
TOTALS_PER_CHECKPOINT = 32
"""Totals of chunks are merged into one file after so many, so that they do not pile up on disk."""


def why_nothing(folder: Path) -> str:
    """Say why a folder holds no results, to be put after that; empty if nobody knows.

    Parameters
    ----------
    folder : Path
        The folder.
    """
    if not folder.is_dir():
        return "" if folder.exists() else ": there is no such folder"
    if not any(folder.iterdir()):
        return ": it is empty, so nothing was recorded in it"
    if (folder / PARTS).is_dir() and not (folder / PARTS / ABOUT).exists():
        return ": a run was begun in it, and nothing was recorded"
    return ""


class Store:
    """The folder ``.parts`` of an unfinished job.

    A chunk is done when its file is there. What it adds to the totals is written before, in a file
    of its own; the chunk's file says how many of these there are, since frames that are tried once
    more add to them. They are later merged into one file, which lists those that are in it, so
    each is in the totals once whenever the job is killed. Files appear whole or not at all, and end
    with a checksum: one that is damaged counts as missing.

    Chunks of a job without an end are joined, so that their files stay few: `join`, and `as_it_is`
    for those who read meanwhile, may be called in another thread than `add`. A file of joined
    chunks lists them, and what of theirs is in the totals; files of theirs that are still there
    after a kill are dropped.

    Parameters
    ----------
    out_dir : Path
        The job's output folder, which must exist.

    Raises
    ------
    OutputError
        If another process works in the folder, or it is a link to elsewhere.
    """

    def __init__(self, out_dir: Path) -> None:
        self.folder = out_dir / PARTS
        if self.folder.is_symlink() or (self.folder / LOCK).is_symlink():
            what = "is a link, or holds one, which could lead to files of others"
            raise OutputError(what, str(self.folder), "Remove it, or choose another folder.")
        self.folder.mkdir(exist_ok=True)
        self.done: dict[int, Counts] = {}
        """Number of the first frame of each chunk that is done, and how many of what it holds."""
        self.counts = Counts()
        """Of all chunks that are done."""
        self.totals = Totals()
        """Of all chunks that are done."""
        self._merged: set[str] = set()
        self._waiting: list[str] = []
        self._changing = threading.RLock()
        self._stopping: threading.Event | None = None
        self._lock = Lock(self.folder / LOCK, "run")
        for folder in (self.folder, out_dir):
            atomic.clear_unfinished(folder)

    def close(self) -> None:
        """Let other processes use the folder."""
        self._lock.release()

    def remove(self) -> None:
        """Delete the folder: the job is finished and its outputs are written."""
        shutil.rmtree(self.folder)
        self.close()

    def clear(self) -> None:
        """Forget the job that is here. Links are deleted, not what they lead to."""
        for path in self.folder.iterdir():
            if path.is_dir() and not path.is_symlink():
                shutil.rmtree(path)
            elif path.name != LOCK:
                path.unlink()

    def __enter__(self) -> Store:
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.close()

    def save_job(self, job: dict[str, Any]) -> None:
        """Write what this job is."""
        with atomic.replacing(self.folder / JOB) as part:
            part.write_text(json.dumps(job, indent=1), encoding="utf-8")

    def load_job(self) -> dict[str, Any] | None:
        """Return what the job in this folder is; None if there is none.

        Raises
        ------
        OutputError
            If it cannot be read.
        """
        path = self.folder / JOB
        try:
            return dict(json.loads(path.read_bytes()))
        except FileNotFoundError:
            return None
        except (OSError, ValueError, TypeError) as error:
            hint = "Start again with --overwrite."
            raise OutputError("the unfinished run is damaged", str(path), hint) from error

    def save_about(self, about: Mapping[str, Any]) -> None:
        """Write what the job says of itself, for those who look on."""
        with atomic.replacing(self.folder / ABOUT) as part:
            part.write_text(json.dumps(about, indent=1), encoding="utf-8")

    def save_array(self, name: str, array: NDArray) -> None:
        """Keep an array that the job needs again when it goes on."""
        self._write(name, {"array": array})

    def load_array(self, name: str) -> NDArray | None:
        """Return a kept array; None if there is none, or it is damaged."""
        loaded = self._load(name)
        return None if loaded is None else loaded["array"]

    def add(self, home: int, result: ChunkResult) -> None:
        """Keep what was found in frames of a chunk.

        Parameters
        ----------
        home : int
            Number of the first frame of the chunk.
        result : ChunkResult
            Results of all its frames or, once these are kept, of some that had none before.
        """
        before = self._load(chunk_name(home)) if home in self.done else None
        added = 0 if before is None else int(before["added"])
        self._write(totals_name(home, added), result.totals.to_arrays())
        whole = result
        if before is not None:
            whole = chunk_of(before).without(result.frames)
            whole.merge(result)
        self._write(chunk_name(home), {**arrays_of(whole), "added": added + 1})
        with self._changing:
            self._note(home, Counts.of(whole))
            self.totals.merge(result.totals)
            self._waiting.append(totals_name(home, added))
            if len(self._waiting) >= TOTALS_PER_CHECKPOINT:
                self._checkpoint()

    def join(self, homes: Sequence[int]) -> None:
        """Put chunks that are done into one file, that of the first of them.

        Parameters
        ----------
        homes : sequence of int
            Numbers of their first frames, rising. Nothing is added to these chunks any more.
        """
        there = [self._load(chunk_name(home)) for home in homes]
        loaded = [one for one in there if one is not None]
        if len(loaded) < len(homes):
            return
        whole = ChunkResult.joined([chunk_of(one) for one in loaded])
        with self._changing:
            self._checkpoint()
            pairs = zip(homes, loaded, strict=True)
            names = [n for home, one in pairs for n in names_of(home, one, self._merged)]
            kept = {"added": 0, "joined": np.array(homes), "in_totals": np.array(names)}
            self._write(chunk_name(homes[0]), {**arrays_of(whole), **kept})
            self._merged = (self._merged - {*names}) | {joined_name(homes)}
            self._checkpoint()
            for home in homes:
                del self.done[home]
            self.done[homes[0]] = Counts.of(whole)
        for home in homes[1:]:
            (self.folder / f"{chunk_name(home)}.dat").unlink(missing_ok=True)

    def chunks_done(self) -> dict[int, Counts]:
        """Return `done` as it is at the moment, while chunks are added and joined."""
        with self._changing:
            return dict(self.done)

    def as_it_is(self, stopping: threading.Event | None = None) -> Store:
        """Return this as it is at the moment, to be read while chunks are added to this one.

        Parameters
        ----------
        stopping : threading.Event, optional
            Once it is set, reading the chunks ends with an InterruptedError.
        """
        with self._changing:
            now = copy.copy(self)
            now._stopping = stopping
            now.done, now.counts = dict(self.done), copy.copy(self.counts)
            now.totals = copy.deepcopy(self.totals)
            return now

    def resume(self, *, again: bool = True) -> None:
        """Take up the chunks that are there; what is damaged, or lacks a part, is forgotten.

        Parameters
        ----------
        again : bool
            Whether frames can be done once more. If not, totals are kept as they are though a chunk
            is lost, and chunks though what they add to the totals is.
        """
        loaded = {int(p.stem.removeprefix("chunk-")): self._load(p.stem) for p in self._chunks()}
        found = {home: one for home, one in loaded.items() if one is not None}
        within = {h for home, one in found.items() for h in joined(one) if h != home}
        for home in within & {*found}:
            (self.folder / f"{chunk_name(home)}.dat").unlink()
            del found[home]
        totals = self._load(TOTALS)
        merged = set[str]() if totals is None else {*totals["merged"].tolist()}
        names = {home: names_of(home, one, merged) for home, one in found.items()}
        if totals is not None:
            if merged <= {name for needed in names.values() for name in needed} or not again:
                self.totals, self._merged = Totals.from_arrays(totals), merged
            else:
                # A chunk that is lost cannot be taken out of the totals again.
                log.warning("results of the unfinished run are damaged; frames are done once more")
        for home, one in found.items():
            self._take_up(home, names[home], Counts.of(chunk_of(one)), again)

    def _chunks(self) -> list[Path]:
        return sorted(self.folder.glob("chunk-*.dat"))

    def _take_up(self, home: int, names: Iterable[str], counts: Counts, again: bool) -> None:
        loaded = {name: self._load(name) for name in names if name not in self._merged}
        if again and not all(loaded.values()):
            (self.folder / f"{chunk_name(home)}.dat").unlink()
            return
        self._note(home, counts)
        for name, arrays in loaded.items():
            if arrays is not None:
                self.totals.merge(Totals.from_arrays(arrays))
                self._waiting.append(name)

    def _note(self, home: int, counts: Counts) -> None:
        is_new = home not in self.done
        self.done[home] = counts
        if is_new:
            self.counts.merge(counts)
            return
        self.counts = Counts()
        for each in self.done.values():
            self.counts.merge(each)

    def chunks(self) -> Iterator[ChunkResult]:
        """Read the finished chunks in frame order, one at a time, without their totals."""
        for home in sorted(self.done):
            if self._stopping is not None and self._stopping.is_set():
                raise InterruptedError("the results are not needed any more")
            loaded = self._load(chunk_name(home))
            if loaded is None:
                where = str(self.folder / f"{chunk_name(home)}.dat")
                raise OutputError("cannot be read any more", where, "Go on with --resume.")
            yield chunk_of(loaded)

    def wanting(self) -> dict[int, NDArray[np.int64]]:
        """Return the frames to be tried again, by the first frame of their chunk."""
        homes = [home for home, counts in self.done.items() if counts.wanting]
        loaded = {home: self._load(chunk_name(home)) for home in homes}
        return {home: chunk_of(there).wanting for home, there in loaded.items() if there}

    def _checkpoint(self) -> None:
        """Write the totals, then delete the files of those that are in them."""
        merged = self._merged | set(self._waiting)
        arrays = {**self.totals.to_arrays(), "merged": np.array(sorted(merged))}
        self._write(TOTALS, arrays)
        for name in self._waiting:
            (self.folder / f"{name}.dat").unlink(missing_ok=True)
        self._merged, self._waiting = merged, []

    def _write(self, name: str, arrays: Mapping[str, Any]) -> None:
        """Write a file whole or not at all."""
        write_arrays(self.folder / f"{name}.dat", arrays)

    def _load(self, name: str) -> dict[str, Any] | None:
        """Return the arrays of a file; None if it is missing or damaged."""
        return read_arrays(self.folder / f"{name}.dat")

"""What a job has found so far, kept on disk so that a killed job can go on where it was."""

from __future__ import annotations

import hashlib
import io
import json
import logging
import shutil
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hitfinder import atomic
from hitfinder.errors import OutputError
from hitfinder.locks import Lock
from hitfinder.results.chunk import ChunkResult, Counts
from hitfinder.results.totals import Totals

log = logging.getLogger(__name__)

PARTS, LOCK, JOB, ABOUT = ".parts", "lock", "job.json", "run.json"
TOTALS = "totals"
TOTALS_PER_CHECKPOINT = 32
"""Totals of chunks are merged into one file after so many, so that they do not pile up on disk."""

_DIGEST = hashlib.sha256


class Store:
    """The folder ``.parts`` of an unfinished job.

    A chunk is done when its file is there. What it adds to the totals is written before, in a file
    of its own; the chunk's file says how many of these there are, since frames that are tried once
    more add to them. They are later merged into one file, which lists those that are in it, so
    each is in the totals once whenever the job is killed. Files appear whole or not at all, and end
    with a checksum: one that is damaged counts as missing.

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
        before = self._load(_chunk_name(home)) if home in self.done else None
        added = 0 if before is None else int(before["added"])
        self._write(_totals_name(home, added), result.totals.to_arrays())
        whole = result
        if before is not None:
            whole = chunk_of(before).without(result.frames)
            whole.merge(result)
        problems = np.frombuffer(json.dumps(whole.problems).encode(), np.uint8)
        arrays = {name: getattr(whole, name) for name in ("frames", "rows", "peaks")}
        self._write(_chunk_name(home), {**arrays, "problems": problems, "added": added + 1})
        self._note(home, Counts.of(whole))
        self.totals.merge(result.totals)
        self._waiting.append(_totals_name(home, added))
        if len(self._waiting) >= TOTALS_PER_CHECKPOINT:
            self._checkpoint()

    def resume(self) -> None:
        """Take up the chunks that are there; what is damaged, or lacks a part, is forgotten."""
        found = {}
        for path in sorted(self.folder.glob("chunk-*.dat")):
            if (loaded := self._load(path.stem)) is not None:
                home = int(path.stem.removeprefix("chunk-"))
                names = [_totals_name(home, number) for number in range(int(loaded["added"]))]
                found[home] = names, Counts.of(chunk_of(loaded))
        merged = self._load(TOTALS)
        if merged is not None:
            names = merged["merged"].tolist()
            if {*names} <= {name for needed, _ in found.values() for name in needed}:
                self.totals, self._merged = Totals.from_arrays(merged), {*names}
            else:
                # A chunk that is lost cannot be taken out of the totals again.
                log.warning("results of the unfinished run are damaged; frames are done once more")
        for home, (names, counts) in found.items():
            self._take_up(home, names, counts)

    def _take_up(self, home: int, names: Iterable[str], counts: Counts) -> None:
        loaded = {name: self._load(name) for name in names if name not in self._merged}
        if not all(loaded.values()):
            (self.folder / f"{_chunk_name(home)}.dat").unlink()
            return
        self._note(home, counts)
        for name, arrays in loaded.items():
            self.totals.merge(Totals.from_arrays(arrays or {}))
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
            loaded = self._load(_chunk_name(home))
            if loaded is None:
                where = str(self.folder / f"{_chunk_name(home)}.dat")
                raise OutputError("cannot be read any more", where, "Go on with --resume.")
            yield chunk_of(loaded)

    def wanting(self) -> dict[int, NDArray[np.int64]]:
        """Return the frames to be tried again, by the first frame of their chunk."""
        homes = [home for home, counts in self.done.items() if counts.wanting]
        loaded = {home: self._load(_chunk_name(home)) for home in homes}
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
        buffer = io.BytesIO()
        np.savez(buffer, allow_pickle=False, **arrays)
        content = buffer.getvalue()
        with atomic.replacing(self.folder / f"{name}.dat") as part:
            part.write_bytes(content + _DIGEST(content).digest())

    def _load(self, name: str) -> dict[str, Any] | None:
        """Return the arrays of a file; None if it is missing or damaged."""
        return kept_arrays(self.folder / f"{name}.dat")


def kept_arrays(path: Path) -> dict[str, Any] | None:
    """Return the arrays of a file of a store; None if it is missing or damaged."""
    try:
        content = path.read_bytes()
    except OSError:
        return None
    length = len(content) - _DIGEST().digest_size
    if length <= 0 or _DIGEST(content[:length]).digest() != content[length:]:
        return None
    return dict(np.load(io.BytesIO(content[:length]), allow_pickle=False))


def _chunk_name(home: int) -> str:
    return f"chunk-{home:09d}"


def _totals_name(home: int, number: int) -> str:
    return f"{TOTALS}-{home:09d}-{number}"


def chunk_of(loaded: Mapping[str, Any]) -> ChunkResult:
    """Return the chunk that a file of a store holds, without its totals."""
    problems = json.loads(loaded["problems"].tobytes())
    return ChunkResult(
        loaded["frames"],
        loaded["rows"],
        loaded["peaks"],
        {int(frame): text for frame, text in problems.items()},
    )

"""What a job has found so far, read by others while it may be at work."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from hitfinder.errors import ConfigError
from hitfinder.locks import is_locked
from hitfinder.results.chunk import ChunkResult
from hitfinder.results.store import ABOUT, LOCK, PARTS, why_nothing
from hitfinder.results.storefiles import TOTALS, chunk_of
from hitfinder.results.totals import Totals
from hitfinder.sealed import read_arrays


class FollowedStore:
    """The folder ``.parts`` of a job, read without keeping the job from it.

    Parameters
    ----------
    out_dir : Path
        The job's output folder.
    """

    def __init__(self, out_dir: Path) -> None:
        self.folder = out_dir / PARTS
        self._seen: dict[str, tuple[int, int, int]] = {}

    @property
    def about(self) -> dict[str, Any]:
        """What the job has said of itself when it started.

        Raises
        ------
        ConfigError
            If it has not.
        """
        try:
            return dict(json.loads((self.folder / ABOUT).read_bytes()))
        except (OSError, ValueError, TypeError) as error:
            folder = self.folder.parent
            what = f"holds neither the results of a run nor a run at work{why_nothing(folder)}"
            hint = "Name the folder that `hitfinder run` wrote, or writes."
            raise ConfigError(what, str(folder), hint) from error

    @property
    def is_at_work(self) -> bool:
        """Whether a process works on the job."""
        return is_locked(self.folder / LOCK)

    def fresh(self) -> Iterator[ChunkResult]:
        """Yield the chunks that have come, or changed, since this was asked last."""
        paths = sorted(self.folder.glob("chunk-*.dat"))
        self._seen = {p.name: self._seen[p.name] for p in paths if p.name in self._seen}
        for path in paths:
            try:
                there = os.stat(path)
            except FileNotFoundError:
                continue
            seen = there.st_ino, there.st_size, there.st_mtime_ns
            if self._seen.get(path.name) == seen:
                continue
            loaded = read_arrays(path)
            if loaded is not None:
                self._seen[path.name] = seen
                yield chunk_of(loaded)

    @property
    def reach(self) -> int:
        """How many frames there are at least: one more than the first of the last chunk."""
        names = (path.stem.removeprefix("chunk-") for path in self.folder.glob("chunk-*.dat"))
        return max((int(name) + 1 for name in names), default=0)

    def chunks(self) -> Iterator[ChunkResult]:
        """Yield the chunks that can be read now."""
        for path in sorted(self.folder.glob("chunk-*.dat")):
            if (loaded := read_arrays(path)) is not None:
                yield chunk_of(loaded)

    def totals(self) -> Totals:
        """Return what is added up over the chunks so far, as far as it can be read now."""
        whole, merged = Totals(), set[str]()
        if (loaded := read_arrays(self.folder / f"{TOTALS}.dat")) is not None:
            whole, merged = Totals.from_arrays(loaded), {*loaded["merged"].tolist()}
        for path in sorted(self.folder.glob(f"{TOTALS}-*.dat")):
            if path.stem not in merged and (loaded := read_arrays(path)) is not None:
                whole.merge(Totals.from_arrays(loaded))
        return whole

    def chunk_with(self, frame: int) -> ChunkResult | None:
        """Return the chunk that holds a frame; None if it is not done."""
        homes = [int(name.removeprefix("chunk-").removesuffix(".dat")) for name in self._seen]
        before = [home for home in homes if home <= frame]
        if not before:
            return None
        loaded = read_arrays(self.folder / f"chunk-{max(before):09d}.dat")
        chunk = None if loaded is None else chunk_of(loaded)
        return chunk if chunk is not None and frame in chunk.frames else None

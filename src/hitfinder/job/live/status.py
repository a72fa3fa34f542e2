"""What a live run says of itself while it goes on; the files are described in docs/live.md."""

from __future__ import annotations

import collections
import dataclasses
import json
import logging
import math
import threading
import time
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from hitfinder.atomic import replacing
from hitfinder.job.live.follower import Followers
from hitfinder.results.chunk import FRAME_DTYPE, ChunkResult
from hitfinder.results.doubts import Doubts

log = logging.getLogger(__name__)

LIVE, LIVE_FRAMES, LIVE_HISTORY = "live.json", "live-frames.json", "live-history.jsonl"
LIVE_FILES = (LIVE, LIVE_FRAMES, LIVE_HISTORY)

RUNNING, WRITING, FINISHED, INTERRUPTED = "running", "writing", "finished", "interrupted"
"""States of a run."""

EVERY_S = 0.5
HISTORY_EVERY_S = 1.0
MOST_FRAMES = 1000
RATE_OVER_S = 10.0

_DECIDED = ("hits", "doubtful_hits", "doubted_frames")


@dataclasses.dataclass(frozen=True, eq=False)
class _LastFrame:
    """A frame that was just processed: when (UNIX time), how long after it came, and its row."""

    number: int
    time: float
    delay_s: float
    row: NDArray[np.void]


class LiveStatus:
    """Writes the status of a run from a thread of its own, so that nothing can hold it up.

    Parameters
    ----------
    folder : Path
        Folder of the run.
    about : mapping
        What does not change: source, protocol, series, geometry and so on.
    ledger, messages : callable
        Give the ledger, and the messages by what they were, at the moment.
    followers : Followers
        Tell more.
    """

    def __init__(
        self,
        folder: Path,
        about: Mapping[str, Any],
        ledger: Callable[[], dict[str, Any]],
        messages: Callable[[], dict[str, int]],
        followers: Followers,
    ) -> None:
        self._folder, self._about = folder, dict(about)
        self._ledger, self._messages, self._followers = ledger, messages, followers
        self._started = time.time()
        names = ("frames", "processed", "hits", "doubtful_hits", "doubted_frames", "peaks")
        self._counts = dict.fromkeys(names, 0)
        self._doubts = Doubts.of(lambda: (), about["hits_from"]["score"], 1)
        self._last: collections.deque[_LastFrame] = collections.deque(maxlen=MOST_FRAMES)
        self._rates: collections.deque[tuple[float, int, int]] = collections.deque()
        self._slowest_s, self._history_at = 0.0, -math.inf
        self.state, self.static_pixels = RUNNING, 0
        self._lock = threading.Lock()
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._keep_writing, name="status", daemon=True)

    def take(self, result: ChunkResult, delays_s: Mapping[int, float]) -> None:
        """Take in results that are on disk."""
        now = time.time()
        with self._lock:
            self._counts["frames"] += len(result.rows)
            self._counts["processed"] += int((result.rows["status"] == "ok").sum())
            self._counts["peaks"] += len(result.peaks)
            self._count(self._doubts.decided(result).rows, self._counts)
            for k, number in enumerate(result.frames.tolist()):
                if number in delays_s:
                    row = result.rows[k : k + 1].copy()
                    self._last.append(_LastFrame(number, round(now, 3), delays_s[number], row))
                    self._slowest_s = max(self._slowest_s, delays_s[number])

    def decided(self, result: ChunkResult) -> ChunkResult:
        """Return results with doubtful hits decided by what the run says of them so far."""
        with self._lock:
            return self._doubts.decided(result)

    def counts(self) -> dict[str, int]:
        """Return what is counted at the moment."""
        with self._lock:
            return dict(self._counts)

    def learn(
        self, doubts: Doubts, chunks: Iterable[ChunkResult], then: Mapping[str, int] | None = None
    ) -> None:
        """Decide on doubtful hits by what the run says of them so far.

        Parameters
        ----------
        doubts : Doubts
            What the run says.
        chunks : iterable of ChunkResult
            All results that were taken in.
        then : mapping of str to int, optional
            What was counted when that was all; nothing has come since if None.
        """
        counts = dict.fromkeys(_DECIDED, 0)
        for chunk in chunks:
            self._count(doubts.decided(chunk).rows, counts)
        with self._lock:
            self._doubts = doubts
            for name, n in counts.items():
                since = 0 if then is None else self._counts[name] - then[name]
                self._counts[name] = n + since

    @staticmethod
    def _count(rows: NDArray[np.void], counts: dict[str, int]) -> None:
        hit, doubt = rows["hit"], rows["doubt"] != ""
        for name, some in zip(_DECIDED, (hit, hit & doubt, ~hit & doubt), strict=True):
            counts[name] += int(some.sum())

    def __enter__(self) -> Self:
        self._write()
        self._thread.start()
        return self

    def __exit__(self, *exc_info: object) -> None:
        self._stopping.set()
        self._thread.join()
        self._write()

    def _keep_writing(self) -> None:
        while not self._stopping.wait(EVERY_S):
            self._write()

    def _write(self) -> None:
        try:
            self._write_files()
        except Exception as error:
            # What cannot be told must not end what can be measured.
            log.debug("status", exc_info=True)
            log.warning("the status cannot be written: %s", error)

    def _write_files(self) -> None:
        with self._lock:
            # Clocks are set while detectors run: what lasts is measured by one that never is.
            now, steady, ledger = time.time(), time.monotonic(), self._ledger()
            rows = self._last_rows()
            told = self._told(now, self._rates_of(steady, ledger), ledger, rows)
            frames = self._told_frames(rows)
            line = ""
            if steady - self._history_at >= HISTORY_EVERY_S or self._stopping.is_set():
                line, self._history_at = self._line(now, ledger), steady
        for name, content in ((LIVE, told), (LIVE_FRAMES, frames)):
            with replacing(self._folder / name) as part:
                part.write_text(json.dumps(content, allow_nan=False) + "\n", encoding="utf-8")
        if line:
            with open(self._folder / LIVE_HISTORY, "a", encoding="utf-8") as file:
                file.write(line)

    def _last_rows(self) -> NDArray[np.void]:
        """Return the rows of the last frames, doubtful hits decided."""
        packed = bytearray().join(one.row.tobytes() for one in self._last)
        rows = np.frombuffer(packed, FRAME_DTYPE)
        frames = np.array([one.number for one in self._last], np.int64)
        return self._doubts.decided(ChunkResult(frames, rows)).rows

    def _told_frames(self, rows: NDArray[np.void]) -> dict[str, list[Any]]:
        return {
            "number": [one.number for one in self._last],
            "time": [one.time for one in self._last],
            "score": [round(s, 4) if math.isfinite(s) else None for s in rows["score"].tolist()],
            **{name: rows[name].tolist() for name in ("hit", "doubt", "n_peaks", "status")},
            "delay_s": [round(one.delay_s, 3) for one in self._last],
        }

    def _rates_of(self, steady: float, ledger: Mapping[str, Any]) -> dict[str, float]:
        self._rates.append((steady, ledger["received"], ledger["processed"]))
        while steady - self._rates[0][0] > RATE_OVER_S:
            self._rates.popleft()
        then = self._rates[0]
        seconds = max(steady - then[0], EVERY_S)
        return {
            "received_per_second": round((ledger["received"] - then[1]) / seconds, 3),
            "processed_per_second": round((ledger["processed"] - then[2]) / seconds, 3),
        }

    def _told(
        self,
        now: float,
        rates: Mapping[str, float],
        ledger: Mapping[str, Any],
        rows: NDArray[np.void],
    ) -> dict[str, Any]:
        hits, delays = rows["hit"].tolist(), [one.delay_s for one in self._last]
        middle, most = np.percentile(delays, [50, 99]) if delays else (None, None)
        return {
            "version": 1,
            "state": self.state,
            **self._about,
            "started": round(self._started, 3),
            "updated": round(now, 3),
            "counts": dict(self._counts),
            "rates": {
                **rates,
                "hits_of_last_100": _share(hits[-100:]),
                "hits_of_last_1000": _share(hits),
            },
            "delays_s": {
                "median": None if middle is None else round(float(middle), 3),
                "p99": None if most is None else round(float(most), 3),
            },
            "static_pixels": self.static_pixels,
            "ledger": dict(ledger),
            "messages": self._messages(),
            **self._followers.told(),
        }

    def _line(self, now: float, ledger: Mapping[str, Any]) -> str:
        said = {"time": round(now, 3), "received": ledger["received"]}
        said |= {name: self._counts[name] for name in ("processed", "hits", "peaks")}
        said |= {name: ledger[name] for name in ("passed_over", "waiting")}
        said["slowest_s"] = round(self._slowest_s, 3)
        self._slowest_s = 0.0
        said |= self._followers.line()
        return json.dumps(said) + "\n"


def _share(hits: list[bool]) -> float | None:
    return round(sum(hits) / len(hits), 4) if hits else None

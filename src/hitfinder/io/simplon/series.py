"""One series as it comes: its images in order, the newest kept, every number accounted for."""

from __future__ import annotations

import dataclasses
import threading
import time

from hitfinder.io.ledger import FrameLedger
from hitfinder.io.simplon.images import PackedFrame
from hitfinder.io.simplon.messages import SeriesId, SeriesImage, SeriesStart

PASSED_OVER, NOT_RECEIVED = "passed-over", "not-received"
"""Statuses of frames that were not processed, besides `hitfinder.io.simplon.images.DAMAGED`."""

MOST_BYTES = 1 << 29
"""Bytes of images that wait to be processed; of more, the oldest are passed over."""

MOST_SKIPPED = 1_000_000
"""Numbers that may be missing in a row; what comes after more is taken for an error."""

GATHER_S = 0.15
"""How long an image waits for others, to be processed with them, and for late ones before it."""

_MOST_MISSING = 100_000
"""Missing numbers that are remembered, to tell late images from repeated ones."""


@dataclasses.dataclass(frozen=True, eq=False)
class Arrived:
    """An image, or what is wrong with it, and when it came.

    Attributes
    ----------
    image : PackedFrame or str
        The counts, or why there are none.
    at_s : float
        When it came, by `time.monotonic`.
    """

    image: PackedFrame | str
    at_s: float

    @property
    def nbytes(self) -> int:
        """Bytes that it takes while it waits."""
        return 0 if isinstance(self.image, str) else self.image.held_bytes


@dataclasses.dataclass(frozen=True, eq=False)
class Batch:
    """Numbers of a series that follow one another, and what is known of them.

    Attributes
    ----------
    first, stop : int
        The first number, and the one after the last.
    images : dict of int to Arrived
        Those that are to be processed, by number, rising.
    others : dict of int to tuple of str
        Status of all others, and what is to be said of them.
    """

    first: int
    stop: int
    images: dict[int, Arrived]
    others: dict[int, tuple[str, str]]


class Series:
    """The images of a series, between the thread that receives and the one that processes.

    Parameters
    ----------
    series : SeriesId
        The series.
    start : SeriesStart, optional
        Its header, if one came.
    channel : str, optional
        Which image of a frame is taken; the first if None.
    most_bytes : int
        See `MOST_BYTES`.

    Attributes
    ----------
    ledger : FrameLedger
        What became of the frames. What is settled after `batch` is the business of the one who
        processes them: `settle` takes note of it.
    ended : str
        Why no more images come; empty while they may.
    """

    def __init__(
        self,
        series: SeriesId,
        start: SeriesStart | None = None,
        channel: str | None = None,
        most_bytes: int = MOST_BYTES,
    ) -> None:
        self.id, self.start, self.channel = series, start, channel
        self._most_bytes = most_bytes
        self.ledger = FrameLedger(None if start is None else start.n_images)
        self.ended = ""
        self._lock = threading.Lock()
        self._next = 0
        self._waiting: dict[int, Arrived] = {}
        self._bytes = 0
        self._passed: set[int] = set()
        self._missing: set[int] = set()
        self._drains = False

    def announce(self, start: SeriesStart) -> None:
        """Take in a header that images have overtaken."""
        with self._lock:
            self.start = start
            self.ledger.expected = start.n_images

    def end(self, why: str) -> None:
        """Note that no more images come."""
        self.ended = why

    def offer(self, message: SeriesImage, now_s: float | None = None) -> bool:
        """Take in an image; return False if its number cannot be right.

        Parameters
        ----------
        message : SeriesImage
            The image, of this series.
        now_s : float, optional
            When it came, by `time.monotonic`; now if None.
        """
        arrived = Arrived(self._chosen(message), time.monotonic() if now_s is None else now_s)
        with self._lock:
            number, ledger = message.number, self.ledger
            expected = ledger.expected
            furthest = max([self._next, *self._waiting, *self._passed])
            if number >= (furthest + MOST_SKIPPED if expected is None else expected):
                return False
            if number - furthest > MOST_SKIPPED:
                return False
            ledger.received += 1
            if number in self._waiting or number in self._passed:
                ledger.duplicates += 1
            elif number < self._next:
                # Later ones were worked on already.
                late = number in self._missing
                self._missing.discard(number)
                ledger.duplicates += not late
                ledger.passed_over += late
                ledger.gaps -= late
            elif self._drains:
                ledger.passed_over += 1
            else:
                self._keep(number, arrived)
            return True

    def _chosen(self, message: SeriesImage) -> PackedFrame | str:
        if message.damage:
            return message.damage
        channels = self.start.channels if self.start else ()
        wanted = self.channel or next((c for c in channels if c in message.images), None)
        if wanted is None:
            wanted = next(iter(message.images))
        found = message.images.get(wanted)
        return f"the frame has no channel {wanted!r}" if found is None else found

    def _keep(self, number: int, arrived: Arrived) -> None:
        self._waiting[number] = arrived
        self._bytes += arrived.nbytes
        self.ledger.waiting += 1
        while self._bytes > self._most_bytes and len(self._waiting) > 1:
            self._pass_over(min(self._waiting))

    def _pass_over(self, number: int) -> None:
        self._bytes -= self._waiting.pop(number).nbytes
        self._passed.add(number)
        self.ledger.waiting -= 1
        self.ledger.passed_over += 1

    def drain(self) -> None:
        """Pass over what waits and what is still to come: the series cannot be processed."""
        with self._lock:
            self._drains = True
            for number in list(self._waiting):
                self._pass_over(number)
            self._passed.clear()

    def batch(
        self,
        most: int,
        *,
        longest_wait_s: float = float("inf"),
        since_s: float = 0.0,
        now_s: float | None = None,
    ) -> Batch | None:
        """Take out the next images to be processed.

        Parameters
        ----------
        most : int
            Images, at most.
        longest_wait_s : float
            Images that came earlier than so long ago are passed over, if newer ones wait.
        since_s : float
            What came before does not wait until then.
        now_s : float, optional
            The time, by `time.monotonic`; now if None.

        Returns
        -------
        Batch or None
            None if there is none yet: few images wait a moment for others.
        """
        now = time.monotonic() if now_s is None else now_s
        with self._lock:
            for number in sorted(self._waiting)[:-1]:
                if now - max(self._waiting[number].at_s, since_s) <= longest_wait_s:
                    break
                self._pass_over(number)
            numbers = sorted(self._waiting)[:most]
            if not numbers:
                return None
            oldest = min(self._waiting[number].at_s for number in numbers)
            is_whole = len(numbers) == most and numbers[-1] - self._next < most
            if not (is_whole or self.ended or now - oldest >= GATHER_S):
                return None
            return self._taken(numbers)

    def _taken(self, numbers: list[int]) -> Batch:
        first, stop = self._next, numbers[-1] + 1
        images = {number: self._waiting.pop(number) for number in numbers}
        self._bytes -= sum(arrived.nbytes for arrived in images.values())
        others = {}
        for number in range(first, stop):
            if number in self._passed:
                others[number] = PASSED_OVER, "newer frames had come"
            elif number not in images:
                others[number] = NOT_RECEIVED, "no message of this frame came"
                self.ledger.gaps += 1
                if len(self._missing) < _MOST_MISSING:
                    self._missing.add(number)
        self._passed = {number for number in self._passed if number >= stop}
        self._next = stop
        return Batch(first, stop, images, others)

    def settle(
        self, *, processed: int = 0, failed: int = 0, damaged: int = 0, slowest_s: float = 0.0
    ) -> None:
        """Note what became of images of a batch, when their rows are on disk."""
        with self._lock:
            ledger = self.ledger
            ledger.processed += processed
            ledger.failed += failed
            ledger.damaged += damaged
            ledger.waiting -= processed + failed + damaged
            ledger.written += processed + failed + damaged
            ledger.slowest_s = max(ledger.slowest_s, slowest_s)

    def give_up(self) -> None:
        """Pass over what has not been settled: no more is processed."""
        with self._lock:
            self._drains = True
            for number in list(self._waiting):
                self._pass_over(number)
            self.ledger.passed_over += self.ledger.waiting
            self.ledger.waiting = 0

    def peek(self) -> PackedFrame | None:
        """Return an image that waits and is not damaged, without taking it out; None if none is."""
        with self._lock:
            whole = (one.image for one in self._waiting.values() if not isinstance(one.image, str))
            return next(whole, None)

    @property
    def n_waiting(self) -> int:
        """Images that can be taken out."""
        return len(self._waiting)

    @property
    def missing(self) -> frozenset[int]:
        """Numbers before the last one that was taken out, of which no message came."""
        with self._lock:
            return frozenset(self._missing)

    @property
    def n_numbered(self) -> int:
        """Numbers of which it is known what became of them, from 0 on."""
        return self._next

    @property
    def is_over(self) -> bool:
        """Whether no more images come and none waits."""
        return bool(self.ended) and not self._waiting

    def told(self) -> dict[str, object]:
        """Return the ledger as it is at this moment."""
        with self._lock:
            return self.ledger.told()

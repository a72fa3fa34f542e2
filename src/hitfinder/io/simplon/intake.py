"""Messages sorted into series; what does not belong is counted by name."""

from __future__ import annotations

import collections
import logging
import threading
import time
from collections.abc import Sequence

from hitfinder.errors import HitfinderError
from hitfinder.io.simplon.messages import (
    MalformedMessageError,
    Message,
    OtherProtocolError,
    SeriesEnd,
    SeriesId,
    SeriesImage,
    SeriesStart,
)
from hitfinder.io.simplon.protocols import decode
from hitfinder.io.simplon.series import MOST_BYTES, Series

log = logging.getLogger(__name__)

MOST_SERIES = 64
"""Series that are over and still known, to tell what is left of them from what is new."""

MOST_TO_COME = 8
"""Series that may wait to be processed."""

KINDS = (
    *("headers", "images", "ends", "malformed", "other_protocol", "implausible", "stale"),
    *("after_end", "repeated_headers", "late_headers", "repeated_ends", "stray_ends"),
    "lone_images",
)
"""What messages are counted as: each is one of these."""

NO_END, END = "no end came, the next series began", "end"


class Intake:
    """Sorts messages into series.

    What is left of an aborted series is known by its number and passed over. A series whose header
    did not come begins with its first image; while another one has not ended, with its second,
    since one alone may be an image of that other one whose series was damaged on the way.

    Parameters
    ----------
    protocol : str, optional
        Name of the protocol; that of each message if None.
    channel : str, optional
        As for `Series`.
    most_bytes : int
        Bytes of images that wait to be processed.

    Attributes
    ----------
    counts : dict of str to int
        Messages by `KINDS`.
    heard_s : float, optional
        When the last message came, by `time.monotonic`.
    last_problem : str
        What was wrong with the last message that could not be used.
    series_passed_over : int
        Series that were not processed, since too many had come.
    """

    def __init__(
        self,
        protocol: str | None = None,
        channel: str | None = None,
        most_bytes: int = MOST_BYTES,
    ) -> None:
        self._protocol, self._channel, self._most_bytes = protocol, channel, most_bytes
        self.counts = dict.fromkeys(KINDS, 0)
        self.heard_s: float | None = None
        self.last_problem = ""
        self.series_passed_over = 0
        self._refused: HitfinderError | None = None
        self._current: Series | None = None
        self._lone: SeriesImage | None = None
        self._over: collections.deque[SeriesId] = collections.deque(maxlen=MOST_SERIES)
        self._to_come: collections.deque[Series] = collections.deque()
        self._lock = threading.Lock()

    def take(self, parts: Sequence[bytes]) -> None:
        """Take in a message, whatever it is."""
        self.heard_s = time.monotonic()
        try:
            message = decode(parts, self._protocol)
        except OtherProtocolError as error:
            self._note("other_protocol", error.what)
            if not self.counts["headers"] + self.counts["images"]:
                self._refused = error
            return
        except MalformedMessageError as error:
            self._note("malformed", error.what)
            return
        with self._lock:
            self._sort(message)

    def refuse(self, why: str) -> None:
        """Note a message that was too large to be read."""
        self.heard_s = time.monotonic()
        self._note("malformed", why)

    def _note(self, kind: str, problem: str = "") -> None:
        self.counts[kind] += 1
        if problem:
            self.last_problem = problem

    def _sort(self, message: Message) -> None:
        if isinstance(message, SeriesStart):
            self._note(self._start(message))
        elif isinstance(message, SeriesImage):
            self._note(self._image(message))
        else:
            self._note(self._end(message))

    def _start(self, start: SeriesStart) -> str:
        current = self._current
        if current is not None and current.id == start.series and not current.ended:
            if current.start is None:
                current.announce(start)
                return "late_headers"
            return "repeated_headers"
        if start.series.unique and start.series in self._over:
            return "stale"
        for doubt in start.doubts:
            log.warning("%s: %s", start.series, doubt)
        self._begin(Series(start.series, start, self._channel, self._most_bytes))
        return "headers"

    def _image(self, image: SeriesImage) -> str:
        current = self._current
        if current is None or current.id != image.series:
            if image.series in self._over:
                return "stale"
            if current is not None and image.series.number < current.id.number:
                return "stale"
            if current is not None and not current.ended and not self._is_known(image.series):
                self._lone = image
                return "lone_images"
            current = Series(image.series, None, self._channel, self._most_bytes)
            self._begin(current)
        elif current.ended:
            return "after_end"
        return "images" if current.offer(image) else "implausible"

    def _end(self, end: SeriesEnd) -> str:
        current = self._current
        if self._is_known(end.series):
            current = Series(end.series, None, self._channel, self._most_bytes)
            self._begin(current)
        if current is None or current.id != end.series:
            return "repeated_ends" if end.series in self._over else "stray_ends"
        if current.ended:
            return "repeated_ends"
        current.end(END)
        return "ends"

    def _begin(self, series: Series) -> None:
        if self._current is not None:
            if not self._current.ended:
                self._current.end(NO_END)
            self._over.append(self._current.id)
        self._current = series
        self._to_come.append(series)
        while len(self._to_come) > MOST_TO_COME:
            self._to_come.popleft().drain()
            self.series_passed_over += 1
        if self._is_known(series.id):
            assert self._lone is not None
            self.counts["lone_images"] -= 1
            self.counts["images" if series.offer(self._lone) else "implausible"] += 1
        self._lone = None

    def _is_known(self, series: SeriesId) -> bool:
        """Return whether an image of a series has come that had not begun."""
        return self._lone is not None and self._lone.series == series

    def next_series(self) -> Series | None:
        """Return the next series that has images; None if there is none yet.

        Raises
        ------
        HitfinderError
            If the sender speaks another protocol than was expected.
        """
        if self._refused is not None:
            raise self._refused
        with self._lock:
            while self._to_come:
                first = self._to_come[0]
                if not first.ledger.received and not first.ended:
                    return None
                self._to_come.popleft()
                if first.ledger.received:
                    return first
        return None

    @property
    def heard(self) -> str:
        """What was heard so far, in words."""
        said = [f"{n} {kind.replace('_', ' ')}" for kind, n in self.counts.items() if n]
        text = ", ".join(said) or "no message"
        return f"{text} (the last problem: {self.last_problem})" if self.last_problem else text

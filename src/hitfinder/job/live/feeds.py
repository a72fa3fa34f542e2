"""Where a live run gets its frames from: a detector's stream, or files that are being written."""

from __future__ import annotations

import atexit
import logging
import re
import threading
import time
from pathlib import Path
from typing import Protocol, Self

import numpy as np
from numpy.typing import NDArray

from hitfinder.errors import HitfinderError, SourceError
from hitfinder.io.naming import natural_order
from hitfinder.io.open import open_source
from hitfinder.io.readers import searched_suffixes
from hitfinder.io.simplon.images import PackedFrame, PackedImage
from hitfinder.io.simplon.intake import Intake
from hitfinder.io.simplon.messages import SeriesId, SeriesImage
from hitfinder.io.simplon.receiver import Receiver
from hitfinder.io.simplon.series import Series
from hitfinder.io.source import FrameSource
from hitfinder.job.live.kept import SeriesDescription, described

log = logging.getLogger(__name__)

_LOOK_AGAIN_S = 0.5
_MOST_WAITING = 64
_TRIES = 6
_DATA_FILE = re.compile(r"(.*)_data_\d+\.h5")


class Feed(Protocol):
    """Gives series of frames as they come; a context manager."""

    protocol: str | None
    one_series: bool
    """Whether there is only one series."""

    def next_series(self) -> Series | None:
        """Return the next series that has frames; None if there is none yet."""

    def describe(self, series: Series, first: PackedFrame) -> SeriesDescription:
        """Say what is known of a series."""

    def messages(self) -> dict[str, int]:
        """Return the messages so far by what they were; empty for files."""

    @property
    def heard(self) -> str:
        """What came so far, in words."""

    @property
    def heard_s(self) -> float | None:
        """When something last came, by `time.monotonic`."""

    def __enter__(self) -> Self: ...

    def __exit__(self, *exc_info: object) -> None: ...


class StreamFeed:
    """Frames of a detector's stream.

    Parameters
    ----------
    address : str
        ``tcp://host:port``.
    protocol, channel, most_bytes
        As for `hitfinder.io.simplon.intake.Intake`.
    """

    one_series = False

    def __init__(
        self, address: str, protocol: str | None, channel: str | None, most_bytes: int
    ) -> None:
        self.address, self.protocol = address, protocol
        self._intake = Intake(protocol, channel, most_bytes)
        self._channel = channel
        self._receiver: Receiver | None = None

    def next_series(self) -> Series | None:
        """Return the next series; None if there is none yet."""
        return self._intake.next_series()

    def describe(self, series: Series, first: PackedFrame) -> SeriesDescription:
        """Say what its header tells, and its first image."""
        assert isinstance(first, PackedImage)
        dtype = first.dtype.newbyteorder("=")
        start = series.start
        if start is None:
            return SeriesDescription(first.shape, dtype)
        channel = self._channel or next(iter(start.channels), "")
        try:
            mask = start.mask(channel, first.shape)
        except SourceError as error:
            raise HitfinderError(f"the pixel mask of the header: {error.what}") from error
        return SeriesDescription(
            first.shape,
            dtype,
            start.photon_energy_ev,
            start.camera_length_m,
            start.pixel_size_m,
            start.saturation,
            start.beam_center,
            mask,
            start.detector,
        )

    def messages(self) -> dict[str, int]:
        """Return the messages so far by what they were."""
        return dict(self._intake.counts)

    @property
    def heard(self) -> str:
        """What came so far, in words."""
        state = "not connected" if self._receiver is None else self._receiver.state
        return f"{state}; {self._intake.heard}"

    @property
    def heard_s(self) -> float | None:
        """When the last message came."""
        return self._intake.heard_s

    def __enter__(self) -> Self:
        self._receiver = Receiver(self.address, self._intake)
        return self

    def __exit__(self, *exc_info: object) -> None:
        if self._receiver is not None:
            self._receiver.close()


class FileFrame:
    """A frame in a file, which a worker reads.

    Parameters
    ----------
    file : str
        The file, or master.
    index : int
        Number of the frame in it.
    reader : str, optional
        What opens it.
    """

    def __init__(self, file: str, index: int, reader: str | None) -> None:
        self.file, self.index, self.reader = file, index, reader
        self.held_bytes = 0

    def unpacked(self) -> NDArray:
        """Read the frame.

        Raises
        ------
        SourceError
            If it cannot be read.
        """
        with _READING:
            return self._read()

    def _read(self) -> NDArray:
        source = _OPEN.get(self.file)
        if source is None or self.index >= len(source):
            # It has grown since.
            if source is not None:
                source.close()
            source = open_source(self.file, reader=self.reader)
            while len(_OPEN) >= _MOST_OPEN:
                _OPEN.pop(next(iter(_OPEN))).close()
            _OPEN[self.file] = source
        if self.index >= len(source):
            raise SourceError("truncated", f"there is no frame {self.index}", self.file)
        return source.read(self.index)


_MOST_OPEN = 4
_OPEN: dict[str, FrameSource] = {}
"""Files that this process has open."""


def _close_all() -> None:
    for source in _OPEN.values():
        source.close()
    _OPEN.clear()


# What is open when the interpreter is taken apart cannot be closed in order any more.
atexit.register(_close_all)

_READING = threading.Lock()
"""Files are opened and read by one thread at a time."""


class FilesFeed:
    """Frames of files that come into a folder, or of a master that is still being written.

    Parameters
    ----------
    place : Path
        The folder or file.
    reader : str, optional
        What opens the files.
    end_after_s : float, optional
        Say that no more come when none came for so long; never if None.
    """

    one_series = True
    protocol: str | None = None

    def __init__(self, place: Path, reader: str | None, end_after_s: float | None) -> None:
        if not place.exists():
            raise SourceError("missing-file", "there is no such file or folder", str(place))
        self._place, self._reader, self._end_after_s = place, reader, end_after_s
        self._series = Series(SeriesId(0))
        self._states: dict[Path, tuple[int, int]] = {}
        self._taken: dict[Path, int] = {}
        self._taken_at: dict[Path, tuple[int, int]] = {}
        self._unread: dict[Path, int] = {}
        self._tries: dict[Path, int] = {}
        self._next = 0
        self._given = False
        self._problem = ""
        self._description: SeriesDescription | None = None
        self.heard_s: float | None = time.monotonic()
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._watch, name="files", daemon=True)

    def next_series(self) -> Series | None:
        """Return the one series when it has frames."""
        if self._given or not self._series.ledger.received:
            return None
        self._given = True
        return self._series

    def describe(self, series: Series, first: PackedFrame) -> SeriesDescription:
        """Say what the first file tells."""
        assert self._description is not None
        return self._description

    def messages(self) -> dict[str, int]:
        """Return nothing: files are no messages."""
        return {}

    @property
    def heard(self) -> str:
        """What came so far, in words."""
        last = f" (the last problem: {self._problem})" if self._problem else ""
        return f"{len(self._taken)} files with {self._next} frames{last}"

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *exc_info: object) -> None:
        self._stopping.set()
        self._thread.join()
        for file, n in sorted(self._unread.items()):
            if n:
                log.warning("%s: %d of its frames could not be read and are left out", file, n)

    def _watch(self) -> None:
        while not self._stopping.wait(0 if self._next == 0 and not self._states else _LOOK_AGAIN_S):
            try:
                files = self._files()
            except OSError as error:
                self._problem = f"{self._place}: {error.strerror}"
                files = []
            for file in files:
                try:
                    self._look_at(file)
                except Exception as error:
                    # One file must not end the reading of all others.
                    log.debug("a file", exc_info=True)
                    self._not_yet(file, f"{file}: {error}")
            quiet = time.monotonic() - (self.heard_s or 0)
            if self._end_after_s is not None and self._next and quiet > self._end_after_s:
                self._series.end("no more files came")
                return

    def _look_at(self, file: Path) -> None:
        """Take the frames of a file that are new, unless it is still being written."""
        try:
            state = file.stat()
        except OSError:
            return
        now, before = (state.st_size, state.st_mtime_ns), self._states.get(file)
        self._states[file] = now
        if now != before:
            self._tries.pop(file, None)
        grows = file == self._place or "master" in file.name.lower()
        # Of others no frame is taken while they change; what is added to them later is taken then.
        if grows or (now == before and now != self._taken_at.get(file)):
            self._take(file)
            if not grows and file in self._taken:
                self._taken_at[file] = now

    def _files(self) -> list[Path]:
        if not self._place.is_dir():
            return [self._place]
        names = natural_order(
            str(path)
            for path in self._place.iterdir()
            if path.name.lower().endswith(searched_suffixes()) and path.name[0] != "."
        )
        masters = {name.removesuffix("_master.h5") for name in names if name.endswith("_master.h5")}
        return [
            Path(name)
            for name in names
            if not ((data := _DATA_FILE.fullmatch(name)) and data[1] in masters)
        ]

    def _take(self, file: Path) -> None:
        """Offer the frames of a file that are new and can be read."""
        begin = self._taken.get(file, 0)
        with _READING, open_source(str(file), reader=self._reader) as source:
            if not source.n_readable or source.shape == (0, 0):
                found = source.problems
                self._not_yet(file, str(found[0]) if found else f"{file}: there is no frame")
                return
            self._description = self._description or described(source)
            can = source.readable(np.arange(begin, len(source)))
        if file in self._taken_at and not len(can):
            # Frames are told by their numbers: there is none that could be new.
            log.warning("%s: it has changed since its frames were taken; they stay as taken", file)
        self._taken[file] = begin
        n_new = int(can.argmin()) if not can.all() else len(can)
        self._unread[file] = len(can) - n_new
        for index in range(begin, begin + n_new):
            while self._series.ledger.waiting >= _MOST_WAITING:
                if self._stopping.wait(0.02):
                    return
            self._offer(
                SeriesImage(_ID, self._next, {"": FileFrame(str(file), index, self._reader)})
            )
            self._taken[file] = index + 1

    def _not_yet(self, file: Path, why: str) -> None:
        """Note that a file cannot be read; after some tries it counts as a damaged frame."""
        self._problem = why
        self._tries[file] = self._tries.get(file, 0) + 1
        if self._tries[file] == _TRIES and self._place.is_dir():
            self._taken.setdefault(file, 0)
            self._offer(SeriesImage(_ID, self._next, damage=why))

    def _offer(self, image: SeriesImage) -> None:
        self.heard_s = time.monotonic()
        self._series.offer(image)
        self._next += 1


_ID = SeriesId(0)

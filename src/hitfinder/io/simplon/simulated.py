"""A simulated detector: sends frames as a DECTRIS detector does, with faults if asked."""

from __future__ import annotations

import dataclasses
import itertools
import logging
import random
import time
from collections.abc import Callable, Iterator, Sequence

import numpy as np
import zmq

from hitfinder.errors import ConfigError, HitfinderError, SourceError
from hitfinder.io.datafile import FramePacker
from hitfinder.io.simplon.compose import COMPOSERS, Announcement
from hitfinder.io.simplon.faults import FAULTS, Messages, Outgoing
from hitfinder.io.simplon.multipart import TYPES
from hitfinder.io.simplon.receiver import check_address
from hitfinder.io.source import FrameSource

log = logging.getLogger(__name__)

_LOOK_AGAIN_MS = 100
_LINGER_MS = 10_000


@dataclasses.dataclass(frozen=True)
class SimulatedDetector:
    """What a simulated detector sends.

    Parameters
    ----------
    protocol : str
        ``v1`` or ``stream2``.
    rate_hz : float
        Frames in a second.
    n_series : int
        Series, one after another.
    n_images : int, optional
        Frames of a series, those of the source over and over; as many as it has if None.
    first_series : int
        Number of the first series.
    header_detail : str
        ``none``, ``basic`` or ``all``.
    appendix : str
        Text to add to the header.
    faults : tuple of str
        What is to go wrong, of `hitfinder.io.simplon.faults.FAULTS`.

    Raises
    ------
    ValueError
        If a number is impossible.
    """

    protocol: str
    rate_hz: float = 10.0
    n_series: int = 1
    n_images: int | None = None
    first_series: int = 1
    header_detail: str = "all"
    appendix: str = ""
    faults: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if not self.rate_hz > 0 or self.n_series < 1 or (self.n_images or 1) < 1:
            raise ValueError("rate, series and images must be positive")

    def messages(self, source: FrameSource) -> Messages:
        """Compose all messages, in order, those of the faults too.

        Raises
        ------
        SourceError
            If a frame cannot be read, or has values that a detector does not send.
        """
        said = announcement(source, self.n_images or len(source), 1 / self.rate_hz)
        messages = self._right(source, said)
        rng = random.Random(1)
        for name in self.faults:
            messages = FAULTS[name](messages, rng)
        return messages

    def _right(self, source: FrameSource, said: Announcement) -> Messages:
        composer = COMPOSERS[self.protocol](said.frame_time_s)
        packer = FramePacker(said.shape, said.dtype)
        frame = np.empty(said.shape, said.dtype)
        for series in range(self.first_series, self.first_series + self.n_series):
            start = composer.start(series, said, self.header_detail, self.appendix)
            yield Outgoing("start", series, -1, start)
            for number in range(said.n_images):
                source.read(number % len(source), out=frame)
                parts = composer.image(series, number, frame, packer.pack(frame))
                yield Outgoing("image", series, number, parts)
            yield Outgoing("end", series, -1, composer.end(series))


def announcement(source: FrameSource, n_images: int, frame_time_s: float) -> Announcement:
    """Say of frames what a detector would, as far as their files tell.

    Raises
    ------
    SourceError
        If no detector sends such frames.
    """
    dtype = source.dtype
    if dtype not in [np.dtype(kind) for kind in TYPES.values() if kind[0] == "u"]:
        what = f"the counts are {dtype}; a detector sends uint8, uint16 or uint32"
        raise SourceError("unreadable", what, source.ref(0).file)
    metadata = source.metadata
    bad = source.mask_of(0) if metadata.mask is None else metadata.mask
    mask = np.zeros(source.shape, np.uint32) if bad is None else bad.astype(np.uint32)
    most = int(np.iinfo(dtype).max)
    saturation = most if metadata.saturation is None else int(min(metadata.saturation, most))
    center = metadata.beam_center or (0.0, 0.0)
    return Announcement(
        source.shape,
        dtype,
        n_images,
        float(metadata.photon_energy_ev or 0.0),
        float(metadata.camera_length_m or 0.0),
        float(metadata.pixel_size_m or 75e-6),
        frame_time_s,
        (float(center[0]), float(center[1])),
        mask,
        saturation,
        metadata.detector or "simulated detector",
    )


class StreamSender:
    """The sending end: a ZeroMQ PUSH socket, bound to an address, as a detector has it.

    Parameters
    ----------
    address : str
        Where to listen, ``tcp://host:port``.

    Raises
    ------
    ConfigError
        If that is no address, or something listens there.
    """

    def __init__(self, address: str) -> None:
        check_address(address, "is no address to listen on")
        self._context = zmq.Context()
        self._socket = self._context.socket(zmq.PUSH)
        self._socket.setsockopt(zmq.LINGER, _LINGER_MS)
        # Nothing is put on its way to a client that is not there yet.
        self._socket.setsockopt(zmq.IMMEDIATE, 1)
        try:
            self._socket.bind(address)
        except zmq.ZMQError as error:
            self._context.destroy(linger=0)
            in_use = error.errno == zmq.EADDRINUSE
            hint = "Choose another port." if in_use else "Give tcp://HOST:PORT of this machine."
            what = "the port is in use" if in_use else f"cannot be listened on ({error})"
            raise ConfigError(what, address, hint) from error

    @property
    def address(self) -> str:
        """Where it listens, with the port that was found for port 0 or ``*``."""
        endpoint = self._socket.getsockopt(zmq.LAST_ENDPOINT)
        assert isinstance(endpoint, bytes)
        return endpoint.decode()

    def send(self, parts: Sequence[bytes], timeout_s: float | None = None) -> bool:
        """Send a message; return False if no client took it in time.

        Parameters
        ----------
        parts : sequence of bytes
            Its parts.
        timeout_s : float, optional
            How long to wait; without end if None.
        """
        until = None if timeout_s is None else time.monotonic() + timeout_s
        while not self._socket.poll(_LOOK_AGAIN_MS, zmq.POLLOUT):
            if until is not None and time.monotonic() > until:
                return False
        try:
            self._socket.send_multipart(parts, zmq.NOBLOCK)
        except zmq.Again:
            return False
        return True

    def close(self, linger_ms: int = _LINGER_MS) -> None:
        """Stop listening, when what was sent has left."""
        self._context.destroy(linger=linger_ms)


@dataclasses.dataclass
class Sent:
    """What a simulated detector has sent.

    Attributes
    ----------
    messages, images, dropped : int
        Messages and images that were sent, and images that no client took in time.
    seconds : float
        From the first image to the last.
    """

    messages: int = 0
    images: int = 0
    dropped: int = 0
    seconds: float = 0.0


def send_stream(
    source: FrameSource,
    detector: SimulatedDetector,
    sender: StreamSender,
    *,
    timeout_s: float | None = None,
    advance: Callable[[int], object] = lambda n: None,
) -> Sent:
    """Send all messages, the images at the detector's rate.

    Parameters
    ----------
    source : FrameSource
        The frames.
    detector : SimulatedDetector
        What is sent.
    sender : StreamSender
        Where.
    timeout_s : float, optional
        How long to wait for a client; without end if None.
    advance : callable
        Called with 1 for every image that is sent.

    Raises
    ------
    HitfinderError
        If no client comes.
    """
    sent, due, began = Sent(), 0.0, 0.0
    for told in _looking_ahead(detector.messages(source)):
        if told.kind == "image" and told.parts:
            began = began or time.monotonic()
            due = max(due, began)
            time.sleep(max(0.0, due - time.monotonic()))
            due += 1 / detector.rate_hz
        first = sent.messages == 0
        # The detector does not wait: what no client takes is lost.
        if not sender.send(told.parts, timeout_s if first else max(1.0, 1 / detector.rate_hz)):
            if first:
                raise HitfinderError("no client has connected", sender.address)
            sent.dropped += told.kind == "image"
            continue
        sent.messages += 1
        if told.kind == "image":
            sent.images += 1
            advance(1)
    sent.seconds = time.monotonic() - began if began else 0.0
    return sent


def _looking_ahead(messages: Iterator[Outgoing]) -> Iterator[Outgoing]:
    """Have the first messages ready before the clock starts."""
    ready = list(itertools.islice(messages, 8))
    return itertools.chain(ready, messages)

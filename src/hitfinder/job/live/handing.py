"""Hits handed on while they are found: to CrystFEL, which asks for them, and to any who listen.

Neither can hold up a run. Hits wait in a queue of bounded length, as they came from the detector;
when it is full the oldest is passed over. They are unpacked, and put into messages, in threads of
their own and only if somebody takes them.
"""

from __future__ import annotations

import abc
import collections
import contextlib
import dataclasses
import logging
import threading
from collections.abc import Iterator, Mapping
from typing import Any, Self

import zmq

from hitfinder.errors import ConfigError
from hitfinder.export.hit_message import pack_hit
from hitfinder.export.hits import Hit
from hitfinder.geometry.geometry import Geometry
from hitfinder.io.simplon.images import PackedFrame
from hitfinder.io.simplon.receiver import check_address
from hitfinder.job.live.work import LiveChunk, hits_of
from hitfinder.results.chunk import ChunkResult

log = logging.getLogger(__name__)

MOST_WAITING, MOST_WAITING_BYTES = 64, 1 << 27
"""Hits that wait to be taken, and the bytes of their packed frames, at most."""

_POLL_MS, _POLL_WHILE_ASKED_MS = 100, 10
_MOST_REQUESTS, _MOST_REQUEST_BYTES = 1000, 1024
_MESSAGES_AHEAD = 8
"""Messages that wait for a listener, at most; they are as large as frames."""


class HitTally:
    """What became of the hits of a series, counted so that nothing gets lost unseen.

    Parameters
    ----------
    *outcomes : str
        What may become of a hit, besides that it waits or is passed over.
    """

    def __init__(self, *outcomes: str) -> None:
        self._counts = dict.fromkeys(("hits", *outcomes, "passed_over", "failed"), 0)
        self._lock = threading.Lock()

    def count(self, what: str) -> None:
        """Count one more."""
        with self._lock:
            self._counts[what] += 1

    def told(self) -> dict[str, int]:
        """Return all numbers; those that are not settled are ``waiting``."""
        with self._lock:
            told = dict(self._counts)
        settled = sum(told.values()) - told["hits"] - told.get("missed_by_some", 0)
        return told | {"waiting": told["hits"] - settled}


@dataclasses.dataclass(frozen=True, eq=False)
class HandedHit:
    """A hit that can be handed on.

    Attributes
    ----------
    hit : Hit
        What was found.
    image : PackedFrame
        Its frame.
    geometry : Geometry
        With every mask that was known then.
    about : mapping
        What else is said of it.
    tally : HitTally
        Where it is counted.
    """

    hit: Hit
    image: PackedFrame
    geometry: Geometry
    about: Mapping[str, str | int | None]
    tally: HitTally

    def message(self) -> bytes | None:
        """Return the message; None if there can be none, as when a file is gone."""
        try:
            return pack_hit(self.hit, self.image.unpacked(), self.geometry, **self.about)
        except Exception as error:
            # One hit that cannot be packed must not cost those after it.
            log.debug("frame %d is not handed on: %s", self.hit.frame, error, exc_info=True)
            self.tally.count("failed")
            return None


class HitSender(abc.ABC):
    """A socket that hands on hits, from a thread of its own.

    Parameters
    ----------
    address : str
        Where to listen, ``tcp://host:port``.

    Raises
    ------
    ConfigError
        If that is no address, or something listens there.
    """

    name: str
    """Of its table in ``live.json``."""

    outcomes: tuple[str, ...]
    """What may become of a hit, besides what `HitTally` knows."""

    kind: int
    """Of the socket, as ZeroMQ numbers them."""

    def __init__(self, address: str) -> None:
        check_address(address, "is no address to hand on hits at")
        self._context = zmq.Context()
        self._socket = self._context.socket(self.kind)
        self._socket.setsockopt(zmq.LINGER, 0)
        self._set_up(self._socket)
        try:
            self._socket.bind(address)
        except zmq.ZMQError as error:
            self._context.destroy(linger=0)
            in_use = error.errno == zmq.EADDRINUSE
            hint = "Choose another port." if in_use else "Give tcp://HOST:PORT of this machine."
            what = "the port is in use" if in_use else f"cannot be listened on ({error})"
            raise ConfigError(what, address, hint) from error
        self.address = self._socket.getsockopt_string(zmq.LAST_ENDPOINT)
        self._waiting: collections.deque[HandedHit] = collections.deque()
        self._bytes, self._n_put = 0, 0
        self._lock, self._stopping = threading.Lock(), threading.Event()
        self._thread = threading.Thread(target=self._run, name=self.name, daemon=True)

    def put(self, handed: HandedHit) -> None:
        """Let a hit wait to be taken; the oldest ones make room for it."""
        handed.tally.count("hits")
        with self._lock:
            self._n_put += 1
            numbered = dataclasses.replace(
                handed, about={**handed.about, "serial": self._n_put - 1}
            )
            self._waiting.append(numbered)
            self._bytes += handed.image.held_bytes
            while len(self._waiting) > MOST_WAITING or (
                self._bytes > MOST_WAITING_BYTES and len(self._waiting) > 1
            ):
                self._pop().tally.count("passed_over")

    def _pop(self) -> HandedHit:
        oldest = self._waiting.popleft()
        self._bytes -= oldest.image.held_bytes
        return oldest

    def _next(self) -> HandedHit | None:
        """Take out the oldest hit; None if there is none."""
        with self._lock:
            return self._pop() if self._waiting else None

    @abc.abstractmethod
    def _set_up(self, socket: zmq.Socket) -> None:
        """Set the options of the socket."""

    @abc.abstractmethod
    def _attend(self) -> None:
        """See to the socket and the hits once; called again and again."""

    def _run(self) -> None:
        while not self._stopping.is_set():
            try:
                self._attend()
            except zmq.ZMQError as error:
                # One message that cannot be sent must not cost those after it.
                log.debug("handing on: %s", error)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *exc_info: object) -> None:
        self._stopping.set()
        self._thread.join()
        self._context.destroy(linger=0)


class HitOffer(HitSender):
    """Answers requests for the next hit, as ``indexamajig --zmq-request`` sends them."""

    name, outcomes, kind = "offered", ("fetched",), zmq.ROUTER

    def __init__(self, address: str) -> None:
        super().__init__(address)
        self._requests: collections.deque[list[bytes]] = collections.deque(maxlen=_MOST_REQUESTS)
        self._message: tuple[HandedHit, bytes] | None = None

    def _set_up(self, socket: zmq.Socket) -> None:
        socket.setsockopt(zmq.MAXMSGSIZE, _MOST_REQUEST_BYTES)
        # Of an answer that nobody waits for any more we are told, and the next one gets it.
        socket.setsockopt(zmq.ROUTER_MANDATORY, 1)
        socket.setsockopt(zmq.SNDTIMEO, 0)

    def _attend(self) -> None:
        wait_ms = _POLL_WHILE_ASKED_MS if self._requests else _POLL_MS
        if self._socket.poll(wait_ms, zmq.POLLIN):
            parts = self._socket.recv_multipart(zmq.NOBLOCK)
            # Who asks, then an empty part, then what is asked, which is always the same.
            self._requests.append(parts[:-1])
        while self._requests and (ready := self._made()) is not None:
            handed, message = ready
            try:
                self._socket.send_multipart([*self._requests.popleft(), message], copy=False)
            except zmq.ZMQError as error:
                log.debug("a request for a hit was given up before its answer: %s", error)
                continue
            self._message = None
            handed.tally.count("fetched")

    def _made(self) -> tuple[HandedHit, bytes] | None:
        """Return a hit and its message; the same until it is sent."""
        while self._message is None and (handed := self._next()) is not None:
            message = handed.message()
            self._message = None if message is None else (handed, message)
        return self._message


class HitPublisher(HitSender):
    """Sends every hit to all who have subscribed."""

    name, kind = "published", zmq.XPUB
    outcomes = ("sent", "missed_by_some", "without_subscriber")

    def __init__(self, address: str) -> None:
        super().__init__(address)
        self.n_subscribers = 0

    def _set_up(self, socket: zmq.Socket) -> None:
        socket.setsockopt(zmq.SNDHWM, _MESSAGES_AHEAD)
        # Every subscription and its end is told, so that they can be counted.
        socket.setsockopt(zmq.XPUB_VERBOSER, 1)

    def _attend(self) -> None:
        if self._socket.poll(_POLL_WHILE_ASKED_MS, zmq.POLLIN):
            told = self._socket.recv(zmq.NOBLOCK)
            if told[:1] in (b"\0", b"\1"):
                self.n_subscribers += 1 if told[:1] == b"\1" else -1
            return
        while (handed := self._next()) is not None:
            if self.n_subscribers < 1:
                handed.tally.count("without_subscriber")
            elif (message := handed.message()) is not None:
                self._send(message, handed.tally)

    def _send(self, message: bytes, tally: HitTally) -> None:
        """Send to all who have room for one more message."""
        try:
            # Refused if any of them has no room: so it is known that somebody misses one.
            self._socket.setsockopt(zmq.XPUB_NODROP, 1)
            self._socket.send(message, zmq.NOBLOCK, copy=False)
        except zmq.Again:
            tally.count("missed_by_some")
            self._socket.setsockopt(zmq.XPUB_NODROP, 0)
            self._socket.send(message, zmq.NOBLOCK, copy=False)
        tally.count("sent")


class HandingOn:
    """Hands the hits of a series to the senders; a `hitfinder.job.live.follower.Follower`.

    Parameters
    ----------
    senders : iterable of HitSender
        They stay, while one series follows another.
    source : str
        Where the frames come from.
    series : int or None
        Number of the series.
    """

    def __init__(self, senders: tuple[HitSender, ...], source: str, series: int | None) -> None:
        self._about = {"source": source, "series": series}
        self._tallies = {one: HitTally(*one.outcomes) for one in senders}

    def take(self, chunk: LiveChunk, result: ChunkResult, geometry: Geometry) -> None:
        """Hand on the hits of a chunk."""
        for hit in hits_of(result):
            image = chunk.images[hit.frame]
            assert not isinstance(image, str)
            for sender, tally in self._tallies.items():
                sender.put(HandedHit(hit, image, geometry, self._about, tally))

    def told(self) -> dict[str, Any]:
        """Return the counts of each sender."""
        told: dict[str, Any] = {}
        for sender, tally in self._tallies.items():
            told[sender.name] = {"address": sender.address, **tally.told()}
            if isinstance(sender, HitPublisher):
                told[sender.name]["subscribers"] = sender.n_subscribers
        return told

    def line(self) -> dict[str, Any]:
        """Return nothing: curves of these are not drawn."""
        return {}

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc_info: object) -> None: ...


@contextlib.contextmanager
def senders_at(offer: str | None, publish: str | None) -> Iterator[tuple[HitSender, ...]]:
    """Listen at the addresses that are given, for the time of the block.

    Parameters
    ----------
    offer, publish : str, optional
        Addresses of a `HitOffer` and a `HitPublisher`.

    Raises
    ------
    ConfigError
        If one of them cannot be listened at.
    """
    with contextlib.ExitStack() as stack:
        kinds = ((HitOffer, offer), (HitPublisher, publish))
        made = (kind(address) for kind, address in kinds if address is not None)
        yield tuple(stack.enter_context(one) for one in made)

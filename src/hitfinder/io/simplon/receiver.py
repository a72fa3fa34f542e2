"""Receiving a detector's messages over ZeroMQ, in a thread of its own."""

from __future__ import annotations

import contextlib
import logging
import re
import socket
import threading
import time
from types import TracebackType
from typing import Self

import zmq
from zmq.utils.monitor import recv_monitor_message

from hitfinder.errors import ConfigError
from hitfinder.io.simplon.intake import Intake
from hitfinder.io.simplon.multipart import MOST_PARTS
from hitfinder.io.simplon.protocols import MOST_BYTES

log = logging.getLogger(__name__)

QUEUED = 4
"""Messages that ZeroMQ holds for this receiver: what waits here no other one can have."""

_LOOK_AGAIN_MS = 100
_LOOK_S = 2.0
_EVENTS = zmq.EVENT_CONNECTED | zmq.EVENT_DISCONNECTED | zmq.EVENT_HANDSHAKE_SUCCEEDED
_AGAIN_AFTER_S, _AT_ONCE_S = 3.0, 0.5
"""ZeroMQ tries again sooner to connect, unless it has given the sender up for a message that is too
large: then a new connection is made at once."""

_RECONNECT_MS, _MOST_RECONNECT_MS = 100, 2000


def check_address(address: str, what: str) -> None:
    """Refuse what is no address; ZeroMQ would wait for some of these without a word.

    Raises
    ------
    ConfigError
        If it is none.
    """
    found = re.fullmatch(r"tcp://(?:[\w.*-]+|\[[0-9A-Fa-f:.%\w]+\]):(?P<port>\d{1,5}|\*)", address)
    if found is None or (found["port"] != "*" and int(found["port"]) > 65535):
        raise ConfigError(what, address, "Give tcp://HOST:PORT.")


def _unreached(address: str) -> str:
    """Say why nobody answers at an address, as far as a connection tells; empty if it does not."""
    host, _, port = address.removeprefix("tcp://").rpartition(":")
    try:
        socket.create_connection((host.strip("[]"), int(port)), _LOOK_S).close()
    except socket.gaierror:
        return f"no host of the name {host} is known"
    except ConnectionRefusedError:
        return f"nothing listens at port {port}"
    except TimeoutError:
        return f"{host} does not answer"
    except (OSError, ValueError) as error:
        return getattr(error, "strerror", None) or ""
    return ""


class Receiver:
    """Pulls the messages of a detector and hands them to an `Intake`, until it is closed.

    It connects again whenever the connection is lost, and may be started before the detector.

    Parameters
    ----------
    address : str
        Where the detector is, ``tcp://host:port``.
    intake : Intake
        Takes the messages.

    Attributes
    ----------
    connections, disconnections : int
        How often the connection was made and lost.
    handshakes : int
        How often it was made to something that speaks ZeroMQ.

    Raises
    ------
    ConfigError
        If that is no address.
    """

    def __init__(self, address: str, intake: Intake) -> None:
        check_address(address, "is no address of a stream")
        self.address, self.intake = address, intake
        self.connections, self.disconnections, self.handshakes = 0, 0, 0
        self._context = zmq.Context()
        self._socket = self._context.socket(zmq.PULL)
        for option, value in (
            (zmq.RCVHWM, QUEUED),
            (zmq.MAXMSGSIZE, MOST_BYTES),
            (zmq.RECONNECT_IVL, _RECONNECT_MS),
            (zmq.RECONNECT_IVL_MAX, _MOST_RECONNECT_MS),
            (zmq.LINGER, 0),
            # A cable that is pulled tells nothing.
            (zmq.TCP_KEEPALIVE, 1),
            (zmq.TCP_KEEPALIVE_IDLE, 10),
            (zmq.TCP_KEEPALIVE_INTVL, 5),
            (zmq.TCP_KEEPALIVE_CNT, 3),
        ):
            self._socket.setsockopt(option, value)
        self._monitor = self._socket.get_monitor_socket(_EVENTS)
        try:
            self._socket.connect(address)
        except zmq.ZMQError as error:
            self._context.destroy(linger=0)
            hint = "Give tcp://HOST:PORT."
            raise ConfigError(f"is no address of a stream ({error})", address, hint) from error
        self._lost_s: float | None = None
        self._again_s = float("-inf")
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._receive, name="receiver", daemon=True)
        self._thread.start()

    @property
    def is_connected(self) -> bool:
        """Whether there is a connection at the moment."""
        return self.connections > self.disconnections

    @property
    def state(self) -> str:
        """Whether there is a connection at the moment, and what seems to be wrong, in words."""
        if self.is_connected:
            knows = self.handshakes or self.intake.heard_s is not None
            return "connected" if knows else "connected to something that does not speak ZeroMQ"
        why = _unreached(self.address)
        return f"not connected: {why}" if why else "not connected"

    def close(self) -> None:
        """Stop receiving."""
        self._stopping.set()
        self._thread.join()
        self._context.destroy(linger=0)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def _receive(self) -> None:
        poller = zmq.Poller()
        poller.register(self._socket, zmq.POLLIN)
        poller.register(self._monitor, zmq.POLLIN)
        while not self._stopping.is_set():
            try:
                ready = dict(poller.poll(_LOOK_AGAIN_MS))
                if self._monitor in ready:
                    self._note(recv_monitor_message(self._monitor)["event"])
                elif self._lost_s and time.monotonic() - self._lost_s > _AGAIN_AFTER_S:
                    self._connect_again()
                if self._socket in ready:
                    self._take()
            except zmq.ZMQError as error:
                log.debug("receiving: %s", error)
            except Exception as error:
                # One message must not end the reception of all others.
                log.debug("a message", exc_info=True)
                self.intake.refuse(f"{type(error).__name__}: {error}")

    def _note(self, event: int) -> None:
        now = time.monotonic()
        if event == zmq.EVENT_HANDSHAKE_SUCCEEDED:
            self.handshakes += 1
            return
        if event == zmq.EVENT_DISCONNECTED:
            self.disconnections += 1
            self._lost_s = now
            return
        self.connections += 1
        self._lost_s = None
        if now - self._again_s < _AT_ONCE_S:
            self.intake.refuse(f"a message of more than {MOST_BYTES} bytes; it was not taken")

    def _connect_again(self) -> None:
        self._lost_s, self._again_s = None, time.monotonic()
        with contextlib.suppress(zmq.ZMQError):
            self._socket.disconnect(self.address)
        self._socket.connect(self.address)

    def _take(self) -> None:
        """Receive one message; of one that is too large no more than the limit is kept."""
        parts, size = list[bytes](), 0
        while True:
            part = self._socket.recv(zmq.NOBLOCK)
            size += len(part)
            if len(parts) <= MOST_PARTS and size <= MOST_BYTES:
                parts.append(part)
            if not self._socket.getsockopt(zmq.RCVMORE):
                break
        if size > MOST_BYTES:
            self.intake.refuse(f"a message of {size} bytes is none of a detector")
        else:
            self.intake.take(parts)

"""Messages over a socket between a process and its worker, neither of which waits for the other.

A message is a tag of one byte, its length in eight bytes (big-endian), and its content.
"""

from __future__ import annotations

import collections
import enum
import socket
import struct

_HEADER = struct.Struct(">cQ")
_LARGEST_READ = 1 << 20


class Tag(enum.Enum):
    """What a message is."""

    HELLO = b"H"
    WORK = b"W"
    TASK = b"T"
    READY = b"R"
    RESULT = b"D"
    ERROR = b"E"


Message = tuple[Tag, bytes | bytearray]


class Channel:
    """The end of a socket that never waits: what cannot be sent yet is kept.

    Parameters
    ----------
    end : socket
        The end; it is made non-blocking.
    """

    def __init__(self, end: socket.socket) -> None:
        end.setblocking(False)
        self.socket = end
        self._outgoing: collections.deque[memoryview] = collections.deque()
        self._coming = bytearray(_HEADER.size)
        self._have = 0
        self._tag: Tag | None = None
        self._ended = False

    @property
    def is_sending(self) -> bool:
        """Whether something has not been sent yet."""
        return bool(self._outgoing)

    def put(self, tag: Tag, content: bytes = b"") -> None:
        """Send a message, or as much of it as the other end takes now."""
        self._outgoing.append(memoryview(_HEADER.pack(tag.value, len(content))))
        if content:
            self._outgoing.append(memoryview(content))
        self.flush()

    def flush(self) -> None:
        """Go on sending; what is sent to an end that is gone is lost."""
        try:
            while self._outgoing:
                sent = self.socket.send(self._outgoing[0])
                if sent == len(self._outgoing[0]):
                    self._outgoing.popleft()
                else:
                    self._outgoing[0] = self._outgoing[0][sent:]
        except BlockingIOError:
            return
        except OSError:
            self._outgoing.clear()

    def poll(self) -> list[Message]:
        """Return the messages that are complete.

        Raises
        ------
        EOFError
            If the other end is gone and all its messages were returned.
        """
        found: list[Message] = []
        while not self._ended and self._receive():
            if self._tag is None:
                tag, length = _HEADER.unpack(self._coming)
                self._tag, self._coming = Tag(tag), bytearray(length)
                self._have = 0
            if self._have == len(self._coming):
                found.append((self._tag, self._coming))
                self._tag, self._coming, self._have = None, bytearray(_HEADER.size), 0
        if self._ended and not found:
            raise EOFError
        return found

    def _receive(self) -> bool:
        """Read on; return whether the header or content being read is complete."""
        while self._have < len(self._coming):
            room = memoryview(self._coming)[self._have : self._have + _LARGEST_READ]
            try:
                n = self.socket.recv_into(room)
            except BlockingIOError:
                return False
            except OSError:
                n = 0
            if n == 0:
                self._ended = True
                return False
            self._have += n
        return True

    def close(self) -> None:
        """Close the socket: the other end gets no more messages."""
        self.socket.close()


def send(end: socket.socket, tag: Tag, content: bytes = b"") -> None:
    """Send a message over a socket that waits."""
    end.sendall(_HEADER.pack(tag.value, len(content)))
    end.sendall(content)


def receive(end: socket.socket) -> Message | None:
    """Wait for a message over a socket that waits; None if the other end is gone."""
    header = _read(end, _HEADER.size)
    if header is None:
        return None
    tag, length = _HEADER.unpack(header)
    content = _read(end, length)
    return None if content is None else (Tag(tag), content)


def _read(end: socket.socket, length: int) -> bytearray | None:
    content = bytearray(length)
    have = 0
    while have < length:
        n = end.recv_into(memoryview(content)[have:])
        if n == 0:
            return None
        have += n
    return content

"""The protocols by name, and which one a message is of."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

from hitfinder.io.simplon import cbor, multipart
from hitfinder.io.simplon.messages import MalformedMessageError, Message, OtherProtocolError


class _Protocol(NamedTuple):
    is_of_it: Callable[[Sequence[bytes]], bool]
    decode: Callable[[Sequence[bytes]], Message]


PROTOCOLS = {
    multipart.NAME: _Protocol(multipart.is_stream1, multipart.decode),
    cbor.NAME: _Protocol(cbor.is_stream2, cbor.decode),
}

MOST_BYTES = 1 << 30
"""Bytes of a message beyond which it is none: the start of a 16M detector with two thresholds has
3·10⁸."""


def protocol_of(parts: Sequence[bytes]) -> str | None:
    """Name the protocol that a message is of, by how it begins; None if it is of none."""
    return next((name for name, one in PROTOCOLS.items() if one.is_of_it(parts)), None)


def decode(parts: Sequence[bytes], protocol: str | None = None) -> Message:
    """Read a message of a detector.

    Parameters
    ----------
    parts : sequence of bytes
        Its parts.
    protocol : str, optional
        Name of the protocol that is expected; whichever it is if None.

    Raises
    ------
    OtherProtocolError
        If it is of the other one.
    MalformedMessageError
        If it cannot be read.
    """
    if (size := sum(map(len, parts))) > MOST_BYTES:
        raise MalformedMessageError(f"a message of {size} bytes is none of a detector")
    found = protocol_of(parts)
    if found is None:
        raise MalformedMessageError("a message is of neither protocol")
    if protocol is not None and found != protocol:
        raise OtherProtocolError(found, protocol)
    return PROTOCOLS[found].decode(parts)

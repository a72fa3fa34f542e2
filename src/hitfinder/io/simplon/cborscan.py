"""Looking through a CBOR message before it is decoded (RFC 8949): what it would cost.

A message of a few bytes can stand for a nesting without end or announce an array of 10⁹ items.
"""

from __future__ import annotations

from collections.abc import Collection

from hitfinder.io.simplon.messages import MalformedMessageError

MOST_DEPTH = 16
"""Maps, arrays and tags within one another; a detector's messages have 7."""

MOST_ITEMS = 100_000
"""Numbers, texts and so on of a message; a detector's have a few hundred."""

MOST_TEXT = 1 << 20
"""Bytes of a text."""

_BYTES, _TEXT, _ARRAY, _MAP, _TAG, _SIMPLE = 2, 3, 4, 5, 6, 7
"""Major types of CBOR."""

_INDEFINITE = 31


def check_cost(content: bytes, tags: Collection[int]) -> None:
    """Refuse a message that asks for more than it holds.

    Parameters
    ----------
    content : bytes
        One CBOR item.
    tags : collection of int
        Tags that it may have.

    Raises
    ------
    MalformedMessageError
        If it is cut short, too deep, has too many items or another tag.
    """
    at, items = 0, 0
    open_: list[int] = []  # items that are still to come, from outside to inside; -1: until a break
    while True:
        items += 1
        if items > MOST_ITEMS:
            raise MalformedMessageError(f"a CBOR message of more than {MOST_ITEMS} items")
        major, value, at = _head(content, at)
        inside = None
        if major == _SIMPLE and value == _BREAK:
            if not open_ or open_.pop() != -1:
                raise MalformedMessageError("a CBOR message with a break out of place")
        elif major in (_BYTES, _TEXT) and value == _OPEN:
            inside = -1
        elif major in (_BYTES, _TEXT):
            at += value
            if at > len(content) or (major == _TEXT and value > MOST_TEXT):
                raise MalformedMessageError(f"a CBOR string of {value} bytes is not there")
        elif major in (_ARRAY, _MAP):
            inside = -1 if value == _OPEN else value * (2 if major == _MAP else 1)
            if inside > len(content) - at:
                raise MalformedMessageError(f"a CBOR array or map of {value} items is not there")
        elif major == _TAG:
            if value not in tags:
                raise MalformedMessageError(f"CBOR tag {value} is none of a detector's")
            inside = 1
        if inside is not None and inside != 0:
            open_.append(inside)
            if len(open_) > MOST_DEPTH:
                raise MalformedMessageError(f"a CBOR message nested more than {MOST_DEPTH} deep")
            continue
        # What was just read is complete, and so may be what it is in.
        while open_ and open_[-1] != -1:
            open_[-1] -= 1
            if open_[-1]:
                break
            open_.pop()
        if not open_:
            break
    if at != len(content):
        raise MalformedMessageError(f"{len(content) - at} bytes too many after a CBOR message")


_OPEN, _BREAK = -2, -3


def _head(content: bytes, at: int) -> tuple[int, int, int]:
    """Return the major type and the value of the head of an item, and where it ends."""
    if at >= len(content):
        raise MalformedMessageError("a CBOR message that is cut short")
    major, short = content[at] >> 5, content[at] & 31
    at += 1
    if short < 24:
        return major, short, at
    if short == _INDEFINITE:
        if major == _SIMPLE:
            return major, _BREAK, at
        if major in (_BYTES, _TEXT, _ARRAY, _MAP):
            return major, _OPEN, at
    if short > 27:
        raise MalformedMessageError("a CBOR message with a head that means nothing")
    n_bytes = 1 << (short - 24)
    if at + n_bytes > len(content):
        raise MalformedMessageError("a CBOR message that is cut short")
    return major, int.from_bytes(content[at : at + n_bytes], "big"), at + n_bytes

"""What goes wrong between a detector and its clients, done on purpose."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from typing import NamedTuple

import cbor2

Parts = list[bytes]


class Outgoing(NamedTuple):
    """A message of a simulated detector, with what it is."""

    kind: str
    series: int
    number: int
    parts: Parts


Messages = Iterator[Outgoing]

EVERY = 5
"""Of so many images one is lost, repeated, damaged and so on."""


def _is_hit(told: Outgoing) -> bool:
    return told.kind == "image" and told.number % EVERY == EVERY - 2


def drop_header(messages: Messages, rng: random.Random) -> Messages:
    """Leave out the header."""
    return (told for told in messages if told.kind != "start")


def no_end(messages: Messages, rng: random.Random) -> Messages:
    """Leave out the end."""
    return (told for told in messages if told.kind != "end")


def repeat_header(messages: Messages, rng: random.Random) -> Messages:
    """Send the header twice."""
    for told in messages:
        yield from [told, told] if told.kind == "start" else [told]


def repeat_end(messages: Messages, rng: random.Random) -> Messages:
    """Send the end twice."""
    for told in messages:
        yield from [told, told] if told.kind == "end" else [told]


def gap(messages: Messages, rng: random.Random) -> Messages:
    """Lose some images."""
    return (told for told in messages if not _is_hit(told))


def duplicate(messages: Messages, rng: random.Random) -> Messages:
    """Send some images twice."""
    for told in messages:
        yield from [told, told] if _is_hit(told) else [told]


def reorder(messages: Messages, rng: random.Random) -> Messages:
    """Exchange some images with the ones that follow."""
    kept: Outgoing | None = None
    for told in messages:
        if kept is None and _is_hit(told):
            kept = told
            continue
        if kept is not None and told.kind != "image":
            yield kept
            kept = None
        yield told
        if kept is not None:
            yield kept
            kept = None


def late(messages: Messages, rng: random.Random) -> Messages:
    """Keep the second image back until all others were sent."""
    kept = None
    for told in messages:
        if told.kind == "image" and told.number == 1:
            kept = told
            continue
        if told.kind == "end" and kept is not None:
            yield kept
        yield told


def stale(messages: Messages, rng: random.Random) -> Messages:
    """Send an image of the series before among those of this one."""
    last: Outgoing | None = None
    for told in messages:
        yield told
        if told.kind == "image":
            if last is not None and last.series != told.series:
                yield last
            if last is None or last.series == told.series:
                last = told


def abort(messages: Messages, rng: random.Random) -> Messages:
    """Break every series off after half of its images, without an end, but the last."""
    series: list[Outgoing] = []
    for told in messages:
        if told.kind == "start" and series:
            yield from _half(series)
            series = []
        series.append(told)
    yield from series


def _half(series: list[Outgoing]) -> Messages:
    images = sum(told.kind == "image" for told in series)
    return iter([t for t in series if t.kind == "start" or t.number < images // 2][: images // 2])


def garbage(messages: Messages, rng: random.Random) -> Messages:
    """Send messages between the others that are none."""
    bombs = [
        [rng.randbytes(1000)],
        [b""],
        [b"{" * 1000],
        [b"{}"] * 40,
        [b"\xd9\xd9\xf7" + b"\xd8\x28" * 10_000],
        [b"\xd9\xd9\xf7\xa1\x64type\x5a\x3b\x9a\xca\x00"],
        [b'{"htype":"dimage-1.0","series":-1,"frame":1e99}', b"", b"", b""],
    ]
    for number, told in enumerate(messages):
        yield told._replace(kind="garbage", parts=bombs[number % len(bombs)])
        yield told


def damage(messages: Messages, rng: random.Random) -> Messages:
    """Spoil the counts of some images."""
    for told in messages:
        yield told._replace(parts=_spoiled(told.parts, rng)) if _is_hit(told) else told


def _spoiled(parts: Parts, rng: random.Random) -> Parts:
    """Overwrite the end of the longest part's counts; sizes and what is around them stay."""
    longest = max(range(len(parts)), key=lambda i: len(parts[i]))
    content = bytearray(parts[longest])
    # The middle is within the counts in both protocols.
    middle, n = len(content) // 2, len(content) // 4
    content[middle : middle + n] = rng.randbytes(n)
    return [*parts[:longest], bytes(content), *parts[longest + 1 :]]


def huge(messages: Messages, rng: random.Random) -> Messages:
    """Claim 10⁹ pixels for some images."""
    for told in messages:
        yield told._replace(parts=_huge(told)) if _is_hit(told) else told


def _huge(told: Outgoing) -> Parts:
    side = 31_623
    if len(told.parts) > 1:
        layout = told.parts[1].partition(b'"shape":[')
        after = layout[2].partition(b"]")[2]
        claimed = f'"shape":[{side},{side}]'.encode()
        return [told.parts[0], layout[0] + claimed + after, *told.parts[2:]]
    said = cbor2.loads(told.parts[0], tag_hook=_tag_of)
    image = {"type": "image", "series_id": told.series, "image_id": told.number}
    image["series_unique_id"] = said["series_unique_id"]
    numbers = cbor2.CBORTag(69, cbor2.CBORTag(56500, ["bslz4", 2, bytes(20)]))
    image["data"] = {"threshold_1": cbor2.CBORTag(40, [[side, side], numbers])}
    return [cbor2.dumps(image)]


def _tag_of(first: object, second: object) -> None:
    return None


FAULTS: dict[str, Callable[[Messages, random.Random], Messages]] = {
    "drop-header": drop_header,
    "no-end": no_end,
    "repeat-header": repeat_header,
    "repeat-end": repeat_end,
    "gap": gap,
    "duplicate": duplicate,
    "reorder": reorder,
    "late": late,
    "stale": stale,
    "abort": abort,
    "garbage": garbage,
    "damage": damage,
    "huge": huge,
}
"""Faults by name."""

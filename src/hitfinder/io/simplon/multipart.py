"""SIMPLON stream v1: multipart messages of JSON and binary parts.

Written after DECTRIS' "SIMPLON API Reference", version 1.8, section 5.4, and messages of an EIGER.
"""

from __future__ import annotations

import contextlib
import json
from collections.abc import Sequence
from typing import Any

import numpy as np

from hitfinder.errors import SourceError
from hitfinder.io.simplon.images import DAMAGED, PackedImage, packing_of
from hitfinder.io.simplon.messages import (
    MalformedMessageError,
    Message,
    SeriesEnd,
    SeriesId,
    SeriesImage,
    SeriesStart,
    whole,
)

NAME = "v1"

START, IMAGE, LAYOUT, TIMES, END = (
    *("dheader-1.0", "dimage-1.0", "dimage_d-1.0", "dconfig-1.0", "dseries_end-1.0"),
)
"""Values of ``htype``."""

TABLES = {
    "dflatfield-1.0": "flatfield",
    "dpixelmask-1.0": "pixel_mask",
    "dcountrate_table-1.0": "countrate_table",
}
"""``htype`` of what comes with a header of detail ``all``, and what it is called here."""

TYPES = {"uint8": "u1", "uint16": "u2", "uint32": "u4", "float32": "f4"}

MOST_PARTS = 16
"""Parts of a message; the longest of a detector has 9."""

MOST_JSON = 1 << 20
"""Bytes of a part that is parsed."""


def is_stream1(parts: Sequence[bytes]) -> bool:
    """Tell a message of this protocol, by its first part."""
    return bool(parts) and parts[0][:1] == b"{"


def decode(parts: Sequence[bytes]) -> Message:
    """Read a message.

    Parameters
    ----------
    parts : sequence of bytes
        Its parts.

    Raises
    ------
    MalformedMessageError
        If it is none of a detector, or no number of a series or frame can be had from it.
    """
    if not 0 < len(parts) <= MOST_PARTS:
        raise MalformedMessageError(f"{len(parts)} parts are no message of stream {NAME}")
    head = _json(parts[0])
    kind = head.get("htype")
    series = SeriesId(whole(head.get("series"), "the series"))
    if kind == START:
        return _start(series, head, parts[1:])
    if kind == IMAGE:
        return _image(series, whole(head.get("frame"), "the frame"), head, parts[1:])
    if kind == END:
        return SeriesEnd(series)
    raise MalformedMessageError(f"htype {str(kind)[:40]!r} is none of stream {NAME}")


def _json(part: bytes) -> dict[str, Any]:
    if len(part) > MOST_JSON:
        raise MalformedMessageError(f"a part of {len(part)} bytes where JSON is expected")
    try:
        found = json.loads(part)
    except (ValueError, RecursionError) as error:
        raise MalformedMessageError(f"a part is no JSON ({str(error)[:80]})") from error
    if not isinstance(found, dict):
        raise MalformedMessageError("a part is no JSON object")
    return found


def _start(series: SeriesId, head: dict[str, Any], rest: Sequence[bytes]) -> SeriesStart:
    """Read a header: of detail ``none`` it is one part, ``basic`` two and ``all`` eight."""
    detail, left, said = head.get("header_detail"), list(rest), dict[str, Any]()
    arrays = {}
    if detail in ("basic", "all") and left:
        said = _json(left.pop(0))
    while detail == "all" and len(left) >= 2 and (name := _table(left[0])):
        layout, content = _json(left.pop(0)), left.pop(0)
        if layout.get("shape"):
            with contextlib.suppress(SourceError):  # the frames can do without
                arrays[name] = _packed(layout, "<", content)
    return SeriesStart(series, said, (), arrays, left[0] if left else None)


def _table(part: bytes) -> str | None:
    try:
        return TABLES.get(str(_json(part).get("htype")))
    except MalformedMessageError:
        return None


def _image(
    series: SeriesId, number: int, head: dict[str, Any], rest: Sequence[bytes]
) -> SeriesImage:
    if len(rest) < 3:
        return SeriesImage(series, number, damage=f"an image of {len(rest) + 1} parts, not of 4")
    try:
        layout, times = _json(rest[0]), _json(rest[2])
        image = _packed(layout, str(layout.get("encoding")), rest[1])
    except (SourceError, MalformedMessageError) as error:
        return SeriesImage(series, number, damage=error.what)
    said = {"hash": head.get("hash"), **times}
    return SeriesImage(series, number, {"": image}, said, rest[3] if len(rest) > 3 else None)


def _packed(layout: dict[str, Any], encoding: str, content: bytes) -> PackedImage:
    """Return the values of a part; ``shape`` counts columns first."""
    shape, kind = layout.get("shape"), TYPES.get(str(layout.get("type")))
    if kind is None or not isinstance(shape, list) or len(shape) != 2:
        raise SourceError(DAMAGED, f"no image is {str(layout)[:80]}")
    packing, dtype = packing_of(encoding, np.dtype(kind))
    return PackedImage((shape[1], shape[0]), dtype, packing, content)

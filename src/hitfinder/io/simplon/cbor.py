"""DECTRIS stream2: one CBOR map a message.

Written after DECTRIS' documentation of stream2 and of its CBOR tags, and messages of EIGER and
EIGER2 detectors. Tags of arrays are those of RFC 8746.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

import cbor2
import numpy as np

from hitfinder.errors import SourceError
from hitfinder.io.simplon.cborscan import check_cost
from hitfinder.io.simplon.images import DAMAGED, PackedImage
from hitfinder.io.simplon.messages import (
    MalformedMessageError,
    Message,
    SeriesEnd,
    SeriesId,
    SeriesImage,
    SeriesStart,
    whole,
)

NAME = "stream2"

DATE, ROWS_FIRST, COLUMNS_FIRST, PACKED, SELF = 0, 40, 1040, 56500, 55799
"""Tags of a date, arrays in both orders, compressed bytes, and of CBOR itself."""

NUMBERS = {
    **{64: "u1", 65: ">u2", 66: ">u4", 67: ">u8", 69: "<u2", 70: "<u4", 71: "<u8"},
    **{72: "i1", 73: ">i2", 74: ">i4", 75: ">i8", 77: "<i2", 78: "<i4", 79: "<i8"},
    **{81: ">f4", 82: ">f8", 85: "<f4", 86: "<f8"},
}
"""Tags of arrays of numbers, and the type of these."""

TAGS = frozenset({DATE, ROWS_FIRST, COLUMNS_FIRST, PACKED, SELF, *NUMBERS})

PACKINGS = ("bslz4", "lz4")

_COMMON = ("type", "series_id", "series_unique_id", "image_id", "data", "user_data", "channels")
_HEADER_ARRAYS = ("pixel_mask", "flatfield", "countrate_correction_lookup_table")


def is_stream2(parts: Sequence[bytes]) -> bool:
    """Tell a message of this protocol: one part, a CBOR map with or without its mark."""
    if len(parts) != 1:
        return False
    content = parts[0].removeprefix(b"\xd9\xd9\xf7")
    return bool(content) and content[0] >> 5 == 5


def decode(parts: Sequence[bytes]) -> Message:
    """Read a message.

    Parameters
    ----------
    parts : sequence of bytes
        Its one part.

    Raises
    ------
    MalformedMessageError
        If it is none of a detector, or no number of a series or frame can be had from it.
    """
    if len(parts) != 1:
        raise MalformedMessageError(f"{len(parts)} parts are no message of {NAME}")
    said = _loaded(parts[0])
    kind, unique = said.get("type"), said.get("series_unique_id", "")
    number = whole(said.get("series_id"), "the series")
    series = SeriesId(number, unique if isinstance(unique, str) else "")
    if kind == "start":
        return _start(series, said)
    if kind == "image":
        return _image(series, whole(said.get("image_id"), "the image"), said)
    if kind == "end":
        return SeriesEnd(series)
    raise MalformedMessageError(f"type {str(kind)[:40]!r} is none of {NAME}")


@dataclasses.dataclass(frozen=True, eq=False)
class _Bytes:
    """A byte string that is compressed."""

    packing: str
    element_size: int
    content: bytes


@dataclasses.dataclass(frozen=True, eq=False)
class _Numbers:
    """Numbers of one type, in a row."""

    dtype: np.dtype
    content: _Bytes | bytes


@dataclasses.dataclass(frozen=True, eq=False)
class _Array:
    """Numbers in rows and columns, or what is wrong with them."""

    image: PackedImage | SourceError


def _loaded(content: bytes) -> Mapping[str, Any]:
    check_cost(content, TAGS)
    try:
        found = cbor2.loads(content, tag_hook=_tagged)
    except MalformedMessageError:
        raise
    except (cbor2.CBORDecodeError, ValueError, TypeError, OverflowError, RecursionError) as error:
        what = f"a message is no CBOR that can be read ({str(error)[:80]})"
        raise MalformedMessageError(what) from error
    if not isinstance(found, Mapping) or not all(isinstance(key, str) for key in found):
        raise MalformedMessageError("a CBOR message is no map of names")
    return found


def _tagged(first: Any, second: Any) -> Any:
    """Turn a tag into what it stands for.

    It is called with the tag and whether the result must be hashable from version 6 of cbor2 on,
    before that with the decoder and the tag.
    """
    tag = first if isinstance(first, cbor2.CBORTag) else second
    number, value = tag.tag, tag.value
    if number == SELF:
        return value
    if number == PACKED:
        return _compressed(value)
    if number in NUMBERS and isinstance(value, (bytes, _Bytes)):
        return _Numbers(np.dtype(NUMBERS[number]), value)
    if number in (ROWS_FIRST, COLUMNS_FIRST) and isinstance(value, Sequence) and len(value) == 2:
        return _array(value[0], value[1], columns_first=number == COLUMNS_FIRST)
    raise MalformedMessageError(f"CBOR tag {number} on what it does not belong to")


def _compressed(value: Any) -> _Bytes:
    if isinstance(value, Sequence) and len(value) == 3:
        packing, size, content = value
        if packing in PACKINGS and type(size) is int and isinstance(content, bytes):
            return _Bytes(packing, size, content)
    raise MalformedMessageError(f"compressed bytes of an unknown kind: {str(value)[:40]}")


def _array(shape: Any, numbers: Any, columns_first: bool) -> _Array:
    is_shape = isinstance(shape, Sequence) and all(type(n) is int and n >= 0 for n in shape)
    if not isinstance(numbers, _Numbers) or not is_shape:
        raise MalformedMessageError("an array without a shape or without numbers")
    if len(shape) == 3 and shape[0] == 1:
        shape = shape[1:]
    packing, content = "", numbers.content
    try:
        if isinstance(content, _Bytes):
            packing = content.packing
            if packing == "bslz4" and content.element_size != numbers.dtype.itemsize:
                what = f"{numbers.dtype} packed as elements of {content.element_size} bytes"
                raise SourceError(DAMAGED, what)
            content = content.content
        if columns_first and 1 not in shape:
            raise SourceError(DAMAGED, "an array whose columns come first is no frame of an EIGER")
        return _Array(PackedImage((*shape,), numbers.dtype, packing, content))
    except SourceError as error:
        return _Array(error)


def _plain(value: Any) -> Any:
    """Return a value as JSON could have it; arrays are left out."""
    if isinstance(value, Mapping):
        return {str(name): _plain(item) for name, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(item) for item in value]
    if isinstance(value, (str, int, float, bool, type(None))):
        return value
    return None if isinstance(value, (_Array, _Numbers, _Bytes, bytes)) else str(value)


def _rest(said: Mapping[str, Any], *others: str) -> dict[str, Any]:
    return {k: _plain(v) for k, v in said.items() if k not in (*_COMMON, *others)}


def _start(series: SeriesId, said: Mapping[str, Any]) -> SeriesStart:
    channels = said.get("channels", ())
    if not isinstance(channels, Sequence) or not all(isinstance(c, str) for c in channels):
        raise MalformedMessageError("channels are no names")
    arrays = {}
    for name in _HEADER_ARRAYS:
        value = said.get(name)
        for channel, array in (value if isinstance(value, Mapping) else {"": value}).items():
            image = _one_row(array)
            if isinstance(image, PackedImage):
                arrays[f"{name}/{channel}" if channel else name] = image
    rest = _rest(said, *_HEADER_ARRAYS)
    return SeriesStart(series, rest, (*channels,), arrays, _plain(said.get("user_data")))


def _one_row(array: Any) -> PackedImage | SourceError | None:
    """Return the values of an array, or of numbers in a row."""
    if isinstance(array, _Array):
        return array.image
    if isinstance(array, _Numbers) and isinstance(array.content, bytes) and array.content:
        n = len(array.content) // array.dtype.itemsize
        return _array([1, n], array, False).image
    return None


def _image(series: SeriesId, number: int, said: Mapping[str, Any]) -> SeriesImage:
    data = said.get("data")
    if not isinstance(data, Mapping) or not data:
        return SeriesImage(series, number, damage="an image without counts")
    images, damage = {}, ""
    for channel, array in data.items():
        image = array.image if isinstance(array, _Array) else None
        if not isinstance(channel, str) or not isinstance(image, PackedImage):
            damage = f"channel {str(channel)[:40]}: {getattr(image, 'what', 'no frame')}"
        else:
            images[channel] = image
    user = _plain(said.get("user_data"))
    return SeriesImage(series, number, images, _rest(said), user, "" if images else damage)

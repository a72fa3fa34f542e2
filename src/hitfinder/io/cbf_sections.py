"""The binary sections of CBF files: where they are, and the counts in them."""

from __future__ import annotations

import base64
import bz2
import dataclasses
import gzip
import hashlib
import math
import re
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO, cast

import numpy as np
from numpy.typing import NDArray

from hitfinder.errors import SourceError
from hitfinder.geometry.layout import MOST_PIXELS
from hitfinder.io.packed import unpack
from hitfinder.io.source import whole_number

MAGIC = b"###CBF"
BINARY_START = b"\x0c\x1a\x04\xd5"
"""What stands between the text of a section and its counts (imgCIF)."""

_TEXT_LIMIT = 1 << 20
_MOST_SECTIONS = 1024
_BEGIN, _END = "--CIF-BINARY-FORMAT-SECTION--", b"--CIF-BINARY-FORMAT-SECTION----"
_MD5 = r"Content-MD5:\s*\"?([A-Za-z0-9+/]{22}==)"
"""Checksum of the packed counts; some programs write a word in its place."""

_BYTE_OFFSET, _PACKED, _PACKED_V2, _NONE = (
    *("x-cbf_byte_offset", "x-cbf_packed", "x-cbf_packed_v2"),
    "",
)
_MOST_BYTES_OF_A_COUNT = 16

_TYPES = {
    f"{sign} {bits}-bit integer": np.dtype(f"{'u' if sign == 'unsigned' else ''}int{bits}")
    for sign in ("signed", "unsigned")
    for bits in (8, 16, 32)
} | {f"signed {bits}-bit real ieee": np.dtype(f"float{bits}") for bits in (32, 64)}


@dataclasses.dataclass(frozen=True)
class Section:
    """A binary section.

    Parameters
    ----------
    file : str
        The file.
    start, size : int
        Where its counts begin in the unpacked file, and how many bytes they take.
    shape : tuple of int
        Layers, rows and columns.
    dtype : numpy.dtype
        Type of the counts.
    packing : str
        Name of the conversion, in lower case; empty if there is none.
    text : str
        Its header.
    """

    file: str
    start: int
    size: int
    shape: tuple[int, int, int]
    dtype: np.dtype
    packing: str
    text: str

    def read(self, stream: BinaryIO) -> NDArray:
        """Return the counts, shape `shape`.

        Raises
        ------
        SourceError
            If the file ends before them, or they are damaged.
        """
        stream.seek(self.start)
        packed = stream.read(self.size)
        if len(packed) < self.size:
            what = f"the file holds {len(packed)} of {self.size} bytes of counts"
            raise SourceError("truncated", what, self.file)
        stated = re.search(_MD5, self.text)
        if stated is not None:
            found = base64.b64encode(hashlib.md5(packed, usedforsecurity=False).digest()).decode()
            if found != stated[1]:
                what = "the counts are damaged: their checksum is not the header's Content-MD5"
                raise SourceError("unreadable", what, self.file)
        return self._unpacked(packed)

    def _unpacked(self, packed: bytes) -> NDArray:
        n_counts = math.prod(self.shape)
        if self.packing == _NONE:
            big = "BIG_ENDIAN" in self.text
            stored = self.dtype.newbyteorder(">" if big else "<")
            return np.frombuffer(packed, stored).reshape(self.shape)
        if self.packing == _BYTE_OFFSET:
            counts = self._from_byte_offset(packed, n_counts)
            n_read = counts.size
        else:
            counts, n_read = unpack(
                packed,
                self.shape,
                self.dtype,
                second_version=self.packing == _PACKED_V2,
                flat='"flat"' in self.text,
                separate='"uncorrelated_sections"' in self.text,
            )
        if n_read != n_counts:
            what = f"the file holds {n_read} of {n_counts} counts"
            raise SourceError("truncated", what, self.file)
        return counts.reshape(self.shape)

    def _from_byte_offset(self, packed: bytes, n_counts: int) -> NDArray:
        from fabio.compression import decByteOffset

        try:
            # The steps are of 32 bits whatever the sign: the counts wrap to the stated type.
            return np.asarray(decByteOffset(packed, size=n_counts, dtype="int32"))
        except (IndexError, ValueError, AssertionError) as error:
            what = f"the counts are damaged ({error})"
            raise SourceError("unreadable", what, self.file) from error


def opened(file: str) -> BinaryIO:
    """Open a file, plain or packed by gzip or bzip2, as its name says."""
    name = file.lower()
    if name.endswith(".gz"):
        return cast(BinaryIO, gzip.open(file))
    if name.endswith(".bz2"):
        return cast(BinaryIO, bz2.open(file))
    return open(file, "rb")


def reading_error(error: Exception, file: str) -> SourceError:
    """Say why a file, which may be packed, cannot be read."""
    if isinstance(error, FileNotFoundError):
        return SourceError("missing-file", "there is no such file", file)
    if isinstance(error, (EOFError, zlib.error)):
        return SourceError("truncated", f"the file was cut short ({error})", file)
    return SourceError("unreadable", f"cannot be read ({error})", file)


def read_sections(file: str) -> tuple[str, list[Section]]:
    """Read the header of a CBF file, and find its binary sections.

    Parameters
    ----------
    file : str
        The file.

    Returns
    -------
    str
        The text before the first counts.
    list of Section
        At least one.

    Raises
    ------
    SourceError
        If the file cannot be read, has no counts, or contradicts itself.
    """
    try:
        if not Path(file).stat().st_size:
            raise SourceError("truncated", "the file is empty", file)
        with opened(file) as stream:
            sections = list(_sections(stream, file))
    except (OSError, EOFError, zlib.error) as error:
        raise reading_error(error, file) from error
    if sum(math.prod(section.shape) for section in sections) > MOST_PIXELS:
        raise SourceError("unreadable", "its sections have more pixels than any frame", file)
    return sections[0].text, sections


def _sections(stream: BinaryIO, file: str) -> Iterator[Section]:
    for number in range(_MOST_SECTIONS):
        text, start = _text(stream)
        if number == 0 and not text.startswith(MAGIC):
            raise SourceError("unreadable", "this is not a CBF file", file)
        if start is None:
            if number == 0:
                raise SourceError("truncated", "the file ends before its counts begin", file)
            if not _is_end(text):
                raise SourceError("truncated", f"the file ends in its section {number}", file)
            return
        section = _section(text.decode("latin-1"), start, file)
        yield section
        if number == 0 and not re.search(r"loop_\s+_array_data\.", section.text):
            return  # one section, as of most files: what comes after it need not be read
        stream.seek(start + section.size)
    raise SourceError("unreadable", f"it has more than {_MOST_SECTIONS} sections", file)


def _is_end(text: bytes) -> bool:
    """Whether a text after counts closes their section and begins no other."""
    _, closed, rest = text.partition(_END)
    rest = rest.strip(b" \t\r\n;")
    return bool(closed) and (not rest or rest.startswith((b"_", b"loop_", b"#", b"data_")))


def _text(stream: BinaryIO) -> tuple[bytes, int | None]:
    """Read the text up to the next counts; return it, and where they begin, if there are any."""
    begin = stream.tell()
    text = stream.read(1 << 14)
    while BINARY_START not in text and len(text) < _TEXT_LIMIT:
        more = stream.read(1 << 16)
        if not more:
            break
        text += more
    end = text.find(BINARY_START)
    return (text, None) if end < 0 else (text[:end], begin + end + len(BINARY_START))


def _section(text: str, start: int, file: str) -> Section:
    """Read the header of a section.

    Raises
    ------
    SourceError
        If it is not understood, or contradicts itself.
    """
    own = text[max(0, text.rfind(_BEGIN)) :]
    rows, columns = _number(own, "Size-Second-Dimension"), _number(own, "Size-Fastest-Dimension")
    layers = _number(own, "Size-Third-Dimension") if "Size-Third-Dimension" in own else 1
    kind = _field(own, "Element-Type")
    dtype = _TYPES.get(kind.lower())
    if not rows or not columns or dtype is None:
        raise SourceError("unreadable", f"no frame of counts in the header ({kind!r})", file)
    found = re.search(r'conversions="?([\w-]+)', own)
    packing = found[1].lower() if found else _NONE
    known = {_BYTE_OFFSET, _NONE} if dtype.kind == "f" else {_BYTE_OFFSET, _PACKED, _PACKED_V2, ""}
    if packing not in known:
        what = f"{kind} counts packed by {found[1] if found else 'nothing'} are not supported"
        raise SourceError("unreadable", what, file)
    shape = (layers or 1, rows, columns)
    size = _number(own, "Size")
    wrong = _contradiction(shape, dtype, packing, size, _field(own, "Number-of-Elements"))
    if wrong or size is None:
        said = wrong or f"X-Binary-Size is {_field(own, 'Size')!r}"
        raise SourceError("unreadable", f"the header is damaged: {said}", file)
    return Section(file, start, size, shape, dtype, packing, text)


def _contradiction(
    shape: tuple[int, int, int], dtype: np.dtype, packing: str, size: int | None, stated: str
) -> str:
    """Say in what a header contradicts itself, before memory is asked for; empty if in nothing."""
    n_counts = math.prod(shape)
    frame = " x ".join(str(length) for length in shape if length > 1)
    if n_counts > MOST_PIXELS:
        return f"{frame} pixels are more than any frame has"
    if stated.isdecimal() and whole_number(stated) != n_counts:
        return f"{frame} pixels do not go with {stated} counts"
    if size is None:
        return ""
    least = {_NONE: dtype.itemsize * n_counts, _BYTE_OFFSET: n_counts}.get(packing, n_counts // 512)
    most = least if packing == _NONE else _MOST_BYTES_OF_A_COUNT * n_counts + 4096
    if not least <= size <= most:
        return f"{frame} pixels do not go with {size} bytes of counts"
    return ""


def _field(text: str, name: str) -> str:
    found = re.search(rf'X-Binary-{name}:\s*"?([^"\r\n]*)', text)
    return found[1].strip() if found else ""


def _number(text: str, name: str) -> int | None:
    return whole_number(_field(text, name))

"""Counts as a detector packs them, and unpacking them."""

from __future__ import annotations

import dataclasses
import math
import re
import struct
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from hitfinder.errors import SourceError
from hitfinder.geometry.layout import MOST_PIXELS

DAMAGED = "damaged"
"""Status of a frame whose message came but cannot be unpacked."""

BLOCK = "lz4-block"
"""One LZ4 block without a head, as stream v1 has it."""


class PackedFrame(Protocol):
    """A frame that is not unpacked yet."""

    @property
    def held_bytes(self) -> int:
        """Bytes of memory that it takes while it waits."""
        ...

    def unpacked(self) -> NDArray:
        """Return the counts.

        Raises
        ------
        SourceError
            If they cannot be had.
        """
        ...


_HEAD = struct.Struct(">QI")
"""What is before packed counts in HDF5 and stream2: their unpacked bytes, bytes of a block."""

_ENCODING = re.compile(r"(?:bs(?P<bits>8|16|32))?(?P<lz4>-?lz4)?(?P<order>[<>])")

_MOST_EXPANSION = 255
"""Bytes that a byte of LZ4 stands for, at most, in the long run (its block format)."""


@dataclasses.dataclass(frozen=True, eq=False)
class PackedImage:
    """Counts, or another value for each pixel, as they came.

    Parameters
    ----------
    shape : tuple of int
        Rows and columns (ss, fs).
    dtype : numpy.dtype
        Type of the values, with their byte order.
    packing : str
        ``bslz4`` or ``lz4`` with the head of HDF5's filters, ``lz4-block``, or empty.
    content : bytes
        What was sent.

    Raises
    ------
    SourceError
        If no frame has such a size, or the content cannot be of that size.
    """

    shape: tuple[int, int]
    dtype: np.dtype
    packing: str
    content: bytes

    def __post_init__(self) -> None:
        if not all(type(n) is int and n > 0 for n in self.shape) or len(self.shape) != 2:
            raise SourceError(DAMAGED, f"{str(self.shape)[:40]} is no shape of a frame")
        if math.prod(self.shape) > MOST_PIXELS:
            what = f"{self.shape[0]} x {self.shape[1]} pixels are more than any frame has"
            raise SourceError(DAMAGED, what)
        stated, most = self.nbytes, len(self.content) * (_MOST_EXPANSION if self.packing else 1)
        if self.packing in ("bslz4", "lz4"):
            if len(self.content) < _HEAD.size:
                raise SourceError(DAMAGED, f"{len(self.content)} bytes are no packed frame")
            stated = _HEAD.unpack_from(self.content)[0]
        if stated != self.nbytes or stated > most or (not self.packing and stated != most):
            what = f"{len(self.content)} bytes that stand for {stated}, a frame has {self.nbytes}"
            raise SourceError(DAMAGED, what)

    @property
    def nbytes(self) -> int:
        """Bytes of the unpacked frame."""
        return math.prod(self.shape) * self.dtype.itemsize

    @property
    def held_bytes(self) -> int:
        """Bytes of memory that it takes."""
        return len(self.content)

    def unpacked(self) -> NDArray:
        """Return the values, in the byte order of this machine.

        Raises
        ------
        SourceError
            If they are damaged.
        """
        content, packing = self.content, self.packing
        if packing == BLOCK:
            framed = _HEAD.pack(self.nbytes, self.nbytes) + struct.pack(">I", len(content))
            content, packing = framed + content, "lz4"
        try:
            if packing:
                from hitfinder.io.unpack import unpack

                values = np.empty(self.shape, self.dtype)
                unpack(content, packing, values)
            else:
                values = np.frombuffer(content, self.dtype).reshape(self.shape)
        except (ValueError, MemoryError) as error:
            reason = " ".join(str(error).split())
            raise SourceError(DAMAGED, f"the counts are damaged ({reason})") from error
        return values.astype(self.dtype.newbyteorder("="), copy=False)


def packing_of(encoding: str, dtype: np.dtype) -> tuple[str, np.dtype]:
    """Return how stream v1 packs counts, and their type with its byte order.

    Parameters
    ----------
    encoding : str
        As SIMPLON has it, ``[bs<BIT>][[-]lz4][<|>]``.
    dtype : numpy.dtype
        Type of the counts.

    Raises
    ------
    SourceError
        If it is not known.
    """
    found = _ENCODING.fullmatch(encoding)
    if found is None or (found["bits"] and not found["lz4"]):
        raise SourceError(DAMAGED, f"the encoding {encoding[:40]!r} is not known")
    if found["bits"] and int(found["bits"]) != 8 * dtype.itemsize:
        raise SourceError(DAMAGED, f"the encoding {encoding!r} does not fit {dtype}")
    packing = ("bslz4" if found["bits"] else BLOCK) if found["lz4"] else ""
    return packing, dtype.newbyteorder(">" if found["order"] == ">" else "<")

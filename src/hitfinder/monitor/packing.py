"""Frames, masks and maps as the page receives them: small, and read without a library."""

from __future__ import annotations

import dataclasses
import gzip

import numpy as np
from numpy.typing import NDArray

LEVEL = 1
"""Of gzip; sparse frames shrink well at any level, and the lowest takes the least time."""


@dataclasses.dataclass(frozen=True)
class Packed:
    """An array on its way to the page.

    Attributes
    ----------
    body : bytes
        The array, little-endian, row by row, packed by gzip.
    dtype : str
        ``uint8``, ``uint16``, ``int32``, ``uint32`` or ``float32``.
    shape : tuple of int
        Rows and columns.
    """

    body: bytes
    dtype: str
    shape: tuple[int, ...]

    @property
    def headers(self) -> dict[str, str]:
        """What goes with it in the answer to a request."""
        return {
            "content-encoding": "gzip",
            "x-dtype": self.dtype,
            "x-shape": ",".join(map(str, self.shape)),
        }


def pack(array: NDArray) -> Packed:
    """Pack an array of one of the types that `Packed` names."""
    little = np.ascontiguousarray(array, array.dtype.newbyteorder("<"))
    return Packed(gzip.compress(little.tobytes(), LEVEL, mtime=0), array.dtype.name, array.shape)


def pack_frame(frame: NDArray) -> Packed:
    """Pack a frame in the smallest type that keeps its counts.

    Pixels without a reading are at the top of a type of integers, and not-a-number among others.

    Parameters
    ----------
    frame : ndarray, 2-D
        Counts; negative ones, not-a-number, and the top of an integer type are no readings.
    """
    if frame.dtype.kind not in "iu":
        counts = frame.astype(np.float32)
        counts[~(counts >= 0)] = np.nan
        return pack(counts)
    unread = (frame == np.iinfo(frame.dtype).max) | (frame < 0)
    most = int(frame.max(initial=0, where=~unread))
    kind = np.uint16 if most < np.iinfo(np.uint16).max else np.uint32
    counts = np.minimum(frame, np.iinfo(kind).max).astype(kind) if most else frame.astype(kind)
    counts[unread] = np.iinfo(kind).max
    return pack(counts)

"""The contract of a stream: a source of frames without a length."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from hitfinder.io.source import FrameRef


class FrameStream(Protocol):
    """Frames that come one after another, each once, nobody knows how many.

    A `hitfinder.io.source.FrameSource` is one too, whose frames can be read in any order besides.

    Attributes
    ----------
    shape : tuple of int
        Rows and columns (ss, fs) of every frame.
    dtype : numpy.dtype
        Type of the counts, in the byte order of the machine.
    """

    shape: tuple[int, int]
    dtype: np.dtype

    def __iter__(self) -> Iterator[NDArray | None]:
        """Return the frames that come, each an array of its own; None if there is none yet.

        What asks for a frame is never kept waiting: it may have other things to do meanwhile.
        """

    def ref(self, index: int) -> FrameRef:
        """Return what the frame of a number, counted from 0, is known by."""

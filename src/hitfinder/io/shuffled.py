"""A frame that stays as bitshuffle and LZ4 have packed it until its counts are needed.

Where few pixels hold a photon these are listed from what is packed (`hitfinder.io.bitplanes`), and
the frame itself, of 9 MB, is neither written nor searched.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hitfinder.errors import SourceError


class ShuffledFrame:
    """A frame of whole numbers that is packed by bitshuffle and LZ4.

    NumPy takes it for an array, which it then becomes; see `__array__`.

    Parameters
    ----------
    content : bytes
        What was packed, with its head; see `hitfinder.io.unpack`.
    out : ndarray
        Contiguous array of the frame's shape and type, to unpack into. Both are in the byte order
        of the machine.
    error : callable
        Makes the error of a frame that is damaged from what is wrong.
    """

    def __init__(
        self, content: bytes, out: NDArray[np.integer], error: Callable[[str], SourceError]
    ) -> None:
        self.shape: tuple[int, int] = out.shape
        self.dtype = out.dtype
        self._content, self._out, self._error = content, out, error
        self._is_unpacked = False

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> NDArray:
        """Return the counts.

        Raises
        ------
        SourceError
            If they are damaged.
        """
        if not self._is_unpacked:
            from hitfinder.io.unpack import unpack

            try:
                unpack(self._content, "bslz4", self._out)
            except ValueError as error:
                raise self.damaged(str(error)) from error
            self._is_unpacked = True
        return np.array(self._out, dtype, copy=copy)

    def opened(self) -> tuple[NDArray[np.uint8], int]:
        """Return what is packed, as bytes, and the bytes that a block has when it is unpacked.

        Raises
        ------
        SourceError
            If it is damaged.
        """
        from hitfinder.io.unpack import TOGETHER, opened

        try:
            return opened(self._content, self._out, TOGETHER * self._out.itemsize)
        except ValueError as error:
            raise self.damaged(str(error)) from error

    def damaged(self, what: str) -> SourceError:
        """Return the error of a frame with something wrong."""
        return self._error(f"the counts are damaged ({what})")

    def list_lit(
        self, wanted: NDArray[np.uint64], at: NDArray[np.int32], counts: NDArray[np.integer]
    ) -> int:
        """List the pixels that are not 0, and what they hold.

        Parameters
        ----------
        wanted : ndarray of uint64
            From `hitfinder.io.bitplanes.wanted_bits`.
        at : ndarray of int32
            Written: the numbers of the pixels, rising.
        counts : ndarray of the frame's type
            Written: what they hold.

        Returns
        -------
        int
            Their number; -1 if there are more than there is surely room for, or the frame is packed
            in blocks of an unusual size.

        Raises
        ------
        SourceError
            If the frame is damaged.
        """
        from hitfinder.io.bitplanes import lit_from_planes

        try:
            return lit_from_planes(self._content, self._out, wanted, at, counts)
        except ValueError as error:
            raise self.damaged(str(error)) from error


Frame = NDArray | ShuffledFrame
"""A frame to be searched."""

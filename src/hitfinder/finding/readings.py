"""A frame as it comes to counts, with marks where a pixel has no reading."""

from __future__ import annotations

import dataclasses

import numpy as np
from numpy.typing import NDArray

from hitfinder.finding import background
from hitfinder.finding.rings import Rings

_SATURATED = 0.01
_COUNT_LIMIT = 1 << 24


@dataclasses.dataclass(frozen=True, eq=False)
class Readings:
    """The counts of a frame.

    Attributes
    ----------
    counts : ndarray of int32, shape of the geometry
        Counts, -1 where there is no reading; overwritten by the next frame.
    photons : int
        Their sum.
    n_read : int
        Pixels with a reading.
    lost : int
        Unmasked pixels without one.
    n_lit : int
        Pixels that read more than zero.
    """

    counts: NDArray[np.int32]
    photons: int
    n_read: int
    lost: int
    n_lit: int


class FrameReader:
    """Turns the frames of one geometry into counts. Not to be shared between threads.

    Parameters
    ----------
    rings : Rings
        Rings of the geometry.
    saturation : float, optional
        Counts at which the detector stops counting.
    """

    def __init__(self, rings: Rings, saturation: float | None) -> None:
        self._ring = rings.index
        self._n_good = int(rings.n_pixels.sum())
        self._limit = min(_COUNT_LIMIT, saturation or _COUNT_LIMIT)
        self._counts = np.empty(rings.index.shape, np.int32)

    def read(self, frame: NDArray, mask: NDArray[np.bool_] | None = None) -> Readings:
        """Turn a frame into counts; see `hitfinder.finding.likelihood.LikelihoodFinder`.

        Raises
        ------
        ValueError
            If the frame or the mask has another shape than the geometry, or holds no numbers.
        """
        frame = np.asarray(frame)
        if frame.shape != self._ring.shape:
            raise ValueError(f"frame shape {frame.shape} is not the geometry's {self._ring.shape}")
        limit = self._limit
        bad: float | int = -1
        if frame.dtype.kind in "iu":
            bad = np.iinfo(frame.dtype).max
            limit = min(limit, bad)
        elif frame.dtype.kind == "f":
            frame = np.rint(background.compilable(frame))
        else:
            raise ValueError(f"frames of type {frame.dtype} are not counts")
        kind, counts = frame.dtype.type, self._counts
        photons, n_bad, n_lit, n_full = background.load_frame(
            frame, self._read_where(mask), kind(bad), kind(limit), counts
        )
        if n_full > _SATURATED * max(self._n_good, 1):
            n_bad += n_full
            counts[counts >= int(limit)] = -1
        n_read = counts.size - int(n_bad)
        return Readings(counts, int(photons), n_read, self._n_good - n_read, int(n_lit))

    def _read_where(self, mask: NDArray[np.bool_] | None) -> NDArray[np.int16]:
        """Return the rings of the pixels, -1 where the geometry or a mask has none."""
        if mask is None:
            return self._ring
        mask = np.asarray(mask) != 0
        if mask.shape != self._ring.shape:
            raise ValueError(f"mask shape {mask.shape} is not the geometry's {self._ring.shape}")
        return np.where(mask, np.int16(-1), self._ring)

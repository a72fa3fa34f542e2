"""Stored values to what peaks are found in: photons, and marks where a pixel has none."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from hitfinder.geometry.crystfel import GeomFile
from hitfinder.geometry.crystfel.entries import Flag
from hitfinder.io.derived import DerivedSource
from hitfinder.io.framemasks import FrameMasks
from hitfinder.io.source import FrameSource


def in_photons(source: FrameSource, geom: GeomFile | None, adu_per_photon: float) -> FrameSource:
    """Return the frames in photons: `source` itself where they are stored so.

    Parameters
    ----------
    source : FrameSource
        Frames as they are stored.
    geom : GeomFile, optional
        Says which values mark bad pixels (``flag_lessthan`` and so on).
    adu_per_photon : float
        Stored value of one photon.
    """
    panels = () if geom is None else geom.panels
    flags = {flag for panel in panels for flag in panel.flags}
    if adu_per_photon == 1.0 and flags <= set(unread_flags(source.dtype, adu_per_photon)):
        return source
    return PhotonSource(source, geom, adu_per_photon)


class PhotonSource(DerivedSource):
    """Frames of another source in photons, NaN where a value marks a bad pixel.

    Parameters
    ----------
    source : FrameSource
        Frames as they are stored.
    geom : GeomFile, optional
        Has the values that mark bad pixels.
    adu_per_photon : float
        Stored value of one photon.
    """

    def __init__(self, source: FrameSource, geom: GeomFile | None, adu_per_photon: float) -> None:
        super().__init__(source)
        self.dtype = np.dtype(np.float32)
        self._geom, self._scale = geom, adu_per_photon
        self._unread = unread_flags(source.dtype, adu_per_photon)
        self._stored: NDArray | None = None

    def read(self, index: int, out: NDArray | None = None) -> NDArray:
        """Read one frame; see `FrameSource.read`."""
        photons = self.buffer(out)
        if self._stored is None:
            self._stored = np.empty(self._source.shape, self._source.dtype)
        stored = self._source.read(index, self._stored)
        bad = not_finite(stored) if self._geom is None else self._geom.flagged(stored)
        for flag in self._unread:
            bad |= flag.bad(stored)
        np.divide(stored, self._scale, out=photons, casting="unsafe")
        if self._scale != 1.0:
            # Read-out noise around zero is no photon, and no missing value either.
            np.maximum(photons, 0, out=photons)
        photons[bad] = np.nan
        return photons


class MaskedSource(DerivedSource):
    """Frames of another source, with pixels that their own masks name marked as unread.

    They read as the finder knows such pixels: the top of an unsigned type, -1 or NaN.

    Parameters
    ----------
    source : FrameSource
        Frames.
    masks : FrameMasks
        Their masks.
    """

    def __init__(self, source: FrameSource, masks: FrameMasks) -> None:
        super().__init__(source)
        self._masks = masks

    def read(self, index: int, out: NDArray | None = None) -> NDArray:
        """Read one frame; see `FrameSource.read`."""
        frame = self._source.read(index, out)
        mask = self._masks.of(index)
        if mask is not None:
            frame[mask] = unread_value(self.dtype)
        return frame


def not_finite(stored: NDArray) -> NDArray[np.bool_]:
    """Return True where a value is no number."""
    return np.zeros(stored.shape, bool) if stored.dtype.kind in "iu" else ~np.isfinite(stored)


def unread_flags(dtype: np.dtype, adu_per_photon: float) -> tuple[Flag, ...]:
    """Return which stored values the finder takes for pixels without a reading.

    Parameters
    ----------
    dtype : numpy.dtype
        Type of the stored values.
    adu_per_photon : float
        Stored value of one photon. Where it is not 1, values below zero are read-out noise.
    """
    top = (Flag("equal", float(np.iinfo(dtype).max)),) if dtype.kind in "iu" else ()
    if dtype.kind == "u" or adu_per_photon != 1:
        return top
    # Values that are not whole are rounded.
    return (*top, Flag("lessthan", -0.5 if dtype.kind == "f" else 0.0))


def unread_value(dtype: np.dtype) -> float:
    """Return the value by which frames of a type mark a pixel without a reading."""
    if dtype.kind == "u":
        return int(np.iinfo(dtype).max)
    return np.nan if dtype.kind == "f" else -1

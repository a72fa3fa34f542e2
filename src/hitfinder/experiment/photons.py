"""Stored values to what peaks are found in: photons, and marks where a pixel has none."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from hitfinder.errors import SourceError
from hitfinder.experiment.zeropeak import MOST_NOISE, Block, ReadNoise, corrected, read_noise
from hitfinder.geometry.crystfel import GeomFile
from hitfinder.geometry.crystfel.entries import Flag
from hitfinder.geometry.detector import Detector
from hitfinder.io.derived import DerivedSource
from hitfinder.io.framemasks import FrameMasks
from hitfinder.io.source import FrameSource


def in_photons(
    source: FrameSource,
    geom: GeomFile | None,
    adu_per_photon: float,
    noisy: Detector | None = None,
) -> FrameSource:
    """Return the frames in photons: `source` itself where they are stored so.

    Parameters
    ----------
    source : FrameSource
        Frames as they are stored.
    geom : GeomFile, optional
        Says which values mark bad pixels (``flag_lessthan`` and so on).
    adu_per_photon : float
        Stored value of one photon.
    noisy : Detector, optional
        Panels and mask, if the detector does not count and its noise is to be left as it is.
    """
    panels = () if geom is None else geom.panels
    flags = {flag for panel in panels for flag in panel.flags}
    known = flags <= set(unread_flags(source.dtype, adu_per_photon))
    if adu_per_photon == 1.0 and known and noisy is None:
        return source
    return PhotonSource(source, geom, adu_per_photon, noisy)


class PhotonSource(DerivedSource):
    """Frames of another source in photons, NaN where a value marks a bad pixel.

    Where the detector is a noisy one, zero photons read zero on average: the offset of each panel
    is measured in each frame and taken away. Else what is below zero is none.

    Parameters
    ----------
    source : FrameSource
        Frames as they are stored.
    geom : GeomFile, optional
        Has the values that mark bad pixels.
    adu_per_photon : float
        Stored value of one photon.
    noisy : Detector, optional
        Panels and mask, if the detector does not count.
    """

    def __init__(
        self,
        source: FrameSource,
        geom: GeomFile | None,
        adu_per_photon: float,
        noisy: Detector | None = None,
    ) -> None:
        super().__init__(source)
        self.dtype = np.dtype(np.float32)
        self._geom, self._scale, self._noisy = geom, adu_per_photon, noisy
        self._unread = unread_flags(source.dtype, adu_per_photon, noisy=noisy is not None)
        self._stored: NDArray | None = None
        self._good: NDArray[np.bool_] | None = None
        self._blocks: list[Block] = [panel.slices for panel in noisy or ()]

    def read(self, index: int, out: NDArray | None = None) -> NDArray:
        """Read one frame; see `FrameSource.read`."""
        photons, noise = self.measure(index, out)
        if noise is not None:
            if noise.sigma.max() > MOST_NOISE:
                what = f"noise of {noise.sigma.max():.0f} photons a pixel hides every spot"
                ref = self.ref(index)
                raise SourceError("unreadable", what, f"{ref.file} {ref.event}".strip())
            corrected(photons, noise, self._blocks, photons)
        elif self._scale != 1.0:
            # Read-out noise around zero is no photon, and no missing value either.
            np.maximum(photons, 0, out=photons)
        return photons

    def measure(self, index: int, out: NDArray | None = None) -> tuple[NDArray, ReadNoise | None]:
        """Read one frame with its offsets, and measure them and the noise.

        Parameters
        ----------
        index, out
            As for `FrameSource.read`.

        Returns
        -------
        photons : ndarray of float32
            Values in photons, NaN where one marks a bad pixel.
        noise : ReadNoise or None
            None if the frame's values are photons, or the detector counts.
        """
        photons = self.buffer(out)
        if self._stored is None:
            self._stored = np.empty(self._source.shape, self._source.dtype)
        stored = self._source.read(index, self._stored)
        bad = not_finite(stored) if self._geom is None else self._geom.flagged(stored)
        for flag in self._unread:
            bad |= flag.bad(stored)
        np.divide(stored, self._scale, out=photons, casting="unsafe")
        photons[bad] = np.nan
        if self._noisy is None:
            return photons, None
        if self._good is None:
            self._good = ~self._noisy.full_mask
        return photons, read_noise(photons, self._good, self._blocks)


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


def unread_flags(
    dtype: np.dtype, adu_per_photon: float, *, noisy: bool = False
) -> tuple[Flag, ...]:
    """Return which stored values the finder takes for pixels without a reading.

    Parameters
    ----------
    dtype : numpy.dtype
        Type of the stored values.
    adu_per_photon : float
        Stored value of one photon. Where it is not 1, values below zero are read-out noise.
    noisy : bool
        Whether they are anyway.
    """
    top = (Flag("equal", float(np.iinfo(dtype).max)),) if dtype.kind in "iu" else ()
    if dtype.kind == "u" or adu_per_photon != 1 or noisy:
        return top
    # Values that are not whole are rounded.
    return (*top, Flag("lessthan", -0.5 if dtype.kind == "f" else 0.0))


def unread_value(dtype: np.dtype) -> float:
    """Return the value by which frames of a type mark a pixel without a reading."""
    if dtype.kind == "u":
        return int(np.iinfo(dtype).max)
    return np.nan if dtype.kind == "f" else -1

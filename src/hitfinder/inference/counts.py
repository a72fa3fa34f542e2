"""Stored values to photon counts, where a geometry file says that they differ."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from hitfinder.geometry.crystfel import GeomFile
from hitfinder.io.source import Contents, FrameRef, FrameSource, Metadata


def in_photons(source: FrameSource, geom: GeomFile, photon_energy_ev: float) -> FrameSource:
    """Return the frames in photons: `source` itself unless the geometry file says otherwise.

    Parameters
    ----------
    source : FrameSource
        Frames as they are stored.
    geom : GeomFile
        Says what a photon counts (``adu_per_photon``, ``adu_per_eV``) and which values mark bad
        pixels (``flag_lessthan`` and so on).
    photon_energy_ev : float
        Photon energy, in eV.
    """
    scale = geom.adu_per_photon(photon_energy_ev) or 1.0
    if scale == 1.0 and not any(panel.flags for panel in geom.panels):
        return source
    return PhotonSource(source, geom, scale)


class PhotonSource(FrameSource):
    """Frames of another source in photons, NaN where a value marks a bad pixel.

    Parameters
    ----------
    source : FrameSource
        Frames as they are stored.
    geom : GeomFile
        Has the values that mark bad pixels.
    adu_per_photon : float
        Stored value of one photon.
    """

    def __init__(self, source: FrameSource, geom: GeomFile, adu_per_photon: float) -> None:
        self._source, self._geom, self._scale = source, geom, adu_per_photon
        self.shape, self.dtype = source.shape, np.dtype(np.float32)
        self._stored: NDArray | None = None

    def __len__(self) -> int:
        return len(self._source)

    def read(self, index: int, out: NDArray | None = None) -> NDArray:
        """Read one frame; see `FrameSource.read`."""
        photons = self.buffer(out)
        if self._stored is None:
            self._stored = np.empty(self._source.shape, self._source.dtype)
        stored = self._source.read(index, self._stored)
        bad = self._geom.flagged(stored)
        np.divide(stored, self._scale, out=photons, casting="unsafe")
        if self._scale != 1.0:
            # Read-out noise around zero is no photon, and no missing value either.
            np.maximum(photons, 0, out=photons)
        photons[bad] = np.nan
        return photons

    def ref(self, index: int) -> FrameRef:
        """Return where frame `index` is kept."""
        return self._source.ref(index)

    @property
    def metadata(self) -> Metadata:
        """What the files say about the frames."""
        return self._source.metadata

    def frame_metadata(self, index: int) -> Metadata:
        """Return what the files say about one frame."""
        return self._source.frame_metadata(index)

    @property
    def n_readable(self) -> int:
        """Number of frames that are not known to be unreadable."""
        return self._source.n_readable

    @property
    def contents(self) -> Contents:
        """Format, compression and linked files."""
        return self._source.contents

    def index_of(self, event: str) -> int:
        """Return the number of the frame of an event."""
        return self._source.index_of(event)

    def h5_location(self, index: int) -> tuple[str, str, int] | None:
        """Return the HDF5 dataset that holds a frame."""
        return self._source.h5_location(index)

    def close(self) -> None:
        """Close what is open."""
        self._source.close()

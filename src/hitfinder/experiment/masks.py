"""Masks in the frames' own files, at the places that a geometry file names or the usual ones."""

from __future__ import annotations

import logging

import h5py
import numpy as np
from numpy.typing import NDArray

from hitfinder import logs
from hitfinder.errors import SourceError
from hitfinder.geometry.crystfel import GeomFile
from hitfinder.geometry.crystfel.masks import frames_have_masks
from hitfinder.io.framemasks import FrameMasks
from hitfinder.io.handles import POOL
from hitfinder.io.source import FrameSource, MaskKey

log = logging.getLogger(__name__)


def masks_of(source: FrameSource, geom: GeomFile | None) -> FrameMasks:
    """Return the masks of the frames: those that a geometry file names, else the usual ones.

    Parameters
    ----------
    source : FrameSource
        The frames.
    geom : GeomFile, optional
        The geometry file.

    Raises
    ------
    GeometryError
        If a place that the geometry file names is not in a file, or does not hold the panels.
    """
    if geom is None or not geom.names_data_masks:
        logs.warn_of_first(log, source.remarks, "remarks on masks")
        return FrameMasks(source)
    named = _NamedMasks(source, geom)
    return FrameMasks(source, named.key, named.read)


class _NamedMasks:
    """The masks at the places of a geometry file."""

    def __init__(self, source: FrameSource, geom: GeomFile) -> None:
        self._source, self._geom = source, geom
        self._single: dict[tuple[str, str], bool | None] = {}

    def key(self, index: int) -> MaskKey | None:
        """Return what tells a mask from others; None for frames that are in no HDF5 file."""
        if self._source.mask_key(index) is None:
            return None
        ref = self._source.ref(index)
        place = ref.file, ref.group
        if place not in self._single:
            self._single[place] = None
            if h5py.is_hdf5(ref.file):
                with POOL.lock:
                    file = POOL.file(ref.file)
                    self._single[place] = frames_have_masks(
                        self._geom.layout, self._geom.panels, file, ref.group
                    )
        single = self._single[place]
        return None if single is None else MaskKey(*place, ref.index if single else None)

    def read(self, index: int) -> NDArray[np.bool_] | None:
        """Read the mask of a frame, shape of a frame."""
        ref = self._source.ref(index)
        try:
            with POOL.lock:
                file = POOL.file(ref.file)
                found = self._geom.data_mask(file, ref.index, ref.group)
        except OSError as error:
            raise SourceError("unreadable", f"the mask: {error}", ref.file) from error
        if found is None or found.shape == self._source.shape:
            return found
        whole = np.zeros(self._source.shape, bool)
        whole[: found.shape[0], : found.shape[1]] = found
        return whole

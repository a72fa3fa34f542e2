"""The parts a CrystFEL geometry file is made of."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hitfinder.geometry.crystfel.text import Quantity
from hitfinder.geometry.detector import Vector
from hitfinder.geometry.layout import Dim


@dataclasses.dataclass(frozen=True)
class MaskPlace:
    """A stored mask, and the bits that make a pixel of it good or bad.

    Parameters
    ----------
    location : str
        HDF5 path of the mask.
    file : str, optional
        File it is in; the data file if not given.
    good_bits, bad_bits : int
        A pixel is bad unless all good bits are set, and if any bad bit is.
    """

    location: str
    file: str | None = None
    good_bits: int = 0
    bad_bits: int = 0

    def bad(self, stored: NDArray[Any]) -> NDArray[np.bool_]:
        """Return True where a stored value stands for a bad pixel."""
        values = stored.astype(np.int64)
        return ((values & self.good_bits) != self.good_bits) | ((values & self.bad_bits) != 0)


@dataclasses.dataclass(frozen=True)
class Flag:
    """A count that marks a pixel of the frame it occurs in as bad.

    Parameters
    ----------
    kind : str
        ``"lessthan"``, ``"morethan"`` (both strict) or ``"equal"`` (after rounding).
    value : float
        The count compared with.
    """

    kind: str
    value: float

    def bad(self, counts: NDArray[Any]) -> NDArray[np.bool_]:
        """Return True where a pixel is flagged."""
        if self.kind == "lessthan":
            return counts < self.value
        if self.kind == "morethan":
            return counts > self.value
        return np.rint(counts) == self.value


@dataclasses.dataclass(frozen=True)
class BadRegion:
    """A rectangle of pixels to be ignored.

    Parameters
    ----------
    name : str
        Name in the file.
    low, high : tuple of float
        Bounds along (fs, ss), inclusive, in the coordinates of the panel's dataset; or along
        (x, y) of the lab, exclusive, in pixels of each panel.
    in_lab : bool
        Whether the bounds are those of the lab.
    panel : str, optional
        The panel of a region in fs and ss; every panel if not given.
    """

    name: str
    low: tuple[float, float]
    high: tuple[float, float]
    in_lab: bool = False
    panel: str | None = None


@dataclasses.dataclass(frozen=True)
class PanelEntry:
    """One panel as the file describes it, in the coordinates of its own dataset.

    `min_fs`, `max_fs`, `min_ss` and `max_ss` all belong to the panel. The other fields have the
    names and meanings of crystfel_geometry(5), with `data` and `dims` giving the dataset and its
    axes, and None where the file is silent.
    """

    name: str
    min_fs: int
    max_fs: int
    min_ss: int
    max_ss: int
    corner_x: float
    corner_y: float
    fs: Vector
    ss: Vector
    res: float
    coffset_m: float = 0.0
    clen: Quantity | None = None
    data: str | None = None
    dims: tuple[Dim, ...] = ("ss", "fs")
    adu_per_photon: float | None = None
    adu_per_ev: float | None = None
    max_adu: float | None = None
    no_index: bool = False
    mask_edge_pixels: int = 0
    masks: tuple[MaskPlace, ...] = ()
    flags: tuple[Flag, ...] = ()

    @property
    def slab_key(self) -> tuple[str | None, tuple[Dim, ...]]:
        """Dataset and fixed indices: the same for panels that share a slab."""
        return self.data, self.dims

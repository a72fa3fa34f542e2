"""Pixels of virtual datasets that no source holds: HDF5 gives a fill value for them."""

from __future__ import annotations

import dataclasses
import math

import numpy as np
from numpy.typing import NDArray

from hitfinder.io.chunks import Axis
from hitfinder.io.virtual import Mapping

Block = tuple[NDArray[np.int64], ...]
"""Indices along each pixel axis that a source fills."""


@dataclasses.dataclass(frozen=True, eq=False)
class Coverage:
    """Which pixels of each frame of a virtual dataset have a source.

    Parameters
    ----------
    blocks : tuple of Block
        What single sources fill, each once.
    held : ndarray of bool, shape (n_blocks, n_frames)
        Which of them a frame has.
    shape : tuple of int
        Of the pixels of a frame.
    """

    blocks: tuple[Block, ...]
    held: NDArray[np.bool_]
    shape: tuple[int, ...]

    @staticmethod
    def of(
        sources: list[Mapping], axes: tuple[Axis, ...], shape: tuple[int, ...], n_frames: int
    ) -> Coverage:
        """Put together what the sources of a virtual dataset fill.

        Parameters
        ----------
        sources : list of Mapping
            Its sources.
        axes : tuple
            What a frame takes of each axis.
        shape : tuple of int
            Of the pixels of a frame.
        n_frames : int
            Number of frames.
        """
        known: dict[tuple[tuple[int, int, int], ...], int] = {}
        blocks: list[Block] = []
        fills: list[tuple[int, NDArray[np.int64]]] = []
        for mapping in sources:
            pairs = zip(axes, mapping.filled, strict=True)
            block = tuple(indices for axis, indices in pairs if axis == ":")
            if not all(map(len, block)):
                continue
            key = tuple((int(i[0]), int(i[-1]), len(i)) for i in block)
            if key not in known:
                known[key] = len(blocks)
                blocks.append(block)
            fills.append((known[key], mapping.frames(axes)))
        held = np.zeros((len(blocks), n_frames), bool)
        for number, frames in fills:
            held[number, frames] = True
        return Coverage(tuple(blocks), held, shape)

    def uncovered(self, blocks: NDArray[np.bool_]) -> NDArray[np.bool_] | None:
        """Return True where pixels are in none of some blocks; None if they hold all pixels."""
        bare = np.ones(self.shape, bool)
        for number in np.flatnonzero(blocks):
            bare[np.ix_(*self.blocks[number])] = False
        return bare if bare.any() else None

    def of_frame(self, index: int) -> NDArray[np.bool_] | None:
        """Return True where pixels of a frame have no source; None if all have."""
        return self.uncovered(self.held[:, max(index, 0)])

    def told(self) -> str:
        """Say how many pixels and modules are missing; nothing if none are."""
        bare = self.uncovered(np.asarray(self.held.any(1)))
        told = [] if bare is None else [f"{bare.sum()} pixels of a frame are in no source"]
        pixels = np.array([math.prod(map(len, block)) for block in self.blocks], np.int64)
        each = pixels @ self.held
        fewer = np.count_nonzero((each > 0) & (each < each.max(initial=0)))
        if fewer:
            told.append(f"{fewer} of {len(each)} frames lack modules that others have")
        return f"{'; '.join(told)}: they are left out" if told else ""

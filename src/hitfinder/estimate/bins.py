"""Blocks of pixels, sorted into bins of radius and azimuth about the beam axis."""

from __future__ import annotations

import dataclasses
import math

import numpy as np
from numba import njit
from numpy.typing import NDArray

from hitfinder.finding.squares import block_side
from hitfinder.geometry.geometry import Geometry
from hitfinder.geometry.optics import lattice_m

N_AZIMUTHS = 4
"""Azimuth bins in a quadrant: standard deviations are within 2 % of those from single pixels."""

_BIN_M = 1e-3
_BINS_AT_LEAST = 100


@dataclasses.dataclass(frozen=True, eq=False)
class PolarBins:
    """Square blocks of pixels in bins of radius, and of azimuth folded into one quadrant.

    All of it depends on the detector, its mask and the beam axis, not on camera length and energy.
    The pixels of a bin are those of the blocks whose middle lies in it, so that a frame is reduced
    to blocks first; what the model needs to know of them are their own means.

    Attributes
    ----------
    block_px : int
        Pixels along the side of a block.
    index : ndarray of int32, shape of the blocks
        Bin of each block, ``ring * N_AZIMUTHS + azimuth``; -1 where all pixels are masked.
    n_good : ndarray of int32, shape of the blocks
        Unmasked pixels.
    exposure : ndarray, shape (n_rings, N_AZIMUTHS)
        Unmasked pixels of each bin.
    radius_m, spread_m : ndarray, shape (n_rings,)
        Mean and standard deviation of the distance from the beam axis.
    shift_m : ndarray, shape (n_rings, N_AZIMUTHS)
        Mean distance of a bin less that of its ring.
    depth_m : ndarray, shape (n_rings,)
        Mean position along the beam less the camera length.
    area_m2, area_depth_m3 : ndarray, shape (n_rings,)
        A pixel's area seen from the sample is ``area_m2 * camera_length + area_depth_m3``, over
        the distance.
    polarised : ndarray, shape (n_rings, N_AZIMUTHS)
        Mean of (f x² + (1 - f) y²) / (x² + y²) for a fraction f polarised along x.
    """

    block_px: int
    index: NDArray[np.int32]
    n_good: NDArray[np.int32]
    exposure: NDArray[np.float64]
    radius_m: NDArray[np.float64]
    spread_m: NDArray[np.float64]
    shift_m: NDArray[np.float64]
    depth_m: NDArray[np.float64]
    area_m2: NDArray[np.float64]
    area_depth_m3: NDArray[np.float64]
    polarised: NDArray[np.float64]

    @property
    def n_rings(self) -> int:
        """Bins of radius."""
        return len(self.radius_m)

    @staticmethod
    def of(geometry: Geometry) -> PolarBins:
        """Sort the unmasked pixels of a geometry.

        Raises
        ------
        ValueError
            If every pixel is masked.
        """
        good = ~geometry.detector.full_mask
        if not good.any():
            raise ValueError("every pixel of the detector is masked")
        pixel = geometry.detector.panels[0].pixel_size_m
        size = block_side(pixel)
        n_good = block_sum(good, size)
        sums, longest = _block_sums(geometry, good, size)
        middle = np.maximum(n_good, 1)
        width = max(min(_BIN_M, longest / _BINS_AT_LEAST), size * pixel)
        ring = (sums["radius"] / middle / width).astype(np.int32)
        azimuth = np.arctan2(sums["y"] / middle, sums["x"] / middle) * (N_AZIMUTHS / (np.pi / 2))
        index = ring * N_AZIMUTHS + np.minimum(azimuth.astype(np.int32), N_AZIMUTHS - 1)
        index[n_good == 0] = -1
        return _describe(size, n_good, index, sums)

    def sum_of(self, blocks: NDArray) -> NDArray[np.float64]:
        """Add values of blocks into bins, shape (n_rings, N_AZIMUTHS)."""
        on = self.index >= 0
        n = self.n_rings * N_AZIMUTHS
        return np.bincount(self.index[on], blocks[on], n).astype(float).reshape(-1, N_AZIMUTHS)


def block_sum(values: NDArray, size: int) -> NDArray:
    """Sum blocks of `size` by `size` pixels; those at the far edges are smaller."""
    starts = [np.arange(0, n, size) for n in values.shape]
    kind = np.int32 if values.dtype.kind == "b" else np.float64
    rows = np.add.reduceat(values, starts[0], axis=0, dtype=kind)
    return np.add.reduceat(rows, starts[1], axis=1, dtype=kind)


def _block_sums(
    geometry: Geometry, good: NDArray[np.bool_], size: int
) -> tuple[dict[str, NDArray[np.float64]], float]:
    """Sum what describes the unmasked pixels over blocks.

    Returns
    -------
    sums : dict of ndarray, shape of the blocks
        `_SUMMED` of the pixels.
    longest : float
        Largest distance of an unmasked pixel from the beam axis, in m.
    """
    n_blocks = [-(-n // size) for n in good.shape]
    sums = np.zeros((len(_SUMMED), *n_blocks))
    longest = 0.0
    for panel in geometry.detector:
        first, along_fs, along_ss = lattice_m(panel, geometry.camera_length_m)
        normal, p = np.cross(panel.fs_vector, panel.ss_vector), panel.pixel_size_m
        corner = np.array([p * panel.corner_x, p * panel.corner_y, panel.coffset_m])
        # A pixel's area seen from the sample is p² n·r / R, and n·r, the distance of the panel's
        # plane, grows with the camera length by the component of its normal n along the beam.
        sign = np.sign(normal[2]) or 1.0
        area = p**2 * sign * normal[2], p**2 * sign * float(normal @ corner)
        here = (panel.ss_start, panel.fs_start, size)
        on_panel = good[panel.slices]
        first[2] -= geometry.camera_length_m
        farthest = _add_pixels(
            *(on_panel, here, first, along_fs, along_ss),
            *(area, geometry.polarisation, sums),
        )
        longest = max(longest, farthest)
    return dict(zip(_SUMMED, sums, strict=True)), longest


_SUMMED = ("x", "y", "radius", "radius2", "polarised", "depth", "area", "area_depth")
"""|x| and |y|, distance from the beam axis and its square, `polarised` and `depth_m` of
`PolarBins`, and the slope and offset of each pixel's area seen from the sample; in m and powers of
it."""


@njit(cache=True, nogil=True)
def _add_pixels(good, here, first, along_fs, along_ss, area, fraction, sums):  # type: ignore[no-untyped-def]
    """Add `_SUMMED` of a panel's pixels to their blocks; return the longest distance, in m."""
    first_ss, first_fs, size = here
    longest = 0.0
    for j in range(good.shape[0]):
        row = (first_ss + j) // size
        for i in range(good.shape[1]):
            if not good[j, i]:
                continue
            x = first[0] + i * along_fs[0] + j * along_ss[0]
            y = first[1] + i * along_fs[1] + j * along_ss[1]
            square = x * x + y * y
            radius = math.sqrt(square)
            longest = max(longest, radius)
            into = sums[:, row, (first_fs + i) // size]
            into[0] += abs(x)
            into[1] += abs(y)
            into[2] += radius
            into[3] += square
            if square > 0:
                into[4] += (fraction * x * x + (1 - fraction) * y * y) / square
            into[5] += first[2] + i * along_fs[2] + j * along_ss[2]
            into[6] += area[0]
            into[7] += area[1]
    return longest


def _describe(
    size: int,
    n_good: NDArray[np.int32],
    index: NDArray[np.int32],
    sums: dict[str, NDArray[np.float64]],
) -> PolarBins:
    """Means over the pixels of each bin and ring."""
    n_rings = int(index.max()) // N_AZIMUTHS + 1
    on = index >= 0

    def per_bin(blocks: NDArray) -> NDArray[np.float64]:
        total = np.bincount(index[on], blocks[on], n_rings * N_AZIMUTHS)
        return total.astype(float).reshape(-1, N_AZIMUTHS)

    exposure = per_bin(n_good)
    n_ring, n_bin = np.maximum(exposure.sum(1), 1), np.maximum(exposure, 1)
    of = {name: per_bin(blocks) for name, blocks in sums.items()}
    radius = of["radius"].sum(1) / n_ring
    return PolarBins(
        block_px=size,
        index=index,
        n_good=n_good,
        exposure=exposure,
        radius_m=radius,
        spread_m=np.sqrt(np.maximum(of["radius2"].sum(1) / n_ring - radius**2, 0)),
        shift_m=np.where(exposure > 0, of["radius"] / n_bin - radius[:, None], 0),
        depth_m=of["depth"].sum(1) / n_ring,
        area_m2=of["area"].sum(1) / n_ring,
        area_depth_m3=of["area_depth"].sum(1) / n_ring,
        polarised=of["polarised"] / n_bin,
    )

"""Blocks of pixels, sorted into bins of radius and azimuth about the beam axis."""

from __future__ import annotations

import dataclasses

import numpy as np
from numpy.typing import NDArray

from hitfinder.geometry.geometry import Geometry

N_AZIMUTHS = 4
"""Azimuth bins in a quadrant: standard deviations are within 2 % of those from single pixels."""

_BIN_M = 1e-3
_BINS_AT_LEAST = 100
_BLOCK_M = 0.6e-3
_BLOCK_SIZES = (4, 8)


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
        maps = geometry.pixels
        pixel = geometry.detector.panels[0].pixel_size_m
        size = max((s for s in _BLOCK_SIZES if s * pixel <= _BLOCK_M * 1.01), default=4)
        n_good = block_sum(good, size)
        x, y = (_filled(one, good) for one in (maps.x, maps.y))
        rho = np.hypot(x, y)
        middle = np.maximum(n_good, 1)
        block_x, block_y = (block_sum(np.abs(one), size) / middle for one in (x, y))
        block_rho = block_sum(rho, size) / middle
        width = max(min(_BIN_M, float(rho.max()) / _BINS_AT_LEAST), size * pixel)
        ring = (block_rho / width).astype(np.int32)
        azimuth = np.arctan2(block_y, block_x) * (N_AZIMUTHS / (np.pi / 2))
        index = ring * N_AZIMUTHS + np.minimum(azimuth.astype(np.int32), N_AZIMUTHS - 1)
        index[n_good == 0] = -1
        return _describe(geometry, good, size, n_good, index, x, y)

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


def _filled(values: NDArray, good: NDArray[np.bool_]) -> NDArray[np.float64]:
    """Return values with 0 on pixels that do not count."""
    return np.where(good, values, 0.0)


def _describe(
    geometry: Geometry,
    good: NDArray[np.bool_],
    size: int,
    n_good: NDArray[np.int32],
    index: NDArray[np.int32],
    x: NDArray[np.float64],
    y: NDArray[np.float64],
) -> PolarBins:
    """Means over the pixels of each bin and ring."""
    n_rings = int(index.max()) // N_AZIMUTHS + 1
    on = index >= 0

    def per_bin(blocks: NDArray) -> NDArray[np.float64]:
        total = np.bincount(index[on], blocks[on], n_rings * N_AZIMUTHS)
        return total.astype(float).reshape(-1, N_AZIMUTHS)

    exposure = per_bin(n_good)
    n_ring = np.maximum(exposure.sum(1), 1)
    squares = x * x + y * y
    f = geometry.polarisation
    part = np.divide(
        f * x * x + (1 - f) * y * y, squares, out=np.zeros_like(squares), where=squares > 0
    )
    sums = {
        name: per_bin(block_sum(values, size))
        for name, values in {
            "rho": np.sqrt(squares),
            "rho2": squares,
            "polarised": part,
            "depth": _filled(geometry.pixels.z - geometry.camera_length_m, good),
        }.items()
    }
    area, area_depth = (per_bin(block_sum(one, size)) for one in _areas(geometry, good))
    radius = sums["rho"].sum(1) / n_ring
    n_bin = np.maximum(exposure, 1)
    return PolarBins(
        block_px=size,
        index=index,
        n_good=n_good,
        exposure=exposure,
        radius_m=radius,
        spread_m=np.sqrt(np.maximum(sums["rho2"].sum(1) / n_ring - radius**2, 0)),
        shift_m=np.where(exposure > 0, sums["rho"] / n_bin - radius[:, None], 0),
        depth_m=sums["depth"].sum(1) / n_ring,
        area_m2=area.sum(1) / n_ring,
        area_depth_m3=area_depth.sum(1) / n_ring,
        polarised=sums["polarised"] / n_bin,
    )


def _areas(
    geometry: Geometry, good: NDArray[np.bool_]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return the slope and the offset of `area_m2` and `area_depth_m3` of each pixel.

    The area seen from the sample is p² n·r / R; n·r is the distance of the panel's plane, which
    grows with the camera length by the component of its normal n along the beam.
    """
    slope, offset = np.zeros(good.shape), np.zeros(good.shape)
    for panel in geometry.detector:
        normal = np.cross(panel.fs_vector, panel.ss_vector)
        p = panel.pixel_size_m
        corner = np.array([p * panel.corner_x, p * panel.corner_y, panel.coffset_m])
        sign = np.sign(normal[2]) or 1.0
        slope[panel.slices] = p**2 * sign * normal[2]
        offset[panel.slices] = p**2 * sign * float(normal @ corner)
    return _filled(slope, good), _filled(offset, good)

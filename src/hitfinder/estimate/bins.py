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
_BLOCKS_AT_A_TIME = 16


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
        size = max((s for s in _BLOCK_SIZES if s * pixel <= _BLOCK_M * 1.01), default=4)
        n_good = block_sum(good, size)
        sums, longest = _block_sums(geometry, good, size)
        middle = np.maximum(n_good, 1)
        width = max(min(_BIN_M, longest / _BINS_AT_LEAST), size * pixel)
        ring = (sums["rho"] / middle / width).astype(np.int32)
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
    geometry: Geometry,
    good: NDArray[np.bool_],
    size: int,
) -> tuple[dict[str, NDArray[np.float64]], float]:
    """Sum what describes the unmasked pixels over blocks, some rows at a time.

    Whole maps of a large detector would take hundreds of megabytes.

    Returns
    -------
    sums : dict of ndarray, shape of the blocks
        See `_pixels_of`.
    longest : float
        Largest distance of an unmasked pixel from the beam axis, in m.
    """
    step, bands, longest = size * _BLOCKS_AT_A_TIME, [], 0.0
    for start in range(0, len(good), step):
        rows = slice(start, min(start + step, len(good)))
        places = geometry.pixels.in_rows(rows)
        from_axis = np.hypot(places[0], places[1])
        longest = max(longest, float(np.max(from_axis, where=good[rows], initial=0)))
        described = _pixels_of(geometry, good, places, rows)
        bands.append(
            {
                name: block_sum(np.where(good[rows], values, 0.0), size)
                for name, values in described.items()
            }
        )
    return {name: np.concatenate([band[name] for band in bands]) for name in bands[0]}, longest


def _pixels_of(
    geometry: Geometry,
    good: NDArray[np.bool_],
    places: NDArray[np.float32],
    rows: slice,
) -> dict[str, NDArray]:
    """Return what describes the pixels of some rows, in m and powers of it.

    |x| and |y|, distance from the beam axis and its square, `polarised` and `depth_m` of
    `PolarBins`, and the slope and offset of each pixel's area seen from the sample: that is
    p² n·r / R, and n·r, the distance of the panel's plane, grows with the camera length by the
    component of its normal n along the beam.
    """
    x, y = (np.where(good[rows], one, 0.0) for one in places[:2])
    squares, f = x * x + y * y, geometry.polarisation
    polarised = np.divide(
        f * x * x + (1 - f) * y * y, squares, out=np.zeros_like(squares), where=squares > 0
    )
    area, area_depth = np.zeros(squares.shape), np.zeros(squares.shape)
    for panel in geometry.detector:
        its_rows, columns = panel.slices
        first, last = max(its_rows.start, rows.start), min(its_rows.stop, rows.stop)
        if first >= last:
            continue
        normal, p = np.cross(panel.fs_vector, panel.ss_vector), panel.pixel_size_m
        corner = np.array([p * panel.corner_x, p * panel.corner_y, panel.coffset_m])
        sign = np.sign(normal[2]) or 1.0
        part = slice(first - rows.start, last - rows.start), columns
        area[part] = p**2 * sign * normal[2]
        area_depth[part] = p**2 * sign * float(normal @ corner)
    return {
        "x": np.abs(x),
        "y": np.abs(y),
        "rho": np.hypot(x, y),
        "radius": np.sqrt(squares),
        "radius2": squares,
        "polarised": polarised,
        "depth": places[2] - geometry.camera_length_m,
        "area": area,
        "area_depth": area_depth,
    }


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

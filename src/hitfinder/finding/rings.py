"""Pixels sorted into rings of equal scattering vector: the static half of the background."""

from __future__ import annotations

import dataclasses
import weakref

import numba
import numpy as np
from numpy.typing import NDArray

from hitfinder.geometry.geometry import Geometry

MAX_RINGS = 4096

RING_PX = 2.0
"""Width of a ring near the beam axis, in pixels."""


@dataclasses.dataclass(frozen=True, eq=False)
class Rings:
    """Rings of the detector and the relative brightness of the pixels in them.

    Attributes
    ----------
    index : ndarray of int16, shape of the frame
        Ring of each pixel, -1 where masked.
    position : ndarray of float32, shape of the frame
        Radial position in units of rings; ring i is centred at i + 0.5.
    weight : ndarray of float32, shape of the frame
        Solid angle times polarisation, 1 at most; 0 where masked.
    n_pixels : ndarray of int64, shape (n_rings,)
        Pixels in each ring.
    weight_sum : ndarray of float64, shape (n_rings,)
        Sum of the weights in each ring.
    weight_range : ndarray of float64, shape (2, n_rings)
        Smallest and largest weight in each ring.
    q : ndarray of float64, shape (n_rings,)
        Scattering vector 4π sin θ / λ at the centre of each ring, in Å⁻¹.
    """

    index: NDArray[np.int16]
    position: NDArray[np.float32]
    weight: NDArray[np.float32]
    n_pixels: NDArray[np.int64]
    weight_sum: NDArray[np.float64]
    weight_range: NDArray[np.float64]
    q: NDArray[np.float64]

    def mean(self, profile: NDArray[np.float64]) -> float:
        """Return the mean over all unmasked pixels of what each ring has on average."""
        return float(profile @ self.n_pixels / self.n_pixels.sum())

    @staticmethod
    def of(geometry: Geometry, width_px: float = RING_PX) -> Rings:
        """Sort the unmasked pixels of a geometry into rings.

        Parameters
        ----------
        geometry : Geometry
            Pixels, mask and beam.
        width_px : float
            Width of a ring near the beam axis, in pixels.
        """
        if width_px == RING_PX and geometry in _sorted:
            return _sorted[geometry]
        q, weight, polarisation = geometry.pixels.optics()
        mask = _unused(geometry, q)
        if mask.all():
            empty = np.zeros(1)
            return Rings(
                np.full(geometry.shape, -1, np.int16),
                np.zeros(geometry.shape, np.float32),
                np.zeros(geometry.shape, np.float32),
                np.zeros(1, np.int64),
                empty,
                np.zeros((2, 1)),
                empty,
            )
        n_rings, step = _number_and_width(geometry, q, mask, width_px)
        index = np.empty(geometry.shape, np.int16)
        largest = _sort(q, weight, polarisation, mask, np.float32(step), n_rings, index)
        weight_range = np.array([np.full(n_rings, np.inf), np.zeros(n_rings)])
        n_pixels, weight_sum = np.zeros(n_rings, np.int64), np.zeros(n_rings)
        _describe(index, weight, largest, n_pixels, weight_sum, *weight_range)
        weight_range[0] = np.minimum(weight_range[0], weight_range[1])
        rings = Rings(
            index=index,
            position=q,
            weight=weight,
            n_pixels=n_pixels,
            weight_sum=weight_sum,
            weight_range=weight_range,
            q=_centres(n_rings, step),
        )
        if width_px == RING_PX:
            _sorted[geometry] = rings
        return rings


_sorted: weakref.WeakKeyDictionary[Geometry, Rings] = weakref.WeakKeyDictionary()
"""Rings of the usual width of geometries in use: several finders of one have the same."""


def ring_centres(geometry: Geometry, q: NDArray[np.float32] | None = None) -> NDArray[np.float64]:
    """Return `Rings.q` of a geometry without sorting its pixels.

    Parameters
    ----------
    geometry : Geometry
        Pixels, mask and beam.
    q : ndarray of float32, optional
        Its ``pixels.q``, where that is there already.
    """
    q = geometry.pixels.q if q is None else q
    mask = _unused(geometry, q)
    if mask.all():
        return np.zeros(1)
    return _centres(*_number_and_width(geometry, q, mask, RING_PX))


def _unused(geometry: Geometry, q: NDArray[np.float32]) -> NDArray[np.bool_]:
    """Return the pixels that are in no ring."""
    return np.asarray(geometry.detector.full_mask | ~np.isfinite(q))


def _number_and_width(
    geometry: Geometry, q: NDArray[np.float32], mask: NDArray[np.bool_], width_px: float
) -> tuple[int, float]:
    """Return the number of rings, and their width in Å⁻¹."""
    pixel = geometry.detector.panels[0].pixel_size_m
    step = 2 * np.pi / geometry.wavelength_a * width_px * pixel / geometry.camera_length_m
    q_max = float(np.max(q, where=~mask, initial=0))
    step = max(step, q_max / (MAX_RINGS - 1))
    return int(q_max / step) + 1, step


def _centres(n_rings: int, step: float) -> NDArray[np.float64]:
    return np.asarray((np.arange(n_rings) + 0.5) * step, np.float64)


@numba.njit(cache=True, nogil=True, error_model="numpy")
def _sort(q, weight, polarisation, mask, step, n_rings, index):  # type: ignore[no-untyped-def]
    """Put pixels into rings, with their positions in place of q; return the largest weight.

    Masked pixels have no ring and no weight, those on no panel the position 0.
    """
    largest, last = np.float32(0), np.float32(n_rings - 1)
    for j in range(q.shape[0]):
        for i in range(q.shape[1]):
            position = q[j, i] / step
            if not np.isfinite(position):
                position = np.float32(0)
            q[j, i] = position
            if mask[j, i]:
                index[j, i], weight[j, i] = -1, 0
            else:
                index[j, i] = np.int16(min(position, last))
                weight[j, i] *= polarisation[j, i]
                largest = max(largest, weight[j, i])
    return largest


@numba.njit(cache=True, nogil=True, error_model="numpy")
def _describe(index, weight, largest, n_pixels, weight_sum, low, high):  # type: ignore[no-untyped-def]
    """Give the largest weight the value 1, and say what is in each ring.

    Its pixels and their weights are added up; `low` and `high` are lowered and raised to extremes.
    """
    for j in range(index.shape[0]):
        for i in range(index.shape[1]):
            ring = index[j, i]
            if ring >= 0:
                weight[j, i] /= largest
                n_pixels[ring] += 1
                weight_sum[ring] += weight[j, i]
                low[ring] = min(low[ring], weight[j, i])
                high[ring] = max(high[ring], weight[j, i])

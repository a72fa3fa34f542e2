"""Expected photons in the bins, and the likelihood of a photon energy and a camera length.

With an unknown scale (thickness times flux, prior ∝ 1/scale) integrated out, Poisson counts n in
bins of expectation m follow a multinomial law, log L = Σ n log m - N log Σ m + constant (Gelman et
al., Bayesian Data Analysis, 3rd ed., section 2.4 and 3.4).
"""

from __future__ import annotations

import dataclasses
import math

import numba
import numpy as np
from numpy.typing import NDArray

from hitfinder.estimate.bins import PolarBins
from hitfinder.simulation.water import WaterScattering
from hitfinder.units import HC_EV_ANGSTROM

_Q_STEP = 0.01
_Q_END = 11.0
_SCALE_PER_EV = 4 * math.pi / HC_EV_ANGSTROM / _Q_STEP
_RADIUS, _SPREAD, _DEPTH, _AREA, _AREA_DEPTH = range(5)
_LEAST = 1e-300
_ROOT_HALF, _MANTISSA_BITS = 0x3FE6A09E667F3BCD, 52
"""√½ as the bits of a float64, and the bits below its exponent (IEEE 754)."""

_LN_2 = math.log(2)


@dataclasses.dataclass(frozen=True, eq=False)
class WaterModel:
    """Photons that water scatters into the bins of a detector, up to a common scale.

    Attributes
    ----------
    rings : ndarray, shape (5, n_rings)
        Radius, spread, depth, area and area depth of `PolarBins`.
    cells : ndarray, shape (2, n_rings, n_azimuths)
        Shift of the radius, and the polarised part.
    water : ndarray
        |F|² of water, in e², in steps of 0.01 Å⁻¹ from q = 0; constant beyond the end.
    """

    rings: NDArray[np.float64]
    cells: NDArray[np.float64]
    water: NDArray[np.float64]

    @staticmethod
    def of(bins: PolarBins, temperature_c: float) -> WaterModel:
        """Set up the model of a detector's bins.

        Raises
        ------
        ValueError
            If the temperature is outside the table of water, 1 to 77 °C.
        """
        rings = [bins.radius_m, bins.spread_m, bins.depth_m, bins.area_m2, bins.area_depth_m3]
        q = np.arange(0, _Q_END, _Q_STEP)
        return WaterModel(
            np.stack(rings),
            np.stack([bins.shift_m, bins.polarised]),
            WaterScattering(temperature_c)(q),
        )

    def per_pixel(self, photon_energy_ev: float, camera_length_m: float) -> NDArray[np.float64]:
        """Return the mean over the pixels of each bin, in arbitrary units.

        Returns
        -------
        ndarray, shape (n_rings, n_azimuths)
            |F|² times polarisation factor times solid angle.
        """
        out = np.empty(self.cells.shape[1:])
        fill_model(photon_energy_ev, camera_length_m, self.rings, self.cells, self.water, out)
        return out

    def log_likelihood(
        self,
        photon_energy_ev: float,
        camera_length_m: float,
        counts: NDArray[np.float64],
        exposure: NDArray[np.float64],
    ) -> float:
        """Return log L of photons counted in the bins, without the terms of the counts alone.

        Parameters
        ----------
        photon_energy_ev, camera_length_m : float
            Where.
        counts, exposure : ndarray, shape (n_rings, n_azimuths)
            Photons, and pixels they fell on.
        """
        data = (counts, exposure, self.rings, self.cells, self.water)
        return log_likelihood(photon_energy_ev, camera_length_m, data)


# Loops that the compiler is to vectorise have no branches, not even the check of a divisor, and
# look nothing up.


@numba.njit(cache=True, nogil=True, error_model="numpy")
def _seen_from(radius, off, depth, distance, scale, top, place, inverse):  # type: ignore[no-untyped-def]
    """Write where in a table the scattering angle of points lies, and one over their distance.

    Points are at `radius` and `off` more; `scale` times the sine of half the angle is the place,
    which is `top` at most.
    """
    for k in range(radius.size):
        r, z = radius[k] + off[k], distance + depth[k]
        inverse[k] = 1.0 / math.sqrt(r * r + z * z)
        place[k] = min(scale * math.sqrt(max(0.5 * (1.0 - z * inverse[k]), 0.0)), top)


@numba.njit(cache=True, nogil=True)
def _look_up(place, inverse, area, area_depth, distance, water, out):  # type: ignore[no-untyped-def]
    """Write |F|² of water times solid angle at the places of `_seen_from`."""
    last = np.int64(water.size - 2)
    for k in range(place.size):
        low = min(np.int64(place[k]), last)
        form = water[low] + (place[k] - low) * (water[low + 1] - water[low])
        out[k] = form * (area[k] * distance + area_depth[k]) * inverse[k] * inverse[k] * inverse[k]


@numba.njit(cache=True, nogil=True)
def _fill_rings(energy, distance, rings, water, out):  # type: ignore[no-untyped-def]
    """Write mean, slope with radius and sin² of the rings, from two points a spread off the middle.

    Two points at one standard deviation give the mean exactly up to third order (Gauss-Hermite).
    """
    room = np.empty((6, out.shape[1]))
    # Rows taken by their numbers are known to be contiguous.
    place, off, inner, outer = room[0], room[1], room[2], room[3]
    inner_inverse, outer_inverse = room[4], room[5]
    radius, depth, scale = rings[_RADIUS], rings[_DEPTH], energy * _SCALE_PER_EV
    areas, top = (rings[_AREA], rings[_AREA_DEPTH]), water.size - 1.0
    for k in range(off.size):
        off[k] = -max(rings[_SPREAD, k], 1e-7)
    _seen_from(radius, off, depth, distance, scale, top, place, inner_inverse)
    _look_up(place, inner_inverse, areas[0], areas[1], distance, water, inner)
    for k in range(off.size):
        off[k] = -off[k]
    _seen_from(radius, off, depth, distance, scale, top, place, outer_inverse)
    _look_up(place, outer_inverse, areas[0], areas[1], distance, water, outer)
    _join_points(radius, off, inner, outer, inner_inverse, outer_inverse, out)


@numba.njit(cache=True, nogil=True, error_model="numpy")
def _join_points(radius, spread, inner, outer, inner_inverse, outer_inverse, out):  # type: ignore[no-untyped-def]
    """Write what `_fill_rings` does, from the values at its points."""
    mean, slope, square = out[0], out[1], out[2]
    for k in range(radius.size):
        mean[k] = 0.5 * (outer[k] + inner[k])
        slope[k] = (outer[k] - inner[k]) / (2.0 * spread[k])
        far = (radius[k] + spread[k]) * outer_inverse[k]
        near = (radius[k] - spread[k]) * inner_inverse[k]
        square[k] = 0.5 * (far * far + near * near)


@numba.njit(cache=True, nogil=True)
def fill_model(energy, distance, rings, cells, water, out):  # type: ignore[no-untyped-def]
    """Write the model of `WaterModel.per_pixel` into `out`."""
    of_rings = np.empty((3, out.shape[0]))
    _fill_rings(energy, distance, rings, water, of_rings)
    for k in range(out.shape[0]):
        mean, slope, sin2 = of_rings[0, k], of_rings[1, k], of_rings[2, k]
        for a in range(out.shape[1]):
            value = (mean + slope * cells[0, k, a]) * (1.0 - sin2 * cells[1, k, a])
            out[k, a] = max(value, _LEAST)


@numba.njit(cache=True, nogil=True)
def log_likelihood(energy, distance, data):  # type: ignore[no-untyped-def]
    """See `WaterModel.log_likelihood`."""
    counts, exposure, rings, cells, water = data
    room = np.empty((3, counts.size))
    model, power, mantissa = room[0], room[1], room[2]
    fill_model(energy, distance, rings, cells, water, model.reshape(counts.shape))
    _take_apart(model.view(np.int64), power, mantissa.view(np.int64))
    total, photons, logs = _sums(model, power, mantissa, counts.ravel(), exposure.ravel())
    return logs - photons * math.log(max(total, _LEAST))


@numba.njit(cache=True, nogil=True)
def _take_apart(bits, power, mantissa):  # type: ignore[no-untyped-def]
    """Write positive normal numbers as 2ᵖ m with m from √½ to √2, all by their bits."""
    for k in range(bits.size):
        exponent = (bits[k] - np.int64(_ROOT_HALF)) >> np.int64(_MANTISSA_BITS)
        power[k] = np.float64(exponent)
        mantissa[k] = bits[k] - (exponent << np.int64(_MANTISSA_BITS))


@numba.njit(cache=True, nogil=True, error_model="numpy", fastmath={"reassoc", "contract"})
def _sums(model, power, mantissa, counts, exposure):  # type: ignore[no-untyped-def]
    """Return Σ exposure · model, Σ counts, and Σ counts · ln model.

    ln m = 2 artanh s with s = (m - 1) / (m + 1), and |s| < 0.172: what is left out of the series is
    less than 10⁻¹⁶ of it. In a loop that is vectorised this takes a quarter of the time of calls of
    a library's logarithm.
    """
    total = photons = logs = 0.0
    for k in range(model.size):
        s = (mantissa[k] - 1.0) / (mantissa[k] + 1.0)
        z = s * s
        high = 2 / 11 + z * (2 / 13 + z * (2 / 15 + z * (2 / 17 + z * (2 / 19))))
        series = 2.0 + z * (2 / 3 + z * (2 / 5 + z * (2 / 7 + z * (2 / 9 + z * high))))
        logs += counts[k] * (power[k] * _LN_2 + s * series)
        photons += counts[k]
        total += exposure[k] * model[k]
    return total, photons, logs

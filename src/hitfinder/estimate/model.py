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


@numba.njit(cache=True, nogil=True, inline="always")
def _at_radius(radius, depth, area, area_depth, scale, distance, water):  # type: ignore[no-untyped-def]
    """Return |F|² times solid angle, and sin² of the scattering angle.

    `scale` times the sine of half that angle is the place in `water`.
    """
    z = distance + depth
    inverse = 1.0 / math.sqrt(radius * radius + z * z)
    position = min(scale * math.sqrt(max(0.5 * (1.0 - z * inverse), 0.0)), water.size - 1.0)
    low = min(np.uint32(position), np.uint32(water.size - 2))
    form = water[low] + (position - low) * (water[low + np.uint32(1)] - water[low])
    sine = radius * inverse
    return form * (area * distance + area_depth) * inverse * inverse * inverse, sine * sine


@numba.njit(cache=True, nogil=True)
def _fill_rings(energy, distance, rings, water, out):  # type: ignore[no-untyped-def]
    """Write mean, slope with radius and sin² of the rings, from two points a spread off the middle.

    Two points at one standard deviation give the mean exactly up to third order (Gauss-Hermite).
    The loop has no branches, so that the compiler vectorises it.
    """
    scale = energy * _SCALE_PER_EV
    for k in range(out.shape[1]):
        radius, spread = rings[_RADIUS, k], max(rings[_SPREAD, k], 1e-7)
        depth, area, area_depth = rings[_DEPTH, k], rings[_AREA, k], rings[_AREA_DEPTH, k]
        outer, s_outer = _at_radius(
            radius + spread, depth, area, area_depth, scale, distance, water
        )
        inner, s_inner = _at_radius(
            radius - spread, depth, area, area_depth, scale, distance, water
        )
        out[0, k] = 0.5 * (outer + inner)
        out[1, k] = (outer - inner) / (2.0 * spread)
        out[2, k] = 0.5 * (s_outer + s_inner)


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
    model = np.empty(counts.shape)
    fill_model(energy, distance, rings, cells, water, model)
    total = photons = logs = 0.0
    for k in range(counts.shape[0]):
        for a in range(counts.shape[1]):
            total += exposure[k, a] * model[k, a]
            if counts[k, a] > 0.0:
                photons += counts[k, a]
                logs += counts[k, a] * math.log(model[k, a])
    return logs - photons * math.log(max(total, _LEAST))

"""Scattering that depends on the scattering angle alone, apart from polarisation.

Liquid, gas, solution and powder scattering all give a photon density per solid angle of the form
``A(t) - B(t) (px x² + py y²)/R²`` with t = sin(2θ/2): a table of A and of B is enough to fill any
detector, and to draw single photons from.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

import numba
import numpy as np
from numpy.typing import NDArray

from hitfinder.geometry.geometry import Geometry
from hitfinder.simulation.panels import PanelArrays, covers_frame

TABLE_SIZE = 4096


@dataclasses.dataclass(frozen=True, eq=False)
class RadialProfile:
    """Photons per steradian seen from the sample, as a function of the scattering angle.

    Parameters
    ----------
    t_max : float
        Largest tabulated t = sin(2θ/2) = q λ / 4π.
    total : ndarray, shape (n,)
        A(t) on a uniform grid from 0 to `t_max`: photons per sr with the polarisation factor off.
    polarised : ndarray, shape (n,)
        B(t): the part the polarisation factor applies to, A(t) for scattering at the sample.
    """

    t_max: float
    total: NDArray[np.float64]
    polarised: NDArray[np.float64]

    @property
    def t(self) -> NDArray[np.float64]:
        """Grid of t."""
        return np.linspace(0.0, self.t_max, len(self.total))

    def __add__(self, other: RadialProfile) -> RadialProfile:
        if self.t_max != other.t_max or len(self.total) != len(other.total):
            raise ValueError("profiles on different grids cannot be added")
        return RadialProfile(self.t_max, self.total + other.total, self.polarised + other.polarised)

    def __mul__(self, factor: float) -> RadialProfile:
        return RadialProfile(self.t_max, self.total * factor, self.polarised * factor)


def radial_profile(
    geometry: Geometry, photons_per_sr: Callable[[NDArray[np.float64]], NDArray[np.float64]]
) -> RadialProfile:
    """Tabulate scattering at the sample.

    Parameters
    ----------
    geometry : Geometry
        Gives the photon energy and the range of angles.
    photons_per_sr : callable
        Photons per sr, polarisation factor off, at q in Å⁻¹.
    """
    t_max = PanelArrays.of(geometry).largest_t()
    t = np.linspace(0.0, t_max, TABLE_SIZE)
    values = np.asarray(photons_per_sr(4 * np.pi * t / geometry.wavelength_a), float)
    return RadialProfile(t_max, values, values)


def polarisation_weights(fraction: float | None) -> tuple[float, float]:
    """Weights (px, py) of P = 1 - px (x/R)² - py (y/R)².

    Parameters
    ----------
    fraction : float or None
        Fraction of the beam polarised along x: 1 linear along x, 0 along y, 0.5 circular or
        unpolarised (the two give the same intensity); None switches the factor off.
    """
    return (0.0, 0.0) if fraction is None else (fraction, 1.0 - fraction)


def expected_image(
    geometry: Geometry,
    profile: RadialProfile,
    polarisation: float | None,
    uniform: float = 0.0,
    out: NDArray[np.float32] | None = None,
) -> NDArray[np.float32]:
    """Return the expected photons per pixel of a radial profile.

    The density at the pixel centre times the pixel's solid angle p² cos α / R³.

    Parameters
    ----------
    geometry : Geometry
        Detector and camera length; its own polarisation is not used.
    profile : RadialProfile
        Photons per steradian.
    polarisation : float or None
        Fraction polarised along x, see `polarisation_weights`.
    uniform : float
        Photons per pixel added everywhere on the panels.
    out : ndarray of float32, shape of a frame, optional
        Buffer to fill and return.

    Returns
    -------
    ndarray of float32, shape of a frame
        Zero on no panel; masked pixels of panels are filled like the others.
    """
    if out is None:
        out = np.empty(geometry.shape, np.float32)
    if not covers_frame(geometry.detector):
        out[:] = 0
    table = np.concatenate([_lines(profile.total), _lines(profile.polarised)]).astype(np.float32)
    px, py = polarisation_weights(polarisation)
    for panel, axes in zip(geometry.detector, PanelArrays.of(geometry).axes, strict=True):
        _fill_panel(out[panel.slices], axes, table, profile.t_max, px, py, uniform)
    return out


def _lines(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Intercept and slope of each interval of a table, in units of its rows, shape (2, n)."""
    slope = np.append(np.diff(values), 0.0)
    return np.stack([values - np.arange(len(values)) * slope, slope])


@numba.njit(cache=True, nogil=True, fastmath=True, error_model="numpy")
def _fill_panel(out, axes, table, t_max, px, py, uniform):  # type: ignore[no-untyped-def]
    """Fill one panel in single precision; the geometry of a row first, as that loop vectorises."""
    n_ss, n_fs = out.shape
    o, f, s = axes[0], axes[1], axes[2]
    normal_x = f[1] * s[2] - f[2] * s[1]
    normal_y = f[2] * s[0] - f[0] * s[2]
    normal_z = f[0] * s[1] - f[1] * s[0]
    # (pixel area) x (distance of the panel's plane from the sample): constant over a flat panel.
    weight = np.float32(abs(normal_x * o[0] + normal_y * o[1] + normal_z * o[2]))
    intercept, slope = table[0], table[1]
    intercept_b, slope_b = table[2], table[3]
    to_row = np.float32((table.shape[1] - 1) / t_max)
    last = np.float32(table.shape[1] - 1)
    fx, fy, fz = np.float32(f[0]), np.float32(f[1]), np.float32(f[2])
    px, py, uniform = np.float32(px), np.float32(py), np.float32(uniform)
    half, one = np.float32(0.5), np.float32(1.0)
    at, omega, p = (
        np.empty(n_fs, np.float32),
        np.empty(n_fs, np.float32),
        np.empty(n_fs, np.float32),
    )
    for j in range(n_ss):
        x0 = np.float32(o[0] + 0.5 * f[0] + (j + 0.5) * s[0])
        y0 = np.float32(o[1] + 0.5 * f[1] + (j + 0.5) * s[1])
        z0 = np.float32(o[2] + 0.5 * f[2] + (j + 0.5) * s[2])
        for i in range(n_fs):
            step = np.float32(i)
            x, y, z = x0 + step * fx, y0 + step * fy, z0 + step * fz
            rho2 = x * x + y * y
            inv_r2 = one / (rho2 + z * z)
            inv_r = np.sqrt(inv_r2)
            # sin²(2θ/2) = (1 - z/R)/2 without the loss of digits at small angles.
            t = np.sqrt(half * rho2 * inv_r2 / (one + z * inv_r))
            at[i] = min(t * to_row, last)
            omega[i] = weight * inv_r2 * inv_r
            p[i] = (px * x * x + py * y * y) * inv_r2
        row_out = out[j]
        for i in range(n_fs):
            row = np.uint32(at[i])
            a = intercept[row] + at[i] * slope[row]
            b = intercept_b[row] + at[i] * slope_b[row]
            row_out[i] = uniform + omega[i] * (a - b * p[i])

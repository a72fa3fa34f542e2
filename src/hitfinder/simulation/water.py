"""Scattering of liquid water, from published measurements."""

from __future__ import annotations

import dataclasses
import functools
import importlib.resources

import numpy as np
from numpy.typing import ArrayLike, NDArray

from hitfinder.geometry.geometry import Geometry
from hitfinder.simulation.radial import RadialProfile, expected_image, radial_profile
from hitfinder.units import AVOGADRO_PER_MOL, CLASSICAL_ELECTRON_RADIUS_M

MOLAR_MASS_KG = 18.01528e-3


_SMOOTH_BELOW = (0.7, 1.0)
"""From here down in q, in Å⁻¹, the values pass into a curve through them."""


@functools.cache
def _table() -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
    """Return q (n,), temperatures (m,) and |F|² (n, m): the packaged table, smooth at low q.

    The published values scatter there by their error of a tenth, which would draw rings around the
    beam: a + b q² + c q⁴ is fitted to them, weighted by the errors, and used down to q = 0.
    """
    source = importlib.resources.files("hitfinder.simulation") / "data" / "water.csv"
    lines = [line for line in source.read_text().splitlines() if not line.startswith("#")]
    temperatures = np.array(lines[0].split(",")[1:-1], float)
    rows = np.array([line.split(",") for line in lines[1:]], float)
    q, values, error = rows[:, 0], rows[:, 1:-1], rows[:, -1]
    low, high = _SMOOTH_BELOW
    fitted = q <= high
    polynomial = np.polyfit(q[fitted] ** 2, values[fitted], 2, w=1 / error[fitted])
    everywhere = np.concatenate([[0.0, 0.05, 0.1], q])
    powers = np.vander(everywhere**2, 3)
    part = np.clip((everywhere - low) / (high - low), 0, 1)[:, None]
    measured = np.concatenate([np.zeros((3, values.shape[1])), values])
    return everywhere, temperatures, (1 - part) * (powers @ polynomial) + part * measured


@dataclasses.dataclass(frozen=True)
class WaterScattering:
    """|F(q)|² of liquid water per molecule.

    Measured values of Hura et al. (2003) and Clark et al. (2010), Compton scattering removed,
    interpolated linearly in q and temperature, smoothed within their errors below 1 Å⁻¹, and held
    constant above the table's end (10.8 Å⁻¹).

    Parameters
    ----------
    temperature_c : float
        Temperature, in °C; the table covers 1 to 77.

    Raises
    ------
    ValueError
        If the temperature is outside the table.
    """

    temperature_c: float = 25.0

    def __post_init__(self) -> None:
        low, high = _table()[1][[0, -1]]
        if not low <= self.temperature_c <= high:
            raise ValueError(
                f"water temperature must be in {low:g} to {high:g} °C, got {self.temperature_c}"
            )

    def __call__(self, q_inv_a: ArrayLike) -> NDArray[np.float64]:
        """Return |F|² per molecule, in e², at q = 4π sin θ / λ in Å⁻¹."""
        q, temperatures, values = _table()
        upper = int(np.clip(np.searchsorted(temperatures, self.temperature_c), 1, None))
        span = temperatures[upper] - temperatures[upper - 1]
        part = (self.temperature_c - temperatures[upper - 1]) / span
        column = (1 - part) * values[:, upper - 1] + part * values[:, upper]
        return np.interp(np.asarray(q_inv_a, float), q, column)

    @property
    def molecules_per_m3(self) -> float:
        """Number density: the formula of Kell, J. Chem. Eng. Data 20, 97 (1975)."""
        t = self.temperature_c
        numerator = np.polynomial.polynomial.polyval(
            t,
            [999.83952, 16.945176, -7.9870401e-3, -46.170461e-6, 105.56302e-9, -280.54253e-12],
        )
        density_kg_m3 = float(numerator) / (1 + 16.879850e-3 * t)
        return density_kg_m3 * AVOGADRO_PER_MOL / MOLAR_MASS_KG

    def cross_section_per_m3(self, q_inv_a: ArrayLike) -> NDArray[np.float64]:
        """Scattering cross-section per volume, dΣ/dΩ = n r_e² |F|², in m²/sr per m³."""
        return self.molecules_per_m3 * CLASSICAL_ELECTRON_RADIUS_M**2 * self(q_inv_a)


def water_profile(
    geometry: Geometry, flux_photons: float, thickness_m: float, temperature_c: float = 25.0
) -> RadialProfile:
    """Return the photons per steradian scattered by a layer of water at the sample.

    Parameters
    ----------
    geometry : Geometry
        Gives the photon energy and the range of angles.
    flux_photons : float
        Photons through the layer.
    thickness_m : float
        Path of the beam in water, in m.
    temperature_c : float
        Temperature, in °C.

    Raises
    ------
    ValueError
        If flux or thickness is negative or the temperature is outside the table.
    """
    for name, value in (("flux", flux_photons), ("water thickness", thickness_m)):
        if not (value >= 0 and np.isfinite(value)):
            raise ValueError(f"{name} must be finite and not negative, got {value}")
    water = WaterScattering(temperature_c)
    return radial_profile(
        geometry, lambda q: flux_photons * thickness_m * water.cross_section_per_m3(q)
    )


def expected_water(
    geometry: Geometry,
    flux_photons: float,
    thickness_m: float,
    temperature_c: float = 25.0,
    out: NDArray[np.float32] | None = None,
) -> NDArray[np.float32]:
    """Return the expected photons per pixel from a layer of water.

    flux · thickness · n · r_e² · |F(q)|² · P · Ω with the solid angle Ω = p² cos α / R³ (α = 0 for
    a panel that faces the sample gives p² D / R³) and P = 1 - f (x/R)² - (1 - f) (y/R)² for a
    fraction f polarised along x. Absorption and Compton scattering are left out.

    Parameters
    ----------
    geometry, flux_photons, thickness_m, temperature_c
        See `water_profile`; the geometry's polarisation applies.
    out : ndarray of float32, shape of a frame, optional
        Buffer to fill and return.

    Returns
    -------
    ndarray of float32, shape of a frame
        In photons; zero on no panel.
    """
    profile = water_profile(geometry, flux_photons, thickness_m, temperature_c)
    return expected_image(geometry, profile, geometry.polarisation, out=out)

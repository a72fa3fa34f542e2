"""Spectra of a pulse: the share of photons per wavenumber, on a uniform grid."""

from __future__ import annotations

import dataclasses
import functools
import math
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from hitfinder.errors import ConfigError
from hitfinder.units import HC_EV_ANGSTROM, wavelength_from_energy

NODES = 1025
_FWHM = 2 * math.sqrt(2 * math.log(2))
# A line this narrow is monochromatic beside the width of any reflection, and keeps the sums over
# wavenumber regular.
_NARROWEST = 1e-7


@dataclasses.dataclass(frozen=True, eq=False)
class Spectrum:
    """Distribution of photons over the wavenumber k = 1/λ.

    Parameters
    ----------
    k_low, k_high : float
        Ends of the spectrum, in Å⁻¹.
    density : ndarray, shape (n,), n >= 2
        Photons per wavenumber on a uniform grid from `k_low` to `k_high`, linear in between, in
        any unit; scaled to an integral of 1.

    Raises
    ------
    ValueError
        If the ends are not positive and rising, or the density is negative or zero everywhere.
    """

    k_low: float
    k_high: float
    density: NDArray[np.float64]

    def __post_init__(self) -> None:
        if not 0 < self.k_low < self.k_high < math.inf:
            raise ValueError(f"a spectrum from {self.k_low} to {self.k_high} Å⁻¹ is impossible")
        values = np.asarray(self.density, float)
        if not (np.isfinite(values).all() and (values >= 0).all() and values.max() > 0):
            raise ValueError("spectral density must be finite, not negative, and not all zero")
        object.__setattr__(self, "density", values / _trapezoid(values, self.step(values)))

    def step(self, values: NDArray[np.float64] | None = None) -> float:
        """Distance of two nodes, in Å⁻¹."""
        count = len(self.density if values is None else values)
        return (self.k_high - self.k_low) / (count - 1)

    @functools.cached_property
    def cumulative(self) -> NDArray[np.float64]:
        """Share of photons below each node, shape (n,)."""
        pieces = (self.density[1:] + self.density[:-1]) / 2 * self.step()
        return np.concatenate([[0.0], np.cumsum(pieces)])

    @property
    def k(self) -> NDArray[np.float64]:
        """Wavenumber of each node, in Å⁻¹."""
        return np.linspace(self.k_low, self.k_high, len(self.density))

    @property
    def mean_energy_ev(self) -> float:
        """Mean photon energy, in eV."""
        return _trapezoid(self.density * self.k, self.step()) * HC_EV_ANGSTROM

    def moved_to(self, photon_energy_ev: float) -> Spectrum:
        """Return the spectrum shifted to another mean energy, its width in eV unchanged.

        Raises
        ------
        ValueError
            If part of it would have no energy left.
        """
        shift = (photon_energy_ev - self.mean_energy_ev) / HC_EV_ANGSTROM
        return Spectrum(self.k_low + shift, self.k_high + shift, self.density)


def _trapezoid(values: NDArray[np.float64], step: float) -> float:
    return float((values[1:] + values[:-1]).sum() / 2 * step)


def check_band(photon_energy_ev: float, bandwidth: float) -> None:
    """Refuse energies and relative bandwidths that make no spectrum.

    Raises
    ------
    ValueError
        Naming the value.
    """
    wavelength_from_energy(photon_energy_ev)
    if not 0 <= bandwidth < 2:
        raise ValueError(f"bandwidth must be at least 0 and below 2, got {bandwidth}")


def tophat(photon_energy_ev: float, bandwidth: float) -> Spectrum:
    """Uniform between ``E (1 - bandwidth/2)`` and ``E (1 + bandwidth/2)``; 0 is monochromatic."""
    check_band(photon_energy_ev, bandwidth)
    k, half = photon_energy_ev / HC_EV_ANGSTROM, max(bandwidth, _NARROWEST) / 2
    return Spectrum(k * (1 - half), k * (1 + half), np.ones(2))


def gaussian(photon_energy_ev: float, bandwidth: float) -> Spectrum:
    """Gaussian of full width at half maximum `bandwidth` (relative), cut at 4 sigma."""
    check_band(photon_energy_ev, bandwidth)
    return _sum_of_lines([photon_energy_ev], [1.0], bandwidth)


def two_colour(
    photon_energy_ev: float, bandwidth: float, separation: float = 0.02, ratio: float = 1.0
) -> Spectrum:
    """Two Gaussian lines.

    Parameters
    ----------
    photon_energy_ev : float
        Midway between the lines, in eV.
    bandwidth : float
        Relative full width at half maximum of each.
    separation : float
        Distance of the lines relative to the energy.
    ratio : float
        Photons in the upper line for each one in the lower.
    """
    check_band(photon_energy_ev, bandwidth)
    if not (0 <= separation < 1 and ratio >= 0):
        raise ValueError(
            f"two colours need separation in 0..1, ratio >= 0; got {separation}, {ratio}"
        )
    shift = separation / 2
    lines = [photon_energy_ev * (1 - shift), photon_energy_ev * (1 + shift)]
    return _sum_of_lines(lines, [1.0, ratio], bandwidth)


def _sum_of_lines(energies: list[float], weights: list[float], bandwidth: float) -> Spectrum:
    sigma = max(bandwidth, _NARROWEST) / _FWHM * float(np.mean(energies))
    sigma = max(sigma, 2 * (max(energies) - min(energies)) / NODES)
    low = max(min(energies) - 4 * sigma, min(energies) * 0.01)
    grid = np.linspace(low, max(energies) + 4 * sigma, NODES)
    parts = [
        w * np.exp(-0.5 * ((grid - e) / sigma) ** 2) for e, w in zip(energies, weights, strict=True)
    ]
    return Spectrum(grid[0] / HC_EV_ANGSTROM, grid[-1] / HC_EV_ANGSTROM, np.sum(parts, axis=0))


def sase(
    photon_energy_ev: float, bandwidth: float, rng: np.random.Generator, modes: int = 30
) -> Spectrum:
    """Spiky spectrum of self-amplified spontaneous emission, different for every `rng` draw.

    Chaotic light in a Gaussian envelope: a complex Gaussian random field, correlated over the
    width of a spike (Saldin, Schneidmiller & Yurkov, The Physics of Free Electron Lasers, 2000).

    Parameters
    ----------
    photon_energy_ev : float
        Centre of the envelope, in eV.
    bandwidth : float
        Relative full width at half maximum of the envelope.
    rng : numpy.random.Generator
        Source of randomness.
    modes : int
        Spikes within the envelope.
    """
    envelope = gaussian(photon_energy_ev, bandwidth)
    if modes < 1:
        raise ValueError(f"a SASE pulse has at least one mode, got {modes}")
    nodes_per_spike = NODES * _FWHM / 8 / modes
    reach = np.arange(-int(4 * nodes_per_spike) - 1, int(4 * nodes_per_spike) + 2)
    kernel = np.exp(-0.5 * (reach / (nodes_per_spike / _FWHM)) ** 2)
    noise = rng.standard_normal((2, NODES + len(reach) - 1))
    field = [np.convolve(part, kernel, "valid") for part in noise]
    intensity = field[0] ** 2 + field[1] ** 2
    return Spectrum(envelope.k_low, envelope.k_high, envelope.density * intensity)


def inverse_compton(photon_energy_ev: float, bandwidth: float, tail: float = 0.5) -> Spectrum:
    """Collimated inverse-Compton line: a sharp upper edge and a tail to low energies.

    On axis the energy is highest; the collimator's edge sets the lowest one, with the photon
    number per energy of Thomson scattering, 1 - 2y + 2y², y = E/E_max. Electrons that fly at an
    angle to the axis lower the energy by an exponentially distributed amount (the square of a
    two-dimensional Gaussian angle). After Sun & Wu, Phys. Rev. ST Accel. Beams 14, 044701 (2011).

    Parameters
    ----------
    photon_energy_ev : float
        Mean energy, in eV.
    bandwidth : float
        Relative width accepted by the collimator.
    tail : float
        Mean of the exponential tail, in bandwidths.
    """
    check_band(photon_energy_ev, bandwidth)
    if not tail >= 0:
        raise ValueError(f"the tail must not be negative, got {tail}")
    width = max(bandwidth, _NARROWEST)
    reach = min(width * (1.1 + 8 * tail), 0.95)
    y = np.linspace(1 - reach, 1 + 0.1 * width, NODES)
    step = y[1] - y[0]
    line = np.where((y >= 1 - width) & (y <= 1), 1 - 2 * y + 2 * y * y, 0.0)
    if tail > 0:
        lower = np.exp(-np.arange(NODES) * step / (tail * width))
        # Convolved towards lower energies.
        line = np.convolve(line[::-1], lower)[:NODES][::-1]
    # Energy spread of the electrons rounds the edge.
    sigma = 0.02 * width
    reach_nodes = np.arange(-int(4 * sigma / step) - 1, int(4 * sigma / step) + 2)
    blur = np.exp(-0.5 * (reach_nodes * step / sigma) ** 2)
    density = np.convolve(line, blur / blur.sum(), "same")
    mean = (density * y).sum() / density.sum()
    k = y / mean * photon_energy_ev / HC_EV_ANGSTROM
    return Spectrum(float(k[0]), float(k[-1]), density)


_MOST = 1e100
"""No number of a spectrum is so large, and sums of such numbers are finite."""


def from_file(path: str | Path, photon_energy_ev: float | None = None) -> Spectrum:
    """Read a measured spectrum: two columns, photon energy in eV and photons per eV.

    Parameters
    ----------
    path : path-like
        Text; columns separated by blanks or commas, ``#`` starts a comment.
    photon_energy_ev : float, optional
        Shift the spectrum to this mean energy.

    Raises
    ------
    ConfigError
        If the file cannot be read or holds no spectrum.
    """
    where = str(path)
    try:
        text = Path(path).read_text().replace(",", " ").splitlines()
        rows = [line.split("#")[0].split() for line in text]
        table = np.array([row for row in rows if row], float)
    except (OSError, ValueError) as error:
        raise ConfigError(f"cannot read the spectrum: {error}", where) from error
    if table.ndim != 2 or table.shape[1] != 2 or len(table) < 2:
        raise ConfigError("a spectrum needs two columns and two rows or more", where)
    energy, density = table[np.argsort(table[:, 0])].T
    if not (np.abs(table) < _MOST).all():
        raise ConfigError("energies and photons must be finite", where)
    if energy[0] <= 0 or np.any(np.diff(energy) == 0) or (density < 0).any() or not density.any():
        raise ConfigError("energies must be positive and differ, photons not negative", where)
    grid = np.linspace(energy[0], energy[-1], max(NODES, 2 * len(energy)))
    ends = grid[0] / HC_EV_ANGSTROM, grid[-1] / HC_EV_ANGSTROM
    try:
        spectrum = Spectrum(*ends, np.interp(grid, energy, density))
    except ValueError as error:
        raise ConfigError(str(error), where) from error
    if photon_energy_ev is None:
        return spectrum
    try:
        return spectrum.moved_to(photon_energy_ev)
    except ValueError as error:
        raise ConfigError(f"cannot shift to {photon_energy_ev} eV: {error}", where) from error

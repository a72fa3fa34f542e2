"""Physical constants and conversions (CODATA 2018)."""

import math

HC_EV_ANGSTROM = 12398.419843320026
"""Planck constant times speed of light, in eV Å."""

CLASSICAL_ELECTRON_RADIUS_M = 2.8179403262e-15
"""Thomson scattering length of one electron, in m."""

AVOGADRO_PER_MOL = 6.02214076e23
"""Avogadro constant, in mol⁻¹."""


def wavelength_from_energy(photon_energy_ev: float) -> float:
    """Convert a photon energy in eV to a wavelength in Å.

    Raises
    ------
    ValueError
        If the energy is not positive and finite.
    """
    if not (photon_energy_ev > 0 and math.isfinite(photon_energy_ev)):
        raise ValueError(f"photon energy must be positive and finite, got {photon_energy_ev} eV")
    return HC_EV_ANGSTROM / photon_energy_ev


def energy_from_wavelength(wavelength_a: float) -> float:
    """Convert a wavelength in Å to a photon energy in eV.

    Raises
    ------
    ValueError
        If the wavelength is not positive and finite.
    """
    if not (wavelength_a > 0 and math.isfinite(wavelength_a)):
        raise ValueError(f"wavelength must be positive and finite, got {wavelength_a} Å")
    return HC_EV_ANGSTROM / wavelength_a

"""Physical constants and conversions (CODATA 2018)."""

import math

HC_EV_ANGSTROM = 12398.419843320026
"""Planck constant times speed of light, in eV Å."""

CLASSICAL_ELECTRON_RADIUS_M = 2.8179403262e-15
"""Thomson scattering length of one electron, in m."""

AVOGADRO_PER_MOL = 6.02214076e23
"""Avogadro constant, in mol⁻¹."""


_USUAL = {
    "photon_energy_ev": (100.0, 1e6, "eV", (1e3,)),
    "camera_length_m": (1e-3, 20.0, "m", (1e3,)),
    "pixel_size_um": (1.0, 2000.0, "µm", (1e3,)),
    "pixel_size_m": (1e-6, 2e-3, "m", (1e3, 1e6)),
}
"""What values are taken for: least, most, unit, and by how much other units in use differ."""


def unusual(name: str, value: float) -> str:
    """Ask about a value that is most likely in another unit; empty if it is not.

    Parameters
    ----------
    name : str
        Of the quantity, with its unit: ``photon_energy_ev``, ``camera_length_m``,
        ``pixel_size_um``, ``pixel_size_m``. Nothing is said of others.
    value : float
        In that unit.
    """
    low, high, unit, steps = _USUAL.get(name, (0.0, math.inf, "", ()))
    if low <= value <= high:
        return ""
    tried = (meant for step in steps for meant in (value / step, value * step))
    likely = next((meant for meant in tried if low <= meant <= high), None)
    asked = "" if likely is None else f"; did you mean {likely:g}?"
    return f"{name} {value:g} {unit} is out of the ordinary{asked}"


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

"""Scattering around the crystal besides liquid water: air, dissolved protein, ice."""

from __future__ import annotations

import functools
import math

import gemmi
import numpy as np
from numpy.typing import ArrayLike, NDArray

from hitfinder.geometry.geometry import Geometry
from hitfinder.simulation.radial import RadialProfile, radial_profile
from hitfinder.units import AVOGADRO_PER_MOL, CLASSICAL_ELECTRON_RADIUS_M

AIR_MOLECULES_PER_M3 = 101325.0 / (1.380649e-23 * 293.15)
"""Ideal gas at 20 °C and 1013.25 hPa."""

_AIR = (("N", 0.7808, 1.0977), ("O", 0.2095, 1.2075))
"""Share of molecules and distance of the two atoms in Å (Huber & Herzberg, Constants of Diatomic
Molecules, 1979); argon, 0.93 %, is added as single atoms."""

PROTEIN_A3_PER_DA = 1.212
"""Partial specific volume 0.73 cm³/g."""

PROTEIN_EXCESS_E_A3 = 0.43 - 0.334
"""Electron density of protein above that of water (Svergun, Feigin & Taylor, 1987)."""

_ICE_CELL = (4.497, 4.497, 7.322, 90.0, 90.0, 120.0)
_ICE_SITES = (
    ("O", (1 / 3, 2 / 3, 0.0618), 1.0),
    ("H", (1 / 3, 2 / 3, 0.1987), 0.5),
    ("H", (0.4551, 0.9102, 0.0182), 0.5),
)
"""Hexagonal ice, half hydrogens: Goto, Hondoh & Mae, J. Chem. Phys. 93, 1412 (1990)."""
_ICE_B_A2 = 1.5


def _form_factor(element: str, q_inv_a: NDArray[np.float64]) -> NDArray[np.float64]:
    """Form factor of an atom: International Tables C (1992), table 6.1.1.4."""
    table = gemmi.Element(element).it92
    stol2 = (q_inv_a / (4 * math.pi)) ** 2
    return np.asarray(np.exp(-np.multiply.outer(stol2, table.b)) @ np.array(table.a) + table.c)


def air_cross_section_per_m3(q_inv_a: ArrayLike) -> NDArray[np.float64]:
    """Return dΣ/dΩ of dry air in m²/sr per m³, at q = 4π sin θ / λ in Å⁻¹.

    Independent atoms in diatomic molecules: 2 f² (1 + sin(q r) / (q r)), Debye's formula.
    """
    q = np.asarray(q_inv_a, float)
    mean = 0.0093 * _form_factor("Ar", q) ** 2
    for element, share, distance in _AIR:
        interference = 1 + np.sinc(q * distance / np.pi)
        mean = mean + share * 2 * _form_factor(element, q) ** 2 * interference
    return np.asarray(AIR_MOLECULES_PER_M3 * CLASSICAL_ELECTRON_RADIUS_M**2 * mean)


def air_profile(geometry: Geometry, flux_photons: float, path_m: float) -> RadialProfile:
    """Return the scattering of air along the beam behind the sample, seen from the sample.

    Air at a distance z behind the sample is nearer to the detector: what it sends to a place on a
    flat detector leaves at a larger angle, and that place fills a larger solid angle. The integral
    over z is done for a detector across the beam at the camera length.

    Parameters
    ----------
    geometry : Geometry
        Photon energy, camera length and range of angles.
    flux_photons : float
        Photons in the beam.
    path_m : float
        Length of the path in air, from the sample on, in m; the beam stop or a window ends it.

    Raises
    ------
    ValueError
        If the path is negative or reaches the detector.
    """
    length = geometry.camera_length_m
    if not 0 <= path_m < length:
        raise ValueError(f"path in air must be shorter than the camera length, got {path_m} m")
    zero = radial_profile(geometry, np.zeros_like)
    # Nearer to 90° than this a flat detector has no pixels.
    sine2 = np.sin(np.minimum(2 * np.arcsin(np.minimum(zero.t, 1.0)), math.radians(88))) ** 2
    radius = length * np.sqrt(sine2 / (1 - sine2))
    total, polarised = np.zeros_like(radius), np.zeros_like(radius)
    steps = 16
    for z in (np.arange(steps) + 0.5) / steps * path_m:
        left = length - z
        distance2 = left**2 + radius**2
        solid_angle = left / distance2**1.5 * (length**2 + radius**2) ** 1.5 / length
        sine = np.sqrt(0.5 * radius**2 / (distance2 + left * np.sqrt(distance2)))
        per_m = air_cross_section_per_m3(4 * np.pi * sine / geometry.wavelength_a) * solid_angle
        total += per_m
        # The profile's polarised part is weighted by the direction seen from the sample.
        lateral = (radius**2 / distance2) / np.where(sine2 > 0, sine2, 1.0)
        polarised += per_m * np.where(sine2 > 0, lateral, (length / left) ** 2)
    scale = flux_photons * path_m / steps
    return RadialProfile(zero.t_max, total * scale, polarised * scale)


def protein_cross_section_per_m3(
    q_inv_a: ArrayLike, concentration_mg_ml: float, mass_kda: float
) -> NDArray[np.float64]:
    """Return the excess dΣ/dΩ of dissolved protein over water, in m²/sr per m³.

    Number density times the squared excess electrons of a molecule times the Guinier-Porod form
    factor of a compact particle (B. Hammouda, J. Appl. Cryst. 43, 716 (2010)): exp(-q² Rg² / 3)
    up to q = √6 / Rg, then as q⁻⁴.

    Parameters
    ----------
    q_inv_a : array-like
        4π sin θ / λ, in Å⁻¹.
    concentration_mg_ml, mass_kda : float
        Concentration, and mass of a molecule.

    Raises
    ------
    ValueError
        If the concentration is negative or the mass not positive.
    """
    if not (concentration_mg_ml >= 0 and mass_kda > 0):
        raise ValueError(
            f"impossible protein solution: {concentration_mg_ml} mg/ml of {mass_kda} kDa"
        )
    volume_a3 = PROTEIN_A3_PER_DA * mass_kda * 1e3
    excess = PROTEIN_EXCESS_E_A3 * volume_a3
    radius_of_gyration = math.sqrt(3 / 5) * (3 * volume_a3 / (4 * math.pi)) ** (1 / 3)
    # mg/ml is kg/m³ and kDa is kg/mol.
    molecules_per_m3 = concentration_mg_ml / mass_kda * AVOGADRO_PER_MOL
    x2 = (np.asarray(q_inv_a, float) * radius_of_gyration) ** 2
    form = np.where(x2 <= 6, np.exp(-x2 / 3), 36 * math.exp(-2) / np.maximum(x2, 6) ** 2)
    return np.asarray(molecules_per_m3 * CLASSICAL_ELECTRON_RADIUS_M**2 * excess**2 * form)


@functools.cache
def ice_rings() -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return q in Å⁻¹ and strength of the powder rings of hexagonal ice, to 1.2 Å.

    The strength is the sum over a ring's reflections of |F|² 2π² / (V² q²), in e² Å⁻⁴: dΣ/dΩ per
    volume, in units of r_e², integrated over q (after Warren, X-ray Diffraction, 1969, chapter 4).
    """
    cell, group = gemmi.UnitCell(*_ICE_CELL), gemmi.SpaceGroup("P 63/m m c")
    hkl = np.array(gemmi.make_miller_array(cell, group, 1.2, unique=False), float)
    hkl = hkl[np.any(hkl != 0, axis=1)]
    q = 2 * math.pi * np.sqrt([cell.calculate_1_d2([int(i) for i in h]) for h in hkl])
    factors = np.zeros(len(hkl), complex)
    for element, position, occupancy in _ICE_SITES:
        images = [op.apply_to_xyz(list(position)) for op in group.operations()]
        places = np.unique(np.round(np.mod(images, 1.0), 6) % 1.0, axis=0)
        atom = _form_factor(element, q) * np.exp(-_ICE_B_A2 * (q / (4 * math.pi)) ** 2)
        factors += occupancy * atom * np.exp(2j * math.pi * hkl @ places.T).sum(1)
    strength = np.abs(factors) ** 2 * 2 * math.pi**2 / (cell.volume * q) ** 2
    rings, ring_of = np.unique(np.round(q, 6), return_inverse=True)
    strengths = np.bincount(ring_of, strength).astype(np.float64)
    allowed = strengths > 1e-9
    return rings[allowed], strengths[allowed]


def ice_cross_section_per_m3(
    q_inv_a: ArrayLike, width_inv_a: float = 0.01, bandwidth: float = 0.0
) -> NDArray[np.float64]:
    """Return dΣ/dΩ of ice powder (Bragg rings only), in m²/sr per m³.

    Parameters
    ----------
    q_inv_a : array-like
        4π sin θ / λ, in Å⁻¹.
    width_inv_a : float
        Standard deviation of a ring from the size of the ice grains, in Å⁻¹.
    bandwidth : float
        Relative standard deviation of the photon energy; widens a ring in proportion to its q.

    Raises
    ------
    ValueError
        If the width is not positive or the bandwidth is negative.
    """
    if not (width_inv_a > 0 and bandwidth >= 0):
        raise ValueError(f"impossible ice rings: width {width_inv_a} Å⁻¹, bandwidth {bandwidth}")
    q = np.asarray(q_inv_a, float)
    total = np.zeros_like(q)
    for centre, strength in zip(*ice_rings(), strict=True):
        sigma = math.hypot(width_inv_a, centre * bandwidth)
        near = np.abs(q - centre) < 6 * sigma
        shape = np.exp(-0.5 * ((q[near] - centre) / sigma) ** 2)
        total[near] += strength / (sigma * math.sqrt(2 * math.pi)) * shape
    # The strength spread over q is in Å⁻³.
    return np.asarray(CLASSICAL_ELECTRON_RADIUS_M**2 * total * 1e30)

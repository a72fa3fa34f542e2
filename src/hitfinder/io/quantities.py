"""Lengths and energies as files state them: the spellings of units, and numbers without any."""

from __future__ import annotations

import dataclasses
import unicodedata
from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from hitfinder.io.numbers import middle
from hitfinder.units import HC_EV_ANGSTROM


def normal(unit: str) -> str:
    """Return a unit in lower case, without blanks and different codes for one sign (µ, Å)."""
    return unicodedata.normalize("NFKC", unit).strip().lower()


def _spelled(worth: Mapping[str, float]) -> dict[str, float]:
    """Write out units, of which several spellings may be given, separated by blanks."""
    return {normal(name): value for names, value in worth.items() for name in names.split() if name}


LENGTHS_M = _spelled(
    {
        "m metre meter metres meters": 1.0,
        "cm centimetre centimeter centimetres centimeters": 1e-2,
        "mm millimetre millimeter millimetres millimeters": 1e-3,
        "um µm micron microns micrometre micrometer micrometres micrometers": 1e-6,
        "nm nanometre nanometer nanometres nanometers": 1e-9,
    }
)
ENERGIES_EV = _spelled(
    {
        "eV electronvolt electronvolts electron-volt": 1.0,
        "keV kiloelectronvolt kiloelectronvolts": 1e3,
        "MeV": 1e6,
        "J joule joules": 1 / 1.602176634e-19,
    }
)
WAVELENGTHS_A = _spelled(
    {
        "A Å angstrom angstroms angström ångström": 1.0,
        "nm nanometre nanometer nanometres nanometers": 10.0,
        "pm picometre picometer picometres picometers": 1e-2,
        "m metre meter metres meters": 1e10,
    }
)
_LEAST_SWING_DEG = 0.02

PIXELS = _spelled({"pixel pixels px pix": 1.0})
"""Spellings of a pixel, where that is a unit of length."""


@dataclasses.dataclass(frozen=True)
class Kind:
    """A kind of quantity.

    Parameters
    ----------
    name : str
        What it is called.
    worth : mapping of str to float
        Units, in lower case, and their worth in the base unit.
    by_size : tuple of (float, float, str)
        The unit that a number without one is in, by its size: least, most (not included), unit.
    usual : tuple of float
        Least and most, in the base unit, that is not out of the ordinary.
    base : str
        The base unit.
    """

    name: str
    worth: Mapping[str, float]
    by_size: tuple[tuple[float, float, str], ...]
    usual: tuple[float, float]
    base: str


PIXEL_SIZE = Kind(
    "pixel size",
    LENGTHS_M,
    ((1e-6, 2e-3, "m"), (4e-3, 1.0, "mm"), (1.0, 1e3, "µm")),
    (1e-6, 2e-3),
    "m",
)
CAMERA_LENGTH = Kind(
    "camera length", LENGTHS_M, ((0.0, 20.0, "m"), (20.0, 1e5, "mm")), (2e-3, 100.0), "m"
)
PHOTON_ENERGY = Kind(
    "photon energy",
    ENERGIES_EV,
    # CXI files have J, without saying so.
    ((0.0, 1e-9, "J"), (0.1, 200.0, "keV"), (200.0, 1e7, "eV")),
    (100.0, 1e5),
    "eV",
)
WAVELENGTH = Kind(
    "wavelength",
    WAVELENGTHS_A,
    ((0.0, 1e-7, "m"), (1e-3, 1e3, "Å")),
    (HC_EV_ANGSTROM / 1e5, HC_EV_ANGSTROM / 100.0),
    "Å",
)
_SILENT = {"m", "eV", "J", "Å"}
"""Units in which the formats have numbers that come without one."""


def converted(
    kind: Kind, values: NDArray[np.float64], unit: str, place: str
) -> tuple[NDArray[np.float64] | None, list[str]]:
    """Turn stored numbers to the base unit of their kind.

    Parameters
    ----------
    kind : Kind
        What they are.
    values : ndarray, shape (n,)
        Positive numbers.
    unit : str
        The unit that their file gives; empty if none.
    place : str
        Where they are, for people.

    Returns
    -------
    ndarray or None
        The numbers; None if their unit is not known.
    list of str
        What should be said of them: a unit that is not known or was guessed, an odd size.
    """
    what, typical = f"the {kind.name} at {place}", middle(values)
    notes = []
    if normal(unit):
        worth = kind.worth.get(normal(unit))
        if worth is None:
            return None, [f"{what} is in {unit!r}, which is not known: it is not used"]
    else:
        fitting = (name for low, high, name in kind.by_size if low <= typical < high)
        name = next(fitting, None)
        if name is None:
            return None, [f"{what} has no unit, and {typical:g} tells none: it is not used"]
        if name not in _SILENT:
            notes.append(f"{what} has no unit: {typical:g} is taken as {name}")
        worth = kind.worth[normal(name)]
    found, typical = values * worth, typical * worth
    if not kind.usual[0] <= typical <= kind.usual[1]:
        notes.append(f"{what} is {typical:g} {kind.base}: is its unit right?")
    return found, notes


def swung(two_theta_deg: float | None, place: str) -> list[str]:
    """Say of a detector that stands at an angle which its file does not tell the axis of.

    Parameters
    ----------
    two_theta_deg : float or None
        The angle.
    place : str
        Where it is said, for people.

    Returns
    -------
    list of str
        Nothing for an angle that moves no pixel.
    """
    if two_theta_deg is None or not _LEAST_SWING_DEG < abs(two_theta_deg) < 360:
        return []
    return [
        f"the detector stands at 2θ = {two_theta_deg:.4g} degrees ({place}), but is taken as "
        "across the beam, since the axis is not told: give a geometry file"
    ]

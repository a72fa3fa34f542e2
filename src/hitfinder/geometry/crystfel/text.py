"""The lines and values of a CrystFEL geometry file (crystfel_geometry(5), CrystFEL 0.9 to 0.11)."""

from __future__ import annotations

import dataclasses
import math
import re
from collections.abc import Iterator
from typing import Literal, cast

from hitfinder.errors import GeometryError
from hitfinder.geometry.detector import Vector
from hitfinder.geometry.layout import Dim
from hitfinder.units import energy_from_wavelength

_NUMBER = re.compile(r"([+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?)\s*([A-Za-zÅ]*)")
_TERM = re.compile(r"([+-]?)(\d+\.?\d*(?:[eE][+-]?\d+)?|\.\d+(?:[eE][+-]?\d+)?|)([xyz])")

Kind = Literal["length", "energy", "wavelength"]

MOST_AXES = 16
"""Axes that a dataset may have; CrystFEL's own limit."""

_MOST_DIGITS = 12
"""Digits of a whole number that can stand for a place in a dataset."""

# In m, eV and Å.
_UNITS: dict[Kind, dict[str, float]] = {
    "length": {"m": 1.0, "mm": 1e-3},
    "energy": {"eV": 1.0, "keV": 1e3, "MeV": 1e6},
    "wavelength": {"A": 1.0, "m": 1e10},
}


@dataclasses.dataclass(frozen=True)
class Entry:
    """One assignment of a geometry file.

    Parameters
    ----------
    owner : str
        Panel or bad region the line speaks of; empty for a line that speaks of all.
    key, value : str
        The two sides of the equals sign, without surrounding blanks and comments.
    where : str
        ``file:line``.
    """

    owner: str
    key: str
    value: str
    where: str

    def error(self, wrong: str, hint: str = "") -> GeometryError:
        """Return an error that quotes this line."""
        name = f"{self.owner}/{self.key}" if self.owner else self.key
        return GeometryError(f"'{name} = {self.value}': {wrong}", self.where, hint)


def entries(text: str, file: str) -> Iterator[Entry]:
    """Split a geometry file into its assignments.

    Raises
    ------
    GeometryError
        At a line that is no assignment.
    """
    for number, raw in enumerate(re.split(r"\r\n|\r|\n", text), start=1):
        line = raw.partition(";")[0].strip()
        if not line:
            continue
        key, equals, value = line.partition("=")
        where = f"{file}:{number}"
        if not equals or not key.strip() or "\0" in line:
            hint = "Is it a CrystFEL geometry file?"
            raise GeometryError(f"not 'name = value': {line!r}", where, hint)
        owner, slash, name = (part.strip() for part in key.partition("/"))
        if slash and not (owner and name):
            raise GeometryError(f"no panel or no name before '=': {line!r}", where)
        yield Entry(owner if slash else "", name or owner, value.strip(), where)


def number(entry: Entry) -> float:
    """Value of an entry as a finite number without unit."""
    value = _float(entry)
    if not math.isfinite(value):
        raise entry.error("not a finite number")
    return value


def limit(entry: Entry) -> float:
    """Value of an entry as a number, or infinity where there is no limit."""
    value = _float(entry)
    if math.isnan(value):
        raise entry.error("not a number")
    return value


def _float(entry: Entry) -> float:
    try:
        value = float(entry.value)
    except ValueError:
        raise entry.error("not a number") from None
    if "_" in entry.value:
        # A thousand to Python as 1_000, one to the programs that these files are made for.
        raise entry.error("not a number")
    return value


def whole(entry: Entry) -> int:
    """Value of an entry as a whole number; ``1029.0`` counts as one."""
    value = number(entry)
    if value != int(value):
        raise entry.error("not a whole number")
    return int(value)


def positive(entry: Entry) -> float:
    """Value of an entry as a number above zero."""
    value = number(entry)
    if value <= 0:
        raise entry.error("must be positive")
    return value


def axis(entry: Entry) -> Dim:
    """Value of an entry as what an axis of a dataset stands for."""
    if entry.value.isdecimal() and len(entry.value) <= _MOST_DIGITS:
        return int(entry.value)
    if entry.value not in ("%", "ss", "fs"):
        raise entry.error("not ss, fs, % or a number")
    return cast("Dim", entry.value)


def path(entry: Entry) -> str:
    """Value of an entry as an HDF5 path."""
    if not entry.value.startswith("/"):
        raise entry.error("not an HDF5 path", "it must begin with '/'")
    return entry.value


def axis_number(entry: Entry) -> int:
    """Return the number of the axis that an entry ``dim0``, ``dim1`` … speaks of."""
    digits = entry.key.removeprefix("dim")
    if len(digits) > _MOST_DIGITS or int(digits) >= MOST_AXES:
        raise entry.error(f"a dataset has {MOST_AXES} axes at most")
    return int(digits)


def bits(entry: Entry) -> int:
    """Value of an entry as a pattern of 64 bits, decimal or ``0x`` hexadecimal.

    Returns
    -------
    int
        As a signed number.
    """
    try:
        value = int(entry.value, 0)
    except ValueError:
        value = whole(entry)
    if not -(2**63) <= value < 2**64:
        raise entry.error("a mask has 64 bits at most")
    return value - 2**64 if value >= 2**63 else value


def switch(entry: Entry) -> bool:
    """Value of an entry as true or false (``true``, ``false`` or a number)."""
    words = {"true": True, "false": False}
    word = entry.value.lower()
    return words[word] if word in words else whole(entry) != 0


def direction(entry: Entry) -> Vector:
    """Value of an entry as a lab vector, such as ``-0.999x +0.01y - .002 z``."""
    text = re.sub(r"\s+", "", entry.value)
    sums = {"x": 0.0, "y": 0.0, "z": 0.0}
    at = 0
    while at < len(text) or not text:
        term = _TERM.match(text, at)
        if term is None or (at > 0 and not term[1]):
            raise entry.error("not a direction", "write it as -0.999x +0.01y -0.002z")
        sums[term[3]] += float((term[1] or "+") + (term[2] or "1"))
        at = term.end()
    if not all(map(math.isfinite, sums.values())):
        raise entry.error("not a finite direction")
    return sums["x"], sums["y"], sums["z"]


def are_parallel(one: Vector, two: Vector) -> bool:
    """Whether two directions span no plane, to a part in a million."""
    cross = (
        one[1] * two[2] - one[2] * two[1],
        one[2] * two[0] - one[0] * two[2],
        one[0] * two[1] - one[1] * two[0],
    )
    return math.hypot(*cross) <= 1e-6 * math.hypot(*one) * math.hypot(*two)


@dataclasses.dataclass(frozen=True)
class Quantity:
    """A number of the beam or the set-up, or where in the data file it is kept.

    Parameters
    ----------
    value : float, optional
        The number: in m for a length, in eV for a photon energy.
    location : str, optional
        Where to find it: an HDF5 path, or a header item of another format.
    unit : str
        Unit of the number at `location`.
    kind : str
        ``"length"``, ``"energy"`` or ``"wavelength"`` (turned into a photon energy).
    """

    value: float | None = None
    location: str | None = None
    unit: str = ""
    kind: Kind = "length"

    def convert(self, stored: float) -> float:
        """Turn a number in `unit` into m or eV.

        Raises
        ------
        ValueError
            If a wavelength or photon energy is not positive.
        """
        if self.kind != "length" and not (stored > 0 and math.isfinite(stored)):
            raise ValueError(f"{self.kind} must be positive, got {stored} {self.unit}")
        scaled = stored * _UNITS[self.kind][self.unit]
        return energy_from_wavelength(scaled) if self.kind == "wavelength" else scaled


def quantity(entry: Entry, kind: Kind) -> Quantity:
    """Value of an entry as a number with unit, or the place of one.

    Without a unit, an energy is in eV; a length is in m, except that a place named by ``clen``
    holds mm; a wavelength must have one.
    """
    literal = _NUMBER.fullmatch(entry.value)
    if literal:
        place, unit = None, literal[2]
    else:
        place, _, unit = entry.value.partition(" ")
        if not place or re.match(r"[+\-.\d]", place):
            raise entry.error("neither a number nor an HDF5 path")
    unspoken = {"energy": "eV", "length": "mm" if place and entry.key == "clen" else "m"}
    unit = unit.strip() or unspoken.get(kind, "")
    if unit not in _UNITS[kind]:
        what = f"unit {unit!r} is unknown" if unit else "has no unit"
        raise entry.error(what, f"give one of {', '.join(_UNITS[kind])}")
    result = Quantity(None, place, unit, kind)
    if literal is None:
        return result
    try:
        value = result.convert(float(literal[1]))
    except ValueError as error:
        raise entry.error(str(error)) from None
    if not math.isfinite(value):
        raise entry.error("not a finite number")
    return dataclasses.replace(result, value=value)


def length_m(entry: Entry) -> float:
    """Value of an entry as a length with or without unit, in m."""
    found = quantity(entry, "length")
    if found.value is None:
        raise entry.error("not a number")
    return found.value

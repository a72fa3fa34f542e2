"""A crystal's lattice: cell, centring and lattice system, and the files that tell them."""

from __future__ import annotations

import dataclasses
import functools
import os
from collections.abc import Sequence
from pathlib import Path

import gemmi
import numpy as np
from numpy.typing import NDArray

from hitfinder.crystal.cell import Cell
from hitfinder.crystal.reflections import CELL_TOLERANCE, space_group
from hitfinder.errors import ConfigError

_SYSTEMS = {
    "triclinic": "a",
    "monoclinic": "m",
    "orthorhombic": "o",
    "tetragonal": "t",
    "rhombohedral": "r",
    "hexagonal": "h",
    "cubic": "c",
}
"""Lattice systems as CrystFEL names them, and their letters in its lattice codes."""

_WITH_AXIS = ("monoclinic", "tetragonal", "hexagonal")
_BY_ROTATIONS = {
    1: "triclinic",
    2: "monoclinic",
    4: "orthorhombic",
    6: "rhombohedral",
    8: "tetragonal",
    12: "hexagonal",
    24: "cubic",
}
_STRUCTURES = (".pdb", ".ent", ".cif", ".mmcif", ".mtz")
_HINT = "Give a PDB, mmCIF, MTZ or CrystFEL .cell file, or a,b,c,alpha,beta,gamma."
_SKEWED_DEG = 0.5
"""How far from a symmetric lattice a cell may be that is taken as one."""


@dataclasses.dataclass(frozen=True)
class Lattice:
    """A lattice.

    Parameters
    ----------
    cell : Cell
        Conventional unit cell.
    centring : str
        One of P, A, B, C, I, F, R (rhombohedral axes), H (rhombohedral, hexagonal axes).
    system : str
        Lattice system, as CrystFEL names it.
    unique_axis : str
        a, b or c in monoclinic, tetragonal and hexagonal lattices; else empty.

    Raises
    ------
    ValueError
        If centring, system or axis are none of these.
    """

    cell: Cell
    centring: str = "P"
    system: str = "triclinic"
    unique_axis: str = ""

    def __post_init__(self) -> None:
        if self.centring not in "PABCIFRH" or len(self.centring) != 1:
            raise ValueError(f"unknown centring {self.centring!r}")
        if self.system not in _SYSTEMS:
            raise ValueError(f"unknown lattice type {self.system!r}")
        if (self.unique_axis in ("a", "b", "c")) != (self.system in _WITH_AXIS):
            raise ValueError(f"a {self.system} lattice with unique axis {self.unique_axis!r}")

    def __str__(self) -> str:
        return f"{self.system} {self.centring}, {self.cell}"

    @property
    def code(self) -> str:
        """CrystFEL's code, such as ``tPc``: system, centring and unique axis."""
        return _SYSTEMS[self.system] + self.centring + self.unique_axis

    @property
    def _gemmi_centring(self) -> str:
        """Gemmi has R for what CrystFEL calls H; rhombohedral axes are primitive."""
        return {"R": "P", "H": "R"}.get(self.centring, self.centring)

    @functools.cached_property
    def primitive(self) -> NDArray[np.float64]:
        """Reciprocal axes of a primitive cell as columns, in Å⁻¹: whole multiples reflect."""
        direct = np.array(self.cell.as_gemmi().primitive_orth_matrix(self._gemmi_centring).tolist())
        return np.asarray(np.linalg.inv(direct).T, np.float64)

    @functools.cached_property
    def rotations(self) -> NDArray[np.float64]:
        """Rotations that map the lattice onto itself, shape (n, 3, 3)."""
        cell = self.cell.as_gemmi()
        found = gemmi.find_lattice_symmetry(cell, self._gemmi_centring, _SKEWED_DEG)
        direct = self.cell.direct
        turns = [np.array(op.rot, float) / op.DEN for op in found.sym_ops]
        return np.array([direct @ turn @ np.linalg.inv(direct) for turn in turns])

    def angle_deg(self, axes: NDArray[np.floating], others: NDArray[np.floating]) -> float:
        """Angle by which two orientations differ, up to the lattice's rotations, in degrees.

        Parameters
        ----------
        axes, others : ndarray, shape (3, 3)
            Reciprocal axes of the conventional cell as columns.
        """
        back = np.linalg.inv(self.cell.reciprocal)
        turn = (np.asarray(others) @ back).T @ np.asarray(axes) @ back
        best = np.trace(turn @ self.rotations, axis1=1, axis2=2).max()
        return float(np.degrees(np.arccos(np.clip((best - 1) / 2, -1, 1))))


def read_lattice(
    given: str | os.PathLike[str] | Sequence[float] | Lattice, space_group_name: str | None = None
) -> Lattice:
    """Take a lattice from a file, or from numbers.

    Parameters
    ----------
    given : path-like, str or sequence of float
        A PDB, mmCIF or MTZ file, a CrystFEL ``.cell`` file, or the cell in Å and degrees, as
        ``"a,b,c[,alpha,beta,gamma]"`` or as numbers. A lattice stays what it is.
    space_group_name : str, optional
        Space group, before what the file says. Without any, the lattice is the most symmetric
        one that the cell allows, primitive.

    Raises
    ------
    ConfigError
        If the file cannot be read, tells no cell, or cell and space group do not fit.
    """
    if isinstance(given, Lattice):
        return given if space_group_name is None else lattice_of(given.cell, space_group_name)
    if isinstance(given, (str, os.PathLike)):
        return _read(os.fspath(given), space_group_name)
    try:
        text = ",".join(f"{float(number):.10g}" for number in given)
    except (TypeError, ValueError) as error:
        raise ConfigError(f"{given!r} is no unit cell", hint=_HINT) from error
    return _read(text, space_group_name)


def _read(given: str, space_group_name: str | None) -> Lattice:
    path = Path(given)
    kind = path.suffix.lower()
    try:
        if kind == ".cell":
            lattice = _from_cell_file(path)
            return (
                lattice if space_group_name is None else lattice_of(lattice.cell, space_group_name)
            )
        if kind not in _STRUCTURES:
            return lattice_of(Cell.parse(given), space_group_name)
        cell, name = _from_structure(path)
        return lattice_of(cell, space_group_name or name)
    except OSError as error:
        raise ConfigError(f"cannot be read: {error.strerror or error}", given) from error
    except (ValueError, RuntimeError) as error:
        raise ConfigError(str(error).splitlines()[0], given, _HINT) from error


def _from_structure(path: Path) -> tuple[Cell, str | None]:
    """Cell and space group of a PDB, mmCIF or MTZ file."""
    with path.open("rb"):
        pass  # gemmi's own message names no reason
    if path.suffix.lower() == ".mtz":
        mtz = gemmi.read_mtz_file(str(path))
        cell, name = mtz.cell, mtz.spacegroup.hm if mtz.spacegroup else None
    else:
        structure = gemmi.read_structure(str(path))
        cell, name = structure.cell, structure.spacegroup_hm or None
    if not cell.is_crystal():
        raise ValueError("tells no unit cell")
    return Cell(*cell.parameters), name


def lattice_of(cell: Cell, space_group_name: str | None = None) -> Lattice:
    """Return the lattice of a cell in a space group; without one, as `read_lattice`.

    Raises
    ------
    ValueError
        If there is no such group, or the cell does not fit it.
    """
    if space_group_name is None:
        system = _BY_ROTATIONS[len(Lattice(cell).rotations)]
        centring = "R" if system == "rhombohedral" else "P"
        return Lattice(cell, centring, system, _axis(cell, system) if system in _WITH_AXIS else "")
    group = space_group(space_group_name)
    if not cell.as_gemmi().is_compatible_with_spacegroup(group, CELL_TOLERANCE):
        raise ValueError(f"cell {cell} does not fit space group {group.xhm()}")
    system, centring = group.crystal_system_str(), group.centring_type()
    if system == "trigonal":
        if group.ext == "R":
            return Lattice(cell, "R", "rhombohedral")
        system, centring = "hexagonal", "H" if centring == "R" else centring
    if system == "monoclinic":
        return Lattice(cell, centring, system, group.monoclinic_unique_axis())
    return Lattice(cell, centring, system, "c" if system in _WITH_AXIS else "")


def _axis(cell: Cell, system: str) -> str:
    """Which axis of a primitive cell is the unique one."""
    angles = np.array([cell.alpha, cell.beta, cell.gamma])
    edges = np.array([cell.a, cell.b, cell.c])
    if system == "tetragonal":
        odd = np.abs(edges - np.median(edges)).argmax()
    else:
        odd = np.abs(angles - 90).argmax()
    return "abc"[int(odd)]


def _from_cell_file(path: Path) -> Lattice:
    """Read a CrystFEL unit cell file: lines of ``name = value [unit]``."""
    said: dict[str, str] = {}
    for line in path.read_text(encoding="utf-8").splitlines():
        name, equals, value = line.partition(";")[0].partition("=")
        if equals:
            said[name.strip()] = value.strip()
    try:
        edges = [_quantity(said[name], {"A": 1.0, "nm": 10.0}) for name in ("a", "b", "c")]
        angles = [_quantity(said[name], {"deg": 1.0}) for name in ("al", "be", "ga")]
        system, axis = said["lattice_type"], said.get("unique_axis", "")
    except KeyError as error:
        raise ValueError(f"no line {error.args[0]!r}") from None
    centring = said.get("centering", "P")
    return Lattice(Cell(*edges, *angles), centring, system, axis if system in _WITH_AXIS else "")


def _quantity(text: str, units: dict[str, float]) -> float:
    number, _, unit = text.partition(" ")
    if unit.strip() not in units:
        raise ValueError(f"{text!r} is no number in {' or '.join(units)}")
    return float(number) * units[unit.strip()]

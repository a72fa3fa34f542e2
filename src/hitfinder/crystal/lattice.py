"""A crystal's lattice: cell, centring and lattice system."""

from __future__ import annotations

import dataclasses
import functools

import gemmi
import numpy as np
from numpy.typing import NDArray

from hitfinder.crystal.cell import Cell
from hitfinder.crystal.reflections import CELL_TOLERANCE, space_group

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

WITH_AXIS = ("monoclinic", "tetragonal", "hexagonal")
_BY_ROTATIONS = {
    1: "triclinic",
    2: "monoclinic",
    4: "orthorhombic",
    6: "rhombohedral",
    8: "tetragonal",
    12: "hexagonal",
    24: "cubic",
}
_HEXAGONAL_DEG = 119.0
"""Angle below which the axes of a rhombohedral lattice are not the hexagonal ones."""

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
        if (self.unique_axis in ("a", "b", "c")) != (self.system in WITH_AXIS):
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


def lattice_of(cell: Cell, space_group_name: str | None = None) -> Lattice:
    """Return the lattice of a cell in a space group.

    Without a group, it is the most symmetric one that the cell allows, primitive.

    Raises
    ------
    ValueError
        If there is no such group, or the cell does not fit it.
    """
    if space_group_name is None:
        system = _BY_ROTATIONS[len(Lattice(cell).rotations)]
        centring = "R" if system == "rhombohedral" else "P"
        return Lattice(cell, centring, system, axis_of(cell, system) if system in WITH_AXIS else "")
    group = space_group(space_group_name)
    if group.ext == "H" and cell.gamma < _HEXAGONAL_DEG:
        # PDB files have rhombohedral axes as R 3, hexagonal ones as H 3.
        group = space_group(f"{group.hm}:R")
    if not cell.as_gemmi().is_compatible_with_spacegroup(group, CELL_TOLERANCE):
        raise ValueError(f"cell {cell} does not fit space group {group.xhm()}")
    system, centring = group.crystal_system_str(), group.centring_type()
    if system == "trigonal":
        if group.ext == "R":
            return Lattice(cell, "R", "rhombohedral")
        system, centring = "hexagonal", "H" if centring == "R" else centring
    if system == "monoclinic":
        return Lattice(cell, centring, system, group.monoclinic_unique_axis())
    return Lattice(cell, centring, system, "c" if system in WITH_AXIS else "")


def axis_of(cell: Cell, system: str) -> str:
    """Which axis of a primitive cell is the unique one."""
    angles = np.array([cell.alpha, cell.beta, cell.gamma])
    edges = np.array([cell.a, cell.b, cell.c])
    if system == "tetragonal":
        odd = np.abs(edges - np.median(edges)).argmax()
    else:
        odd = np.abs(angles - 90).argmax()
    return "abc"[int(odd)]

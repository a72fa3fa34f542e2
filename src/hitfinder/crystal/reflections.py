"""Structure factors of a crystal, and their expansion to all of reciprocal space."""

from __future__ import annotations

import dataclasses
import functools
import logging

import gemmi
import numpy as np
from numpy.typing import NDArray

from hitfinder.crystal.cell import Cell

LOGGER = logging.getLogger("hitfinder.crystal")
CELL_TOLERANCE = 0.01
_NUMBERS = frozenset(map(str, range(1, 231)))


def space_group(name: str) -> gemmi.SpaceGroup:
    """Return the space group of a Hermann-Mauguin symbol or number.

    Raises
    ------
    ValueError
        If there is none of that name.
    """
    text = str(name).strip()
    found = gemmi.find_spacegroup_by_name(text) if text else None
    if found is None and text in _NUMBERS:
        found = gemmi.find_spacegroup_by_number(int(text))
    if found is None:
        raise ValueError(f"unknown space group {name!r}")
    return found


@dataclasses.dataclass(frozen=True, eq=False)
class StructureFactors:
    """|F|² of the unique reflections of a crystal.

    Parameters
    ----------
    cell : Cell
        Unit cell.
    space_group_name : str
        Hermann-Mauguin symbol.
    hkl : ndarray of int, shape (n, 3)
        Unique reflections, in any asymmetric unit.
    f_squared : ndarray, shape (n,)
        |F|², in e².
    f_squared_minus : ndarray, shape (n,), optional
        |F|² of the Friedel mates, where they differ.
    source : str
        Where they come from, for the record.
    """

    cell: Cell
    space_group_name: str
    hkl: NDArray[np.int16]
    f_squared: NDArray[np.float64]
    f_squared_minus: NDArray[np.float64] | None = None
    source: str = ""

    def __post_init__(self) -> None:
        group = space_group(self.space_group_name)
        if not self.cell.as_gemmi().is_compatible_with_spacegroup(group, CELL_TOLERANCE):
            raise ValueError(f"cell {self.cell} does not fit space group {group.xhm()}")
        if self.hkl.ndim != 2 or self.hkl.shape[1] != 3 or len(self.hkl) != len(self.f_squared):
            raise ValueError("hkl must be (n, 3) with one |F|² each")
        for values in (self.f_squared, self.f_squared_minus):
            if values is not None and not (np.isfinite(values).all() and (values >= 0).all()):
                raise ValueError("|F|² must be finite and not negative")

    def __len__(self) -> int:
        return len(self.hkl)

    @property
    def d_min_a(self) -> float:
        """Finest resolution of the table, in Å."""
        return float(1 / np.sqrt(self.cell.inv_d_squared(self.hkl).max()))

    def with_cell(self, cell: Cell) -> StructureFactors:
        """Return the same |F|² on another cell, with a warning if it is a different one.

        |F|² belongs to the cell it was computed for: a cell that differs by more than a percent
        is hardly the same crystal.
        """
        if self.cell.disagreement(cell) > CELL_TOLERANCE:
            LOGGER.warning(
                "the given cell (%s) is not the cell of %s (%s): spots will be where the given "
                "cell puts them, with the intensities of the other",
                cell,
                self.source or "the structure factors",
                self.cell,
            )
        return dataclasses.replace(self, cell=cell)

    @functools.cached_property
    def expanded(self) -> Reflections:
        """All reflections of half of reciprocal space, by resolution."""
        return Reflections.of(self)


@dataclasses.dataclass(frozen=True, eq=False)
class Reflections:
    """One of each Friedel pair over half of reciprocal space, coarse resolution first.

    Attributes
    ----------
    hkl : ndarray of int16, shape (n, 3)
        Reflections with l > 0, or l = 0 and k > 0, or l = k = 0 and h > 0.
    f_squared : ndarray of float32, shape (n, 2)
        |F|² of (h, k, l) and of (-h, -k, -l), in e².
    inv_d_squared : ndarray of float64, shape (n,)
        1/d² in Å⁻², rising.
    """

    hkl: NDArray[np.int16]
    f_squared: NDArray[np.float32]
    inv_d_squared: NDArray[np.float64]

    @staticmethod
    def of(table: StructureFactors) -> Reflections:
        """Apply the point group; reflections the space group forbids are dropped."""
        group = space_group(table.space_group_name).operations()
        hkl, values = np.asarray(table.hkl, np.int64), np.asarray(table.f_squared, float)
        if table.f_squared_minus is not None:
            hkl = np.concatenate([hkl, -hkl])
            values = np.concatenate([values, np.asarray(table.f_squared_minus, float)])
        keep = ~group.systematic_absences(hkl.astype(np.int32)) & np.any(hkl != 0, axis=1)
        hkl, values = hkl[keep], values[keep]
        rotations = np.unique([op.rot for op in group.sym_ops], axis=0) // gemmi.Op.DEN
        equivalent = np.concatenate([hkl @ rotation for rotation in rotations])
        values = np.tile(values, len(rotations))
        h, k, el = equivalent.T
        mate = (el < 0) | ((el == 0) & ((k < 0) | ((k == 0) & (h < 0))))
        equivalent[mate] *= -1
        _, first, place = np.unique(_pack(equivalent), return_index=True, return_inverse=True)
        equivalent, pairs = equivalent[first], np.full((len(first), 2), np.nan)
        pairs[place, mate.astype(int)] = values
        # A Friedel mate the table does not list is as strong as the listed one.
        pairs = np.where(np.isnan(pairs), pairs[:, ::-1], pairs)
        inv_d_squared = table.cell.inv_d_squared(equivalent)
        order = np.argsort(inv_d_squared, kind="stable")
        return Reflections(
            equivalent[order].astype(np.int16),
            pairs[order].astype(np.float32),
            inv_d_squared[order],
        )


def unique_reflections(
    table: StructureFactors,
) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """Return the unique reflections of a crystal, Friedel mates taken together.

    Returns
    -------
    inv_d_squared : ndarray, shape (n,)
        1/d² of each, in Å⁻².
    equivalents : ndarray of int, shape (n,)
        Reflections that its symmetry and Friedel's law make of each, itself included.
    """
    all_, operations = table.expanded, space_group(table.space_group_name).operations()
    rotations = np.unique([op.rot for op in operations.sym_ops], axis=0) // gemmi.Op.DEN
    hkl = all_.hkl.astype(np.int64)
    images = (_pack(sign * hkl @ turn) for turn in rotations for sign in (1, -1))
    _, first, counts = np.unique(
        functools.reduce(np.minimum, images), return_index=True, return_counts=True
    )
    # The list holds half of reciprocal space.
    return all_.inv_d_squared[first], 2 * counts


def _pack(hkl: NDArray[np.int64]) -> NDArray[np.int64]:
    """One integer for each hkl."""
    shifted = hkl + (1 << 15)
    return (shifted[:, 0] << 32) | (shifted[:, 1] << 16) | shifted[:, 2]

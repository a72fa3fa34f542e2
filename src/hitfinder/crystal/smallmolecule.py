"""Structure factors of small molecules, from CIF files with fractional coordinates."""

from __future__ import annotations

from pathlib import Path

import gemmi
import numpy as np

from hitfinder.crystal.cell import Cell
from hitfinder.crystal.reflections import StructureFactors
from hitfinder.errors import ConfigError


def read_small_molecule(path: str | Path) -> gemmi.SmallStructure | None:
    """Read the first block of a CIF file that holds fractional coordinates; None if none does.

    Raises
    ------
    ConfigError
        If the file is no CIF, or has coordinates but no unit cell or known space group.
    """
    where = str(path)
    try:
        document = gemmi.cif.read(where)
    except (RuntimeError, ValueError, OSError) as error:
        raise ConfigError(f"cannot read CIF: {error}", where) from error
    block = next((b for b in document if b.find_values("_atom_site_fract_x")), None)
    if block is None:
        return None
    small = gemmi.make_small_structure_from_block(block)
    if not small.cell.is_crystal() or small.cell.volume < 10:
        raise ConfigError("no unit cell", where, "Add the _cell items.")
    if small.spacegroup is None:
        raise ConfigError(f"unknown space group {small.spacegroup_hm!r}", where)
    return small


def from_small_molecule(
    small: gemmi.SmallStructure, d_min_a: float, source: str
) -> StructureFactors:
    """Sum |F|² over the atoms of a small structure.

    Parameters
    ----------
    small : gemmi.SmallStructure
        Atoms, cell and space group.
    d_min_a : float
        Finest resolution, in Å.
    source : str
        Where it comes from, for the record.
    """
    small.change_occupancies_to_crystallographic()
    group = small.spacegroup
    hkl = np.array(gemmi.make_miller_array(small.cell, group, d_min_a), np.int32).reshape(-1, 3)
    calculator = gemmi.StructureFactorCalculatorX(small.cell)
    amplitudes = [
        abs(calculator.calculate_sf_from_small_structure(small, index)) for index in hkl.tolist()
    ]
    return StructureFactors(
        Cell(*small.cell.parameters),
        group.xhm(),
        hkl.astype(np.int16),
        np.array(amplitudes, float) ** 2,
        source=f"{source} to {d_min_a:g} Å",
    )

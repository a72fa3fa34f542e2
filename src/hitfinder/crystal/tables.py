"""Structure-factor tables: MTZ, CrystFEL reflection lists, and the packaged one."""

from __future__ import annotations

import functools
import importlib.resources
import math
import os
import re
from pathlib import Path

import gemmi
import numpy as np

from hitfinder.crystal.cell import Cell
from hitfinder.crystal.compute import from_coordinates
from hitfinder.crystal.reflections import StructureFactors, space_group
from hitfinder.crystal.scale import on_absolute_scale
from hitfinder.errors import ConfigError

PACKAGED = "1ic6"
_COORDINATES = (".pdb", ".ent", ".cif", ".mmcif", ".pdb.gz", ".ent.gz", ".cif.gz")
_POINT_GROUPS = {
    # CrystFEL's names where they are not the Hermann-Mauguin symbol after "P " with blanks.
    "321_H": "P 3 2 1", "312_H": "P 3 1 2", "3m1_H": "P 3 m 1", "31m_H": "P 3 1 m",
    "-3m1_H": "P -3 m 1", "-31m_H": "P -3 1 m", "3_H": "P 3", "-3_H": "P -3",
    "3_R": "R 3:R", "-3_R": "R -3:R", "32_R": "R 3 2:R", "3m_R": "R 3 m:R", "-3m_R": "R -3 m:R",
    "2/m": "P 1 1 2/m", "2": "P 1 1 2", "m": "P 1 1 m",
    "2/m_uab": "P 1 2/m 1", "2_uab": "P 1 2 1", "m_uab": "P 1 m 1", "2/m_uac": "P 1 1 2/m",
    "4/mmm": "P 4/m m m", "422": "P 4 2 2", "4mm": "P 4 m m", "-42m": "P -4 2 m",
    "-4m2": "P -4 m 2", "mmm": "P m m m", "222": "P 2 2 2", "mm2": "P m m 2",
    "6/mmm": "P 6/m m m", "622": "P 6 2 2", "6mm": "P 6 m m", "-6m2": "P -6 m 2",
    "-62m": "P -6 2 m", "23": "P 2 3", "m-3": "P m -3", "432": "P 4 3 2", "-43m": "P -4 3 m",
    "m-3m": "P m -3 m",
}  # fmt: skip


def load_structure_factors(
    source: str | Path,
    *,
    d_min_a: float = 1.5,
    column: str | None = None,
    cell: Cell | None = None,
    space_group_name: str | None = None,
) -> StructureFactors:
    """Read or compute structure factors, by the kind of file.

    Parameters
    ----------
    source : path-like
        ``1ic6`` for the packaged table, or a file: PDB or mmCIF coordinates, ``.mtz``, or a
        CrystFEL ``.hkl`` list.
    d_min_a : float
        Finest resolution to compute from coordinates, in Å.
    column : str, optional
        Column of the MTZ; the first amplitude or intensity otherwise.
    cell : Cell, optional
        Replaces the file's cell, with a warning if it is a different one; a ``.hkl`` list needs it.
    space_group_name : str, optional
        Space group of a ``.hkl`` list; its point group otherwise.

    Raises
    ------
    ConfigError
        If the file is missing, not understood, or lacks what is needed.
    """
    try:
        return _loaded(source, d_min_a, column, cell, space_group_name)
    except (ValueError, RuntimeError, IndexError) as error:
        # What a file says of cell, group or atoms can be impossible in many ways: gemmi's errors.
        raise ConfigError(str(error), str(source)) from error


def _loaded(
    source: str | Path,
    d_min_a: float,
    column: str | None,
    cell: Cell | None,
    space_group_name: str | None,
) -> StructureFactors:
    name = str(source).lower()
    if name == PACKAGED and not Path(source).exists():
        table = packaged_structure_factors()
    elif name.endswith(_COORDINATES):
        table = from_coordinates(source, d_min_a)
    elif name.endswith(".mtz"):
        table = on_absolute_scale(read_mtz(source, column))
    elif name.endswith(".hkl"):
        return on_absolute_scale(read_hkl(source, cell, space_group_name))
    else:
        hint = f"Give .pdb, .cif, .mtz or .hkl, or {PACKAGED!r} for the packaged table."
        raise ConfigError("not a known kind of structure-factor file", str(source), hint)
    return table if cell is None else table.with_cell(cell)


@functools.cache
def packaged_structure_factors() -> StructureFactors:
    """Return the packaged table: proteinase K, PDB entry 1IC6, to 1.5 Å.

    The command that makes it is recorded in its history:
    ``python -m hitfinder.crystal 1ic6.pdb 1ic6.mtz --d-min 1.5``.
    """
    resource = importlib.resources.files("hitfinder.crystal") / "data" / f"{PACKAGED}.mtz"
    with importlib.resources.as_file(resource) as path:
        return read_mtz(path)


def read_mtz(path: str | Path, column: str | None = None) -> StructureFactors:
    """Read |F|² from an MTZ file.

    Parameters
    ----------
    path : path-like
        The file.
    column : str, optional
        Label of an amplitude (F, G) or intensity (J, K) column; the first such column otherwise.
        If it is ``F(+)``-like and its mate is there, both of a Friedel pair are read.

    Raises
    ------
    ConfigError
        If the file cannot be read, lacks the column, or has no space group.
    """
    where = str(path)
    try:
        if not Path(path).is_file():
            raise ConfigError("no such file", where)
        mtz = gemmi.read_mtz_file(where)
    except (RuntimeError, ValueError, OSError) as error:
        raise ConfigError(f"cannot read MTZ: {error}", where) from error
    usable = [c for c in mtz.columns if c.type in "FGJK"]
    found = next((c for c in usable if column in (None, c.label)), None)
    if found is None:
        labels = ", ".join(c.label for c in usable) or "none"
        what = f"no column {column!r}" if column else "no amplitude or intensity column"
        raise ConfigError(what, where, f"Amplitude and intensity columns: {labels}.")
    if mtz.spacegroup is None:
        raise ConfigError(f"unknown space group {mtz.spacegroup_name!r}", where)
    power = 2 if found.type in "FG" else 1
    mate = next((c for c in usable if c.label == found.label.replace("(+)", "(-)")), found)
    plus, minus = np.array(found.array, float), np.array(mate.array, float)
    known = np.isfinite(plus) | np.isfinite(minus)
    plus, minus = np.where(np.isnan(plus), minus, plus), np.where(np.isnan(minus), plus, minus)
    plus, minus = (np.maximum(v[known], 0.0) ** power for v in (plus, minus))
    return StructureFactors(
        Cell(*mtz.get_cell().parameters),
        mtz.spacegroup.xhm(),
        np.array(mtz.make_miller_array(), np.int16)[known],
        plus,
        None if mate is found else minus,
        source=Path(path).name,
    )


def write_mtz(path: str | Path, table: StructureFactors, history: tuple[str, ...] = ()) -> None:
    """Write amplitudes as an MTZ file with the columns H K L F.

    Parameters
    ----------
    path : path-like
        File to write; replaced if it is there.
    table : StructureFactors
        Friedel mates that differ are averaged.
    history : tuple of str
        Lines for the file's history, at most 80 characters each.
    """
    f_squared = table.f_squared
    if table.f_squared_minus is not None:
        f_squared = (f_squared + table.f_squared_minus) / 2
    mtz = gemmi.Mtz(with_base=True)
    mtz.title = table.source[:70]
    mtz.spacegroup = space_group(table.space_group_name)
    mtz.set_cell_for_all(table.cell.as_gemmi())
    mtz.add_dataset("computed")
    mtz.add_column("F", "F")
    mtz.set_data(np.column_stack([table.hkl, np.sqrt(f_squared)]).astype(np.float32))
    mtz.history = list(history)
    partial = Path(path).with_name(f".{Path(path).name}.partial")
    mtz.write_to_file(str(partial))
    os.replace(partial, path)


def read_hkl(
    path: str | Path, cell: Cell | None, space_group_name: str | None = None
) -> StructureFactors:
    """Read a CrystFEL reflection list: h, k, l and the intensity |F|².

    Parameters
    ----------
    path : path-like
        Text file, ``CrystFEL reflection list version 2.0``.
    cell : Cell
        The list holds none.
    space_group_name : str, optional
        Instead of the point group of the list's ``Symmetry`` line.

    Raises
    ------
    ConfigError
        If the file cannot be read or is cut short, or cell or symmetry are missing.
    """
    where = str(path)
    if cell is None:
        raise ConfigError("a .hkl list holds no unit cell", where, "Give the cell.")
    try:
        lines = Path(path).read_text().splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"cannot read the list: {error}", where) from error
    symmetry = next((line.split(":", 1)[1] for line in lines if line.startswith("Symmetry:")), "")
    rows: list[tuple[float, ...]] = []
    is_head = True
    for number, line in enumerate(lines, 1):
        parts = line.split()
        if line.startswith("End of reflections"):
            break
        row = _reflection(parts)
        if row is not None:
            rows.append(row)
        elif not is_head and parts:
            raise ConfigError(f"bad reflection {line[:80]!r}", f"{where}, line {number}")
        is_head = is_head and row is None and parts[:3] != ["h", "k", "l"]
    else:
        if rows:
            what = f"is cut short: it ends in line {len(lines)}, without 'End of reflections'"
            raise ConfigError(what, where, "Copy the list again, or add that line if it is whole.")
    if not rows:
        raise ConfigError("no reflections", where)
    name = space_group_name or _POINT_GROUPS.get(symmetry.strip(), f"P {symmetry.strip()}")
    try:
        group = space_group(name)
    except ValueError as error:
        hint = "Give the space group."
        raise ConfigError(f"unknown symmetry {symmetry.strip()!r}", where, hint) from error
    table = np.array(rows)
    hkl, intensity = table[:, :3].astype(np.int16), np.maximum(table[:, 3], 0.0)
    return StructureFactors(cell, group.xhm(), hkl, intensity, source=Path(path).name)


def _reflection(parts: list[str]) -> tuple[float, ...] | None:
    """Return the indices and the intensity of a line of a list; None if it has none."""
    if len(parts) < 4 or not all(re.fullmatch(r"[-+]?\d{1,4}", part) for part in parts[:3]):
        return None
    try:
        intensity = float(parts[3])
    except ValueError:
        return None
    return (*map(int, parts[:3]), intensity) if math.isfinite(intensity) else None

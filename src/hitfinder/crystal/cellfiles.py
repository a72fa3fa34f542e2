"""Lattices as they are given: as numbers, or in files of structures, reflections or CrystFEL."""

from __future__ import annotations

import math
import os
from collections.abc import Iterator, Sequence
from pathlib import Path

import gemmi

from hitfinder.atomic import replacing
from hitfinder.crystal.cell import Cell
from hitfinder.crystal.lattice import WITH_AXIS, Lattice, axis_of, lattice_of
from hitfinder.errors import ConfigError

CELL_FILE = ".cell"
_CIF = (".cif", ".mmcif")
_PDB = (".pdb", ".ent")
_MTZ = (".mtz",)
SUFFIXES = tuple(suffix + packed for suffix in (*_PDB, *_CIF, *_MTZ) for packed in ("", ".gz"))
"""How the names of files end that tell a cell and mostly a space group, in capitals or not."""

_HINT = "Give a PDB, mmCIF, CIF, MTZ or CrystFEL .cell file, or a,b,c,alpha,beta,gamma."

_CELL_TAGS = tuple(
    tuple(
        f"_cell{dot}{name}"
        for name in ("length_a", "length_b", "length_c", "angle_alpha", "angle_beta", "angle_gamma")
    )
    for dot in "._"
)
"""Items of the cell in mmCIF, and in the CIF of small molecules."""

_GROUP_TAGS = (
    "_symmetry.space_group_name_H-M",
    "_space_group.name_H-M_full",
    "_space_group.name_H-M_alt",
    "_space_group_name_H-M_alt",
    "_symmetry_space_group_name_H-M",
    "_space_group.IT_number",
    "_symmetry.Int_Tables_number",
    "_space_group_IT_number",
    "_symmetry_Int_Tables_number",
)
"""Items of the space group, in either."""

_ANGLES = {"a": "al", "b": "be", "c": "ga"}
"""CrystFEL's name of the angle opposite to each edge."""

_EDGES_ALIKE, _DEGREES_ALIKE = 0.01, 1.0
"""Relative difference of edges, and difference of angles, that pass for equal."""


def read_lattice(
    given: str | os.PathLike[str] | Sequence[float] | Lattice, space_group_name: str | None = None
) -> Lattice:
    """Take a lattice from a file, or from numbers.

    Parameters
    ----------
    given : path-like, str or sequence of float
        A PDB, mmCIF, CIF or MTZ file (gzipped or not), a CrystFEL ``.cell`` file, or the cell in
        Å and degrees, as
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
    name = path.name.lower()
    try:
        if name.endswith(CELL_FILE):
            lattice = lattice_of_cell_file(path)
            if space_group_name is None:
                return lattice
            return lattice_of(lattice.cell, space_group_name)
        if not name.endswith(SUFFIXES):
            return lattice_of(Cell.parse(given), space_group_name)
        cell, group = cell_of_structure(path)
        return lattice_of(cell, space_group_name or group)
    except OSError as error:
        raise ConfigError(f"cannot be read: {error.strerror or error}", given) from error
    except (ValueError, RuntimeError) as error:
        what = next(iter(str(error).splitlines()), "cannot be read")
        raise ConfigError(what, given, _HINT) from error


def cell_of_structure(path: Path) -> tuple[Cell, str | None]:
    """Return the cell and the space group, if there is one, of a PDB, CIF or MTZ file.

    Parameters
    ----------
    path : Path
        The file, which may be gzipped.

    Raises
    ------
    OSError
        If it cannot be read.
    ValueError
        If it tells no cell, or several.
    """
    with path.open("rb"):
        pass  # gemmi's own message names no reason
    name = path.name.lower().removesuffix(".gz")
    if name.endswith(_MTZ):
        mtz = gemmi.read_mtz_file(str(path))
        cell, group = mtz.cell, mtz.spacegroup.xhm() if mtz.spacegroup else None
        found = [(cell, group)] if cell.is_crystal() else []
    elif name.endswith(_CIF):
        found = list(_cells_of_cif(path))
    else:
        structure = gemmi.read_structure(str(path), format=gemmi.CoorFormat.Pdb)
        said = structure.cell, structure.spacegroup_hm or None
        found = [said] if structure.cell.is_crystal() else []
    cells = {(cell.parameters, group): None for cell, group in found}
    if not cells:
        raise ValueError("tells no unit cell")
    if len(cells) > 1:
        raise ValueError(f"tells {len(cells)} different unit cells")
    parameters, group = next(iter(cells))
    return Cell(*parameters), group


def _cells_of_cif(path: Path) -> Iterator[tuple[gemmi.UnitCell, str | None]]:
    """Return the cells of the blocks of a CIF file, each with its space group."""
    for block in gemmi.cif.read(str(path)):
        for tags in _CELL_TAGS:
            numbers = [gemmi.cif.as_number(block.find_value(tag) or "?") for tag in tags]
            if all(number > 0 for number in numbers):
                yield gemmi.UnitCell(*numbers), _group_of(block)
                break


def _group_of(block: gemmi.cif.Block) -> str | None:
    for tag in _GROUP_TAGS:
        value = block.find_value(tag)
        if value is not None and not gemmi.cif.is_null(value):
            return gemmi.cif.as_string(value).strip() or None
    return None


def lattice_of_cell_file(path: Path) -> Lattice:
    """Read a CrystFEL unit cell file: lines of ``name = value [unit]``.

    Tetragonal and hexagonal lattices need not tell their unique axis, which the cell shows.

    Raises
    ------
    OSError
        If it cannot be read.
    ValueError
        If something is missing, no number, or contradicts the rest.
    """
    said: dict[str, str] = {}
    for line in path.read_text(encoding="utf-8").splitlines():
        name, equals, value = line.partition(";")[0].partition("=")
        if equals:
            said[name.strip()] = value.strip()
    try:
        edges = [_quantity(said[name], {"A": 1.0, "nm": 10.0}) for name in ("a", "b", "c")]
        angles = [
            _quantity(said[name], {"deg": 1.0, "rad": math.degrees(1)})
            for name in ("al", "be", "ga")
        ]
        system, axis = said["lattice_type"], said.get("unique_axis", "*")
    except KeyError as error:
        raise ValueError(f"no line {error.args[0]!r}") from None
    cell = Cell(*edges, *angles)
    if system not in WITH_AXIS:
        axis = ""
    elif axis in ("*", "?") and system != "monoclinic":
        axis = axis_of(cell, system)
    lattice = Lattice(cell, said.get("centering", "P"), system, axis)
    wrong = contradiction(lattice)
    if wrong:
        raise ValueError(wrong)
    return lattice


def write_cell_file(path: Path, lattice: Lattice) -> None:
    """Write a CrystFEL unit cell file, as `lattice_of_cell_file` reads it.

    Raises
    ------
    OutputError
        If it cannot be written.
    """
    with replacing(path) as part:
        part.write_text(cell_file_text(lattice), encoding="utf-8")


def cell_file_text(lattice: Lattice) -> str:
    """Return what a CrystFEL unit cell file of a lattice holds."""
    cell = lattice.cell
    lines = ["CrystFEL unit cell file version 1.0", "", f"lattice_type = {lattice.system}"]
    lines.append(f"centering = {lattice.centring}")
    if lattice.unique_axis:
        lines.append(f"unique_axis = {lattice.unique_axis}")
    edges = zip(("a", "b", "c"), (cell.a, cell.b, cell.c), strict=True)
    angles = zip(("al", "be", "ga"), (cell.alpha, cell.beta, cell.gamma), strict=True)
    lines += [f"{name} = {edge:.4f} A" for name, edge in edges]
    lines += [f"{name} = {angle:.4f} deg" for name, angle in angles]
    return "\n".join(lines) + "\n"


def _quantity(text: str, units: dict[str, float]) -> float:
    number, _, unit = text.partition(" ")
    if unit.strip() not in units:
        raise ValueError(f"{text!r} is no number in {' or '.join(units)}")
    return float(number) * units[unit.strip()]


def contradiction(lattice: Lattice) -> str:
    """Say in what a cell is not of the lattice system that it is said to be of.

    Returns
    -------
    str
        The contradiction; empty if there is none.
    """
    cell, system, axis = lattice.cell, lattice.system, lattice.unique_axis
    edges = {"a": cell.a, "b": cell.b, "c": cell.c}
    angles = {"a": cell.alpha, "b": cell.beta, "c": cell.gamma}
    around = set("abc") - {axis}
    what = f"a {system} lattice" + (f" with unique axis {axis}" if axis else "")
    if lattice.centring == "H" and system != "hexagonal":
        return f"{what} cannot be centred H"
    must = {"monoclinic": dict.fromkeys(around, 90), "hexagonal": dict.fromkeys(around, 90)}
    must["hexagonal"] = {**must["hexagonal"], axis: 120}
    must |= {name: dict.fromkeys("abc", 90) for name in ("orthorhombic", "tetragonal", "cubic")}
    for name, angle in sorted(must.get(system, {}).items()):
        if abs(angles[name] - angle) > _DEGREES_ALIKE:
            return f"{what} has {_ANGLES[name]} = {angle} deg, not {angles[name]:g}"
    if system == "rhombohedral" and max(angles.values()) - min(angles.values()) > _DEGREES_ALIKE:
        return f"{what} has al = be = ga, not {', '.join(f'{v:g}' for v in angles.values())}"
    alike = around if system in ("tetragonal", "hexagonal", "cubic", "rhombohedral") else set()
    lengths = [edges[name] for name in sorted(alike)]
    if lengths and max(lengths) > min(lengths) * (1 + _EDGES_ALIKE):
        shown = ", ".join(f"{v:g}" for v in lengths)
        return f"{what} has {' = '.join(sorted(alike))}, not {shown}"
    return ""

import dataclasses
import gzip
from pathlib import Path

import gemmi
import numpy as np
import pytest

from hitfinder.crystal.cell import Cell
from hitfinder.crystal.cellfiles import read_lattice, write_cell_file
from hitfinder.crystal.lattice import Lattice
from hitfinder.errors import ConfigError

CELL_FILE = """CrystFEL unit cell file version 1.0

lattice_type = monoclinic
centering = C
unique_axis = b

a = 150.0 A
b = 6.0 nm   ; in another unit
c = 70.00 A
al = 90.00 deg
be = 110.00 deg
ga = 90.00 deg
"""


def test_crystfels_cell_file(tmp_path):
    path = tmp_path / "my.cell"
    path.write_text(CELL_FILE)
    assert read_lattice(str(path)) == Lattice(
        Cell(150, 60, 70, 90, 110, 90), "C", "monoclinic", "b"
    )
    assert read_lattice(str(path), "P 1 2 1").code == "mPb"


def test_pdb_and_mtz_files(tmp_path):
    structure = gemmi.Structure()
    structure.cell = gemmi.UnitCell(68, 68, 108, 90, 90, 90)
    structure.spacegroup_hm = "P 43 21 2"
    structure.write_pdb(str(tmp_path / "one.pdb"))
    mtz = gemmi.Mtz(with_base=True)
    mtz.spacegroup = gemmi.SpaceGroup("P 43 21 2")
    mtz.set_cell_for_all(structure.cell)
    mtz.set_data(np.array([[1.0, 2.0, 3.0]], np.float32))
    mtz.write_to_file(str(tmp_path / "one.mtz"))
    for name in ("one.pdb", "one.mtz"):
        lattice = read_lattice(str(tmp_path / name))
        assert lattice.code == "tPc"
        assert dataclasses.astuple(lattice.cell) == pytest.approx((68, 68, 108, 90, 90, 90))


@pytest.mark.parametrize(
    ("given", "group", "said"),
    [
        ("68,68", None, "three edges"),
        ("68,68,108", "P 7 7", "unknown space group"),
        ("68,70,108", "P 43 21 2", "does not fit space group"),
        ("nothing.pdb", None, "cannot be read"),
        ("nothing.cell", None, "cannot be read"),
    ],
)
def test_what_is_no_lattice_is_named(given, group, said):
    with pytest.raises(ConfigError, match=said) as raised:
        read_lattice(given, group)
    assert given in str(raised.value)


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("al = 90.00 deg\n", "", "no line 'al'"),
        ("150.0 A", "150.0 m", "no number in A or nm"),
        ("monoclinic", "quadratic", "unknown lattice type"),
        ("centering = C", "centering = Q", "unknown centring"),
        ("unique_axis = b", "unique_axis = *", "unique axis"),
        ("110.00 deg", "x deg", "could not convert"),
    ],
)
def test_a_wrong_cell_file_is_refused(tmp_path, old, new, said):
    path = tmp_path / "my.cell"
    path.write_text(CELL_FILE.replace(old, new))
    with pytest.raises(ConfigError, match=said):
        read_lattice(str(path))


def test_a_structure_without_a_cell_is_refused(tmp_path):
    path = tmp_path / "my.pdb"
    path.write_text("REMARK nothing\nEND\n")
    with pytest.raises(ConfigError, match="tells no unit cell"):
        read_lattice(str(path))


def test_a_cell_file_may_have_nanometres_and_radians(tmp_path):
    lines = ("lattice_type = triclinic", "centering = P", "a = 3.1 nm", "b = 42 A", "c = 53 A")
    angles = (
        f"{name} = {np.radians(v)} rad" for name, v in zip(("al", "be"), (71, 82), strict=True)
    )
    path = tmp_path / "x.cell"
    path.write_text("\n".join([*lines, *angles, "ga = 93 deg"]))
    found = dataclasses.astuple(read_lattice(path).cell)
    np.testing.assert_allclose(found, (31, 42, 53, 71, 82, 93))


def cell_file(system, cell, **lines):
    names = ("a", "b", "c", "al", "be", "ga")
    units = ("A", "A", "A", "deg", "deg", "deg")
    said = {"lattice_type": system, "centering": "P", **lines}
    said |= {name: f"{v} {unit}" for name, v, unit in zip(names, cell, units, strict=True)}
    return "\n".join(f"{name} = {value}" for name, value in said.items())


@pytest.mark.parametrize(
    ("system", "cell", "lines", "said"),
    [
        ("monoclinic", (60, 70, 80, 90, 90, 105), {"unique_axis": "b"}, "ga = 90 deg, not 105"),
        ("monoclinic", (60, 70, 80, 95, 105, 90), {"unique_axis": "b"}, "al = 90 deg, not 95"),
        ("orthorhombic", (60, 70, 80, 90, 92, 90), {}, "be = 90 deg, not 92"),
        ("tetragonal", (68, 70, 108, 90, 90, 90), {"unique_axis": "c"}, "a = b, not 68, 70"),
        ("tetragonal", (68, 68, 108, 90, 90, 90), {"unique_axis": "a"}, "b = c, not 68, 108"),
        ("hexagonal", (90, 90, 130, 90, 90, 90), {"unique_axis": "c"}, "ga = 120 deg, not 90"),
        ("hexagonal", (90, 95, 130, 90, 90, 120), {"unique_axis": "c"}, "a = b, not 90, 95"),
        ("cubic", (90, 90, 99, 90, 90, 90), {}, "a = b = c, not 90, 90, 99"),
        ("rhombohedral", (60, 60, 60, 70, 75, 70), {"centering": "R"}, "al = be = ga, not 70, 75"),
        ("tetragonal", (68, 68, 99, 90, 90, 90), {"centering": "H"}, "cannot be centred H"),
        ("triclinic", (60, 70, 99999, 80, 85, 95), {}, "at most 10000 Å"),
        ("triclinic", (60, 70, float("nan"), 80, 85, 95), {}, "must be positive"),
    ],
)
def test_cells_that_contradict_their_lattice_are_refused(tmp_path, system, cell, lines, said):
    path = tmp_path / "my.cell"
    path.write_text(cell_file(system, cell, **lines))
    with pytest.raises(ConfigError, match=said):
        read_lattice(path)


@pytest.mark.parametrize(
    ("system", "cell", "lines", "code"),
    [
        ("tetragonal", (68, 68, 108, 90, 90, 90), {}, "tPc"),
        ("tetragonal", (68, 68, 108, 90, 90, 90), {"unique_axis": "*"}, "tPc"),
        ("tetragonal", (108, 68, 68, 90, 90, 90), {"unique_axis": "?"}, "tPa"),
        ("hexagonal", (90, 90, 130, 90, 90, 120), {"centering": "H"}, "hHc"),
        ("tetragonal", (68, 68.3, 108, 90, 90.5, 90), {"unique_axis": "c"}, "tPc"),
        ("cubic", (99, 99, 99, 90, 90, 90), {"unique_axis": "*", "centering": "F"}, "cF"),
        ("triclinic", (50, 60, 70, 80, 95, 100), {}, "aP"),
    ],
)
def test_the_cell_shows_the_axis_that_a_file_leaves_out(tmp_path, system, cell, lines, code):
    path = tmp_path / "my.cell"
    path.write_text(cell_file(system, cell, **lines))
    assert read_lattice(path).code == code


SMALL = (Path(__file__).parent / "data" / "small.cif").read_text()
MACRO = """data_a
_x.y 1
data_b
_cell.length_a 9.5
_cell.length_b 9.5
_cell.length_c 12.1
_cell.angle_alpha 90
_cell.angle_beta 90
_cell.angle_gamma 90
_symmetry.space_group_name_H-M "P 4 2 2"
"""


@pytest.mark.parametrize(
    "text",
    [
        SMALL,
        SMALL[: SMALL.index("loop_")],
        SMALL.replace("_symmetry_space_group_name_H-M 'P 4 2 2'", "_space_group_IT_number 89"),
        MACRO,
        MACRO + MACRO.replace("data_", "data_again_"),
    ],
)
@pytest.mark.parametrize("packed", [False, True])
def test_cifs_of_small_molecules_and_of_many_blocks(tmp_path, text, packed):
    path = tmp_path / ("x.CIF.gz" if packed else "x.cif")
    path.write_bytes(gzip.compress(text.encode()) if packed else text.encode())
    lattice = read_lattice(path)
    assert lattice.code == "tPc"
    assert dataclasses.astuple(lattice.cell) == (9.5, 9.5, 12.1, 90, 90, 90)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("data_x\n_a.b 1\n", "tells no unit cell"),
        (SMALL.replace("9.500(2)", "?"), "tells no unit cell"),
        (SMALL + MACRO.replace("12.1", "13.1"), "tells 2 different unit cells"),
        (SMALL.replace("9.500(2)", "99999"), "does not fit|at most 10000"),
        ("data_x\n_cell_length_a 'open\n", "x.cif"),
        (SMALL.replace("'P 4 2 2'", "'P 4 9 9'"), "unknown space group"),
    ],
)
def test_cifs_that_tell_no_lattice_are_refused(tmp_path, text, said):
    (tmp_path / "x.cif").write_text(text)
    with pytest.raises(ConfigError, match=said):
        read_lattice(tmp_path / "x.cif")


@pytest.mark.parametrize("edge", ["99999.00", "     nan"])
def test_pdb_cells_that_cannot_be_are_refused(tmp_path, edge):
    (tmp_path / "x.pdb").write_text(
        f"CRYST1{edge:>9}{70:9.3f}{80:9.3f}{90:7.2f}{90:7.2f}{90:7.2f} P 1           1\nEND\n"
    )
    with pytest.raises(ConfigError, match=r"at most 10000|must be positive|no unit cell"):
        read_lattice(tmp_path / "x.pdb")


def test_gzipped_structures(tmp_path):
    structure = gemmi.Structure()
    structure.cell = gemmi.UnitCell(68, 68, 108, 90, 90, 90)
    structure.spacegroup_hm = "P 43 21 2"
    (tmp_path / "x.pdb.gz").write_bytes(gzip.compress(structure.make_pdb_string().encode()))
    assert read_lattice(tmp_path / "x.pdb.gz").code == "tPc"


@pytest.mark.parametrize(
    ("cell", "group"),
    [
        ((67.288, 67.288, 106.582), "P 43 21 2"),
        ((60.5, 70.25, 80.0, 90, 104.3, 90), "C 1 2 1"),
        ((90, 90, 120, 90, 90, 120), "R 3 :H"),
        ((31, 42, 53, 71, 82, 93), "P 1"),
        ((78.9, 78.9, 78.9), "I 2 3"),
    ],
)
def test_a_cell_file_that_is_written_is_read_back(tmp_path, cell, group):
    lattice = read_lattice(cell, group)
    write_cell_file(tmp_path / "x.cell", lattice)
    assert read_lattice(tmp_path / "x.cell") == lattice

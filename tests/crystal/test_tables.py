"""Structure factors from coordinates and tables, against gemmi's direct summation."""

import gzip
import subprocess
import sys
from pathlib import Path

import gemmi
import numpy as np
import pytest

from hitfinder.crystal.cell import Cell
from hitfinder.crystal.compute import from_coordinates
from hitfinder.crystal.tables import (
    load_structure_factors,
    packaged_structure_factors,
    read_hkl,
    read_mtz,
    write_mtz,
)
from hitfinder.errors import ConfigError

PDB = """CRYST1   21.000   25.000   29.000  90.00  95.00  90.00 P 1 21 1
ATOM      1  CA  GLY A   1       2.000   3.000   4.000  1.00 10.00           C
ATOM      2  N   GLY A   1       5.100   7.000   9.400  0.60 14.00           N
ATOM      3  SG  CYS A   2      11.100  17.300  19.900  1.00  8.00           S
END
"""


@pytest.fixture
def pdb(tmp_path):
    path = tmp_path / "three.pdb"
    path.write_text(PDB)
    return path


def test_grid_and_fft_give_the_direct_sum_over_atoms(pdb):
    table = from_coordinates(pdb, 1.8, solvent_density=0.0)
    structure = gemmi.read_structure(str(pdb))
    calculator = gemmi.StructureFactorCalculatorX(structure.cell)
    direct = [
        abs(calculator.calculate_sf_from_model(structure[0], hkl)) for hkl in table.hkl.tolist()
    ]
    direct = np.array(direct)
    assert np.abs(np.sqrt(table.f_squared) - direct).max() < 2e-3 * direct.max()


def test_bulk_solvent_changes_the_low_orders_only(shared):
    path = shared / "pdb" / "1ic6.pdb"
    dry, wet = (from_coordinates(path, 4.0, solvent_density=k) for k in (0.0, 0.35))
    inv_d2 = dry.cell.inv_d_squared(dry.hkl)
    low, high = inv_d2 < 1 / 12**2, inv_d2 > 1 / 4.5**2
    change = np.abs(wet.f_squared - dry.f_squared)
    assert change[low].sum() > 0.5 * dry.f_squared[low].sum()
    assert change[high].sum() < 0.1 * dry.f_squared[high].sum()


def test_packaged_table_is_what_the_command_computes(shared, tmp_path):
    table = packaged_structure_factors()
    assert len(table) == 39923
    assert table.f_squared.mean() == pytest.approx(1.27e5, rel=0.01)
    assert (table.cell.a, table.cell.c) == pytest.approx((67.288, 106.582))
    path, out = shared / "pdb" / "1ic6.pdb", tmp_path / "new.mtz"
    command = [sys.executable, "-m", "hitfinder.crystal", str(path), str(out), "--d-min", "1.5"]
    subprocess.run(command, check=True, capture_output=True)
    again = read_mtz(out)
    assert np.array_equal(again.hkl, table.hkl)
    assert np.allclose(again.f_squared, table.f_squared, rtol=1e-3, atol=1.0)


def test_command_complains_in_one_line(tmp_path):
    command = [sys.executable, "-m", "hitfinder.crystal", "missing.pdb", str(tmp_path / "x.mtz")]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 1
    assert done.stderr == "Error: missing.pdb: no such file\n"


def test_mmcif_gives_what_the_pdb_gives(pdb, tmp_path):
    structure = gemmi.read_structure(str(pdb))
    cif = tmp_path / "three.cif"
    structure.make_mmcif_document().write_file(str(cif))
    first, second = load_structure_factors(pdb, d_min_a=3), load_structure_factors(cif, d_min_a=3)
    assert np.allclose(first.f_squared, second.f_squared, rtol=1e-4)


def test_mtz_round_trip(pdb, tmp_path):
    table = from_coordinates(pdb, 3.0)
    write_mtz(tmp_path / "t.mtz", table)
    again = load_structure_factors(tmp_path / "t.mtz", column="F")
    assert np.array_equal(again.hkl, table.hkl)
    assert np.allclose(again.f_squared, table.f_squared, rtol=1e-5)
    assert again.space_group_name == "P 1 21 1"


def anomalous_mtz(path):
    mtz = gemmi.Mtz(with_base=True)
    mtz.spacegroup = gemmi.SpaceGroup("P 1")
    mtz.set_cell_for_all(gemmi.UnitCell(20, 21, 22, 80, 85, 95))
    mtz.add_dataset("d")
    mtz.add_column("I(+)", "K")
    mtz.add_column("I(-)", "K")
    rows = [[1, 2, 3, 4.0, 5.0], [2, 0, 1, np.nan, 7.0], [0, 1, 1, -2.0, np.nan]]
    mtz.set_data(np.array(rows, np.float32))
    mtz.write_to_file(str(path))


def test_mtz_with_friedel_mates_and_intensities(tmp_path):
    path = tmp_path / "a.mtz"
    anomalous_mtz(path)
    table = read_mtz(path)
    assert table.f_squared.tolist() == [4.0, 7.0, 0.0]
    assert table.f_squared_minus.tolist() == [5.0, 7.0, 0.0]


HKL = """CrystFEL reflection list version 2.0
Symmetry: {symmetry}
   h    k    l          I    phase   sigma(I)   nmeas
   0    0    4     100.50        -       1.00       1
   1    2    3    -  7.0        -       1.00       1
   1    2    5      -7.00        -       1.00       1
End of reflections
   9    9    9     100.50        -       1.00       1
"""


def test_crystfel_list(tmp_path):
    path = tmp_path / "x.hkl"
    path.write_text(HKL.format(symmetry="4/mmm").replace("-  7.0", "7.0   "))
    table = load_structure_factors(path, cell=Cell(67, 67, 106))
    assert table.hkl.tolist() == [[0, 0, 4], [1, 2, 3], [1, 2, 5]]
    assert table.f_squared.tolist() == [100.5, 7.0, 0.0]
    assert len(table.expanded.hkl) == 1 + 8 + 8
    other = read_hkl(path, Cell(67, 67, 106), "P 2 2 2")
    assert len(other.expanded.hkl) == 1 + 4 + 4


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (("CRYST1", "REMARK"), "no unit cell"),
        (("P 1 21 1", "P 9 9 9 "), "unknown space group"),
        (("ATOM", "REMA"), "no atoms"),
    ],
)
def test_coordinates_that_are_no_crystal(pdb, change, words):
    pdb.write_text(pdb.read_text().replace(*change))
    with pytest.raises(ConfigError, match=words):
        from_coordinates(pdb)


@pytest.mark.parametrize("d_min", [0, -1, float("nan")])
def test_impossible_resolution(pdb, d_min):
    with pytest.raises(ValueError, match="resolution"):
        from_coordinates(pdb, d_min)


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("x.hkl", HKL.format(symmetry="4/mmm"), "line 5"),
        ("x.hkl", "nothing\n", "no reflections"),
        ("x.hkl", HKL.format(symmetry="17/m").replace("-  7.0", "7.0"), "17/m"),
        ("x.mtz", "MTZ junk", "cannot read MTZ"),
        ("x.pdb", "", "no atoms"),
        ("x.xyz", "", "not a known kind"),
    ],
)
def test_bad_files_get_one_clear_line(tmp_path, name, content, words):
    path = tmp_path / name
    path.write_text(content)
    with pytest.raises(ConfigError, match=words) as caught:
        load_structure_factors(path, cell=Cell(67, 67, 106))
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)


def test_mtz_without_the_column_names_those_it_has(tmp_path):
    anomalous_mtz(tmp_path / "a.mtz")
    with pytest.raises(ConfigError, match=r"no column 'FC'.*I\(\+\), I\(-\)"):
        read_mtz(tmp_path / "a.mtz", "FC")


@pytest.mark.parametrize("name", ["no.pdb", "no.mtz", "no.hkl"])
def test_missing_files(tmp_path, name):
    with pytest.raises(ConfigError, match=r"[Nn]o such file"):
        load_structure_factors(tmp_path / name, cell=Cell(67, 67, 106))


def test_a_list_needs_a_cell(tmp_path):
    with pytest.raises(ConfigError, match="Give the cell"):
        load_structure_factors(tmp_path / "no.hkl")


CUT = """CrystFEL reflection list version 2.0
Symmetry: 4/mmm
   h    k    l          I    phase   sigma(I)   nmeas
   0    0    4     100.50        -       1.00       1
  12    7   14     500.00        -  """


def test_a_list_that_is_cut_short_is_refused(tmp_path):
    path = tmp_path / "cut.hkl"
    path.write_text(CUT)
    with pytest.raises(ConfigError, match="cut short: it ends in line 5, without 'End of refl"):
        read_hkl(path, Cell(67, 67, 106))
    path.write_text(CUT + "    10.00       5\nEnd of reflections\n")
    assert len(read_hkl(path, Cell(67, 67, 106))) == 2


@pytest.mark.parametrize(
    ("whole", "damaged"),
    [("   0    0    4 ", "   0   \x10    4 "), ("   7   14 ", "   7  " + 5 * "\0"),
     ("14     500.00", "14     nan   "), ("  12    7", "12345    7"),
     ("  12    7   14", "  12 7g  14")],
)  # fmt: skip
def test_a_damaged_reflection_is_not_passed_over(tmp_path, whole, damaged):
    path = tmp_path / "x.hkl"
    text = CUT + "    10.00       5\nEnd of reflections\n"
    assert whole in text
    path.write_text(text.replace(whole, damaged))
    with pytest.raises(ConfigError, match=r"x.hkl, line [45]: bad reflection"):
        read_hkl(path, Cell(67, 67, 106))


HETATM = (
    "HETATM    4  {name} {residue} A   3      11.100  17.300   9.900  1.00  8.00          {element}"
)


@pytest.mark.parametrize(
    ("name", "residue", "element"), [("UNK", "UNX", " X"), ("ZZ ", "UNL", "  ")]
)
def test_atoms_of_no_known_element_are_told(pdb, caplog, name, residue, element):
    def with_atom(name, element):
        line = HETATM.format(name=name, residue=residue, element=element)
        pdb.write_text(PDB.replace("END", f"{line}\nEND"))
        return from_coordinates(pdb, 3.0, solvent_density=0)

    odd = with_atom(name, element)
    named = f"A/{residue} 3/{name.strip()}"
    assert f"1 atom is of no known element ({named}): taken as oxygen" in caplog.text
    caplog.clear()
    oxygen = with_atom("O  ", " O")
    assert caplog.text == ""
    assert np.allclose(odd.f_squared, oxygen.f_squared, rtol=1e-5)


SMALL = (Path(__file__).parent / "data" / "small.cif").read_text()


@pytest.mark.parametrize("packed", [False, True])
def test_a_small_molecule_is_summed_over_its_atoms(tmp_path, packed):
    path = tmp_path / ("s.cif.gz" if packed else "s.cif")
    path.write_bytes(gzip.compress(SMALL.encode()) if packed else SMALL.encode())
    table = load_structure_factors(path, d_min_a=1.5)
    assert (table.space_group_name, table.cell.c) == ("P 4 2 2", 12.1)
    rotations = [np.array(op.rot) / 24 for op in gemmi.SpaceGroup("P 4 2 2").operations().sym_ops]
    # The last atom is on a place that four symmetry operations leave where it is.
    sites = [("Cu", (0.1, 0.2, 0.3), 1.0), ("O", (0.3, 0.1, 0.15), 1.0), ("O", (0.5, 0, 0.5), 0.25)]
    stol2 = table.cell.inv_d_squared(table.hkl) / 4
    total = np.zeros(len(table), complex)
    for element, fract, occupancy in sites:
        f = [gemmi.Element(element).it92.calculate_sf(s) for s in stol2]
        for rotation in rotations:
            total += occupancy * np.array(f) * np.exp(2j * np.pi * (table.hkl @ rotation @ fract))
    assert len(table) > 100
    assert np.allclose(np.sqrt(table.f_squared), np.abs(total), rtol=1e-4, atol=1e-3)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (("_cell_length_a 9.500(2)\n", ""), "no unit cell"),
        (("'P 4 2 2'", "'P 9 9 9'"), "unknown space group 'P 9 9 9'"),
        (("loop_", "loop_ loop_"), "cannot read CIF"),
    ],
)
def test_small_molecules_that_cannot_be_used(tmp_path, change, words):
    path = tmp_path / "s.cif"
    path.write_text(SMALL.replace(*change))
    with pytest.raises(ConfigError, match=words) as caught:
        from_coordinates(path)
    assert str(path) in str(caught.value)


def test_an_unknown_element_of_a_small_molecule_is_told(tmp_path, caplog):
    path = tmp_path / "s.cif"
    path.write_text(SMALL.replace("Q1 O", "Q1 Zz"))
    from_coordinates(path)
    assert "1 atom is of no known element (Q1): taken as oxygen" in caplog.text


ATOM = "ATOM      1  CA  ALA A   1      11.104  13.207   2.100  1.00 20.00           C\n"
IMPOSSIBLE = {
    "group.pdb": "CRYST1   20.000   60.000   90.000  90.00  90.00  90.00 P 43 21 2     8\n" + ATOM,
    "atoms.pdb": "CRYST1   60.000   60.000   90.000  90.00  90.00  90.00 P 43 21 2     8\n"
    + ATOM.replace("  1.00 20.00", "   nan 20.00"),
    "angle.cif": "data_x\n_cell_length_a 60\n_cell_length_b 60\n_cell_length_c 90\n"
    "_cell_angle_alpha 180\n_cell_angle_beta 90\n_cell_angle_gamma 90\n"
    "_symmetry_space_group_name_H-M 'P 1'\nloop_\n_atom_site_label\n_atom_site_type_symbol\n"
    "_atom_site_fract_x\n_atom_site_fract_y\n_atom_site_fract_z\nC1 C 0.1 0.2 0.3\n",
}


@pytest.mark.parametrize("name", IMPOSSIBLE)
def test_files_that_say_what_is_impossible_are_named(tmp_path, name):
    (tmp_path / name).write_text(IMPOSSIBLE[name])
    with pytest.raises(ConfigError, match=name):
        load_structure_factors(tmp_path / name, d_min_a=6.0)

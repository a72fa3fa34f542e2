import gemmi
import numpy as np
import pytest

from hitfinder.crystal.cellfiles import read_lattice

GROUPS = {
    "P 1": ("50,60,70,80,95,100", "aP"),
    "P 1 21 1": ("50,60,70,90,100,90", "mPb"),
    "C 1 2 1": ("150,60,70,90,110,90", "mCb"),
    "P 1 1 2": ("50,60,70,90,90,100", "mPc"),
    "C 2 2 21": ("70,80,90", "oC"),
    "I 2 2 2": ("70,80,90", "oI"),
    "P 43 21 2": ("68,68,108", "tPc"),
    "I 4": ("80,80,150", "tIc"),
    "P 61 2 2": ("90,90,130,90,90,120", "hPc"),
    "P 31 2 1": ("90,90,130,90,90,120", "hPc"),
    "R 3:H": ("90,90,130,90,90,120", "hHc"),
    "R 3:R": ("60,60,60,70,70,70", "rR"),
    "R 3": ("60,60,60,100,100,100", "rR"),
    "R 3 2": ("90,90,130,90,90,120", "hHc"),
    "I 2 3": ("100,100,100", "cI"),
    "F 4 3 2": ("200,200,200", "cF"),
}


@pytest.mark.parametrize("name", GROUPS)
def test_lattice_of_a_space_group(name):
    cell, code = GROUPS[name]
    lattice = read_lattice(cell, name)
    assert lattice.code == code


@pytest.mark.parametrize("name", GROUPS)
def test_lattice_points_are_the_reflections_that_the_centring_allows(name):
    """Against gemmi's absences of the group with its centring only."""
    lattice = read_lattice(GROUPS[name][0], name)
    letter = {"H": "R", "R": "P"}.get(lattice.centring, lattice.centring)
    centred = gemmi.GroupOps([gemmi.Op("x,y,z")])
    centred.cen_ops = gemmi.symops_from_hall(f"{letter} 1" if letter != "R" else "R 1").cen_ops
    hkl = np.stack(np.meshgrid(*[np.arange(-4, 5)] * 3), -1).reshape(-1, 3).astype(np.int32)
    allowed = ~centred.systematic_absences(hkl)
    n = hkl @ lattice.cell.reciprocal.T @ np.linalg.inv(lattice.primitive).T
    whole = np.abs(n - np.rint(n)).max(axis=1) < 1e-6
    assert np.array_equal(whole, allowed)


@pytest.mark.parametrize("name", GROUPS)
def test_rotations_map_the_lattice_onto_itself(name):
    lattice = read_lattice(GROUPS[name][0], name)
    for turn in lattice.rotations:
        assert np.allclose(turn @ turn.T, np.eye(3), atol=1e-6)
        n = np.linalg.inv(lattice.primitive) @ turn @ lattice.primitive
        assert np.allclose(n, np.rint(n), atol=1e-6)
    assert len(lattice.rotations) == {"a": 1, "m": 2, "o": 4, "t": 8, "c": 24}.get(
        lattice.code[0], 12 if lattice.centring == "P" else 6
    )


@pytest.mark.parametrize("name", GROUPS)
def test_angles_are_up_to_the_lattices_rotations(name):
    lattice = read_lattice(GROUPS[name][0], name)
    axes, angle = lattice.cell.reciprocal, np.deg2rad(2.0)
    about_z = [[np.cos(angle), -np.sin(angle), 0], [np.sin(angle), np.cos(angle), 0], [0, 0, 1]]
    for turn in lattice.rotations:
        assert lattice.angle_deg(turn @ axes, axes) < 1e-4
        assert lattice.angle_deg(about_z @ turn @ axes, axes) == pytest.approx(2.0)


@pytest.mark.parametrize(
    ("cell", "code"),
    [
        ("68,68,108", "tPc"),
        ("108,68,68", "tPa"),
        ("50 60 70", "oP"),
        ("90,90,130,90,90,120", "hPc"),
        ("50,61,72,90,100,90", "mPb"),
        ("50,60,70,80,95,100", "aP"),
        ("99,99,99", "cP"),
        ("60,60,60,70,70,70", "rR"),
    ],
)
def test_without_a_space_group_the_lattice_is_as_symmetric_as_its_cell(cell, code):
    assert read_lattice(cell).code == code

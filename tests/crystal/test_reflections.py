"""Expansion over reciprocal space against gemmi's symmetry, for groups of every kind."""

import logging

import gemmi
import numpy as np
import pytest

from hitfinder.crystal.cell import Cell
from hitfinder.crystal.compute import random_structure_factors
from hitfinder.crystal.reflections import StructureFactors, space_group

CELLS = {
    "P 1": Cell(21, 25, 29, 80, 95, 103),
    "P 1 21 1": Cell(21, 25, 29, 90, 95, 90),
    "C 1 2/c 1": Cell(21, 25, 29, 90, 95, 90),
    "P 21 21 21": Cell(21, 25, 29),
    "I b c a": Cell(21, 25, 29),
    "P 43 21 2": Cell(25, 25, 31),
    "I 41/a c d": Cell(25, 25, 31),
    "R 3:H": Cell(30.1, 30.1, 26, 90, 90, 120),
    "R 3 c:R": Cell(24, 24, 24, 75, 75, 75),
    "P 31 2 1": Cell(30.1, 30.1, 26, 90, 90, 120),
    "P 61 2 2": Cell(30.1, 30.1, 26, 90, 90, 120),
    "F d -3 m:1": Cell(33, 33, 33),
    "I 21 3": Cell(33, 33, 33),
}


def table_of(name, d_min=2.5):
    return random_structure_factors(CELLS[name], name, np.random.default_rng(3), d_min)


@pytest.mark.parametrize("name", CELLS)
def test_half_sphere_is_complete_and_holds_no_absent_reflection(name):
    """Every reflection that gemmi lists is there once, itself or as its Friedel mate."""
    table = table_of(name)
    group = space_group(name)
    found = table.expanded.hkl.astype(np.int32)
    every = gemmi.make_miller_array(CELLS[name].as_gemmi(), group, 2.5, unique=False)
    every = np.array(every, np.int32)
    every = every[~group.operations().systematic_absences(every)]
    both = {tuple(r) for r in found.tolist()} | {tuple(-r) for r in found}
    assert len(found) * 2 == len(both) == len(every)
    assert {tuple(r) for r in every.tolist()} == both


@pytest.mark.parametrize("name", CELLS)
def test_equivalents_share_the_value_of_the_unique_reflection(name):
    table = table_of(name)
    group = space_group(name)
    asu, operations = gemmi.ReciprocalAsu(group), group.operations()
    unique = {
        tuple(asu.to_asu(h, operations)[0]): f
        for h, f in zip(table.hkl.tolist(), table.f_squared, strict=True)
    }
    expanded = table.expanded
    for row in np.linspace(0, len(expanded.hkl) - 1, 150).astype(int):
        for sign, value in zip((1, -1), expanded.f_squared[row], strict=True):
            key = tuple(asu.to_asu((sign * expanded.hkl[row]).tolist(), operations)[0])
            assert value == pytest.approx(unique[key], rel=1e-6)


def test_order_is_by_resolution():
    inv_d2 = table_of("P 43 21 2").expanded.inv_d_squared
    assert np.all(np.diff(inv_d2) >= 0)
    assert 1 / np.sqrt(inv_d2[-1]) == pytest.approx(table_of("P 43 21 2").d_min_a)


def test_friedel_mates_may_differ():
    hkl = np.array([[1, 2, 3], [-2, 1, -3]], np.int16)
    table = StructureFactors(
        CELLS["P 1"], "P 1", hkl, np.array([5.0, 7.0]), np.array([6.0, 8.0])
    ).expanded
    values = {tuple(h): tuple(f) for h, f in zip(table.hkl.tolist(), table.f_squared, strict=True)}
    assert values == {(1, 2, 3): (5.0, 6.0), (2, -1, 3): (8.0, 7.0)}


def test_forbidden_reflections_of_a_table_are_dropped():
    hkl = np.array([[0, 0, 1], [0, 0, 4], [0, 0, 0]], np.int16)
    table = StructureFactors(CELLS["P 43 21 2"], "P 43 21 2", hkl, np.ones(3))
    assert table.expanded.hkl.tolist() == [[0, 0, 4]]


def test_another_cell_is_taken_with_a_warning(caplog):
    table = table_of("P 43 21 2")
    with caplog.at_level(logging.WARNING, "hitfinder.crystal"):
        assert table.with_cell(Cell(25.1, 25.1, 31)).cell.a == 25.1
        assert not caplog.records
        table.with_cell(Cell(22, 22, 31))
    assert "25 25 31" in caplog.text
    assert "22 22 31" in caplog.text


@pytest.mark.parametrize(
    ("name", "cell", "words"),
    [("P 9", Cell(9, 9, 9), "P 9"), ("P 43 21 2", Cell(20, 30, 40), "does not fit")],
)
def test_impossible_symmetry(name, cell, words):
    with pytest.raises(ValueError, match=words):
        StructureFactors(cell, name, np.zeros((0, 3), np.int16), np.zeros(0))


def test_random_structure_factors_follow_wilson():
    """Moments <I²>/<I>² of normalised intensities: 2 for general, 3 for centric reflections."""
    cell = Cell(60, 60, 80)
    table = random_structure_factors(cell, "P 43 21 2", np.random.default_rng(5), 2.0)
    operations = space_group("P 43 21 2").operations()
    hkl = table.hkl.astype(np.int32)
    centric = operations.centric_flag_array(hkl)
    epsilon = operations.epsilon_factor_array(hkl)
    shells = np.digitize(cell.inv_d_squared(hkl), np.linspace(0, 0.25, 40))
    general = epsilon == 1
    for kind, moment in ((~centric & general, 2.0), (centric & general, 3.0)):
        ratios = []
        for shell in np.unique(shells):
            values = table.f_squared[(shells == shell) & kind]
            if len(values) > 30:
                ratios.append(((values**2).mean() / values.mean() ** 2, len(values)))
        ratio, weight = np.array(ratios).T
        assert np.average(ratio, weights=weight) == pytest.approx(moment, rel=0.1)


def test_axial_rows_of_a_screw_are_stronger_by_epsilon():
    """Reflections on the fourfold axis have ε = 4: four times the mean intensity."""
    cell = Cell(60, 60, 400)
    table = random_structure_factors(cell, "P 4", np.random.default_rng(5), 2.0)
    axial = np.all(table.hkl[:, :2] == 0, axis=1)
    shells = np.digitize(cell.inv_d_squared(table.hkl), np.linspace(0, 0.25, 20))
    ratios = [
        table.f_squared[(shells == n) & axial].mean()
        / table.f_squared[(shells == n) & ~axial].mean()
        for n in np.unique(shells)
    ]
    assert np.mean(ratios) == pytest.approx(4, rel=0.25)

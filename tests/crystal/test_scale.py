"""The absolute scale by Wilson statistics."""

import dataclasses

import gemmi
import numpy as np
import pytest

from hitfinder.crystal.cell import Cell
from hitfinder.crystal.compute import random_structure_factors
from hitfinder.crystal.scale import on_absolute_scale, wilson_scale
from hitfinder.crystal.tables import load_structure_factors, packaged_structure_factors

RNG = np.random.default_rng(4)
CELL = Cell(60, 70, 80)


def merged(path, table, factor):
    """Write |F|² as merged intensities on another scale."""
    mtz = gemmi.Mtz(with_base=True)
    mtz.spacegroup = gemmi.SpaceGroup(table.space_group_name)
    mtz.set_cell_for_all(table.cell.as_gemmi())
    mtz.add_dataset("merged")
    mtz.add_column("IMEAN", "J")
    mtz.set_data(np.column_stack([table.hkl, table.f_squared * factor]).astype(np.float32))
    mtz.write_to_file(str(path))


@pytest.mark.parametrize(
    ("cell", "group", "d_min_a"),
    [
        (CELL, "P 21 21 21", 2.5),
        (Cell(70, 70, 90, 90, 90, 120), "P 61 2 2", 2.0),
        (Cell(90, 95, 100), "P 21 21 21", 6.0),
    ],
)
@pytest.mark.parametrize("b_factor_a2", [10.0, 40.0])
@pytest.mark.parametrize("factor", [1.0, 3e-4, 2e6])
def test_the_scale_of_a_protein_is_found(cell, group, d_min_a, b_factor_a2, factor):
    table = random_structure_factors(cell, group, RNG, d_min_a, b_factor_a2)
    scaled = dataclasses.replace(table, f_squared=table.f_squared * factor)
    assert wilson_scale(scaled) == pytest.approx(factor, rel=0.2)


def test_the_packaged_table_is_on_scale():
    table = packaged_structure_factors()
    assert wilson_scale(table) == pytest.approx(1.14, abs=0.01)
    assert on_absolute_scale(table) is table


def test_merged_intensities_are_put_on_scale(tmp_path, caplog):
    table = packaged_structure_factors()
    path = tmp_path / "merged.mtz"
    merged(path, table, 1e-4)
    read = load_structure_factors(path)
    assert np.array_equal(read.hkl, table.hkl)
    ratio = read.f_squared.sum() / table.f_squared.sum()
    assert ratio == pytest.approx(1 / wilson_scale(table), rel=1e-3)
    assert "merged.mtz: |F|² are 0.000114 times those of a protein crystal" in caplog.text
    caplog.clear()
    merged(path, table, 1.0)
    assert np.allclose(load_structure_factors(path).f_squared, table.f_squared, rtol=1e-5)
    assert caplog.text == ""


def test_friedel_mates_are_scaled_alike():
    table = random_structure_factors(CELL, "P 21 21 21", RNG, 3.0)
    both = dataclasses.replace(
        table, f_squared=table.f_squared * 1e3, f_squared_minus=table.f_squared * 2e3
    )
    scaled = on_absolute_scale(both)
    assert np.allclose(scaled.f_squared_minus, 2 * scaled.f_squared)
    assert scaled.f_squared.mean() == pytest.approx(table.f_squared.mean(), rel=0.3)


def test_small_cells_and_short_lists_are_left_as_they_are(caplog):
    small = random_structure_factors(Cell(20, 21, 22), "P 1", RNG, 1.5)
    few = random_structure_factors(CELL, "P 21 21 21", RNG, 14.0)
    assert len(few) < 200
    for table in (small, few):
        far = dataclasses.replace(table, f_squared=table.f_squared * 1e6)
        assert wilson_scale(far) is None
        assert on_absolute_scale(far) is far
    empty = random_structure_factors(CELL, "P 21 21 21", RNG, 3.0)
    empty = dataclasses.replace(empty, f_squared=np.zeros(len(empty)))
    assert on_absolute_scale(empty) is empty
    assert caplog.text == ""

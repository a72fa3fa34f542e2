"""Statistics of reflections by shells, against counting by gemmi and closed forms."""

import gemmi
import numpy as np
import pytest

from hitfinder.crystal.cell import Cell
from hitfinder.crystal.lattice import lattice_of
from hitfinder.crystal.scale import protein_mean
from hitfinder.indexing.intensities.statistics import by_shell, unique_codes

CELL = Cell(60, 60, 90)
LATTICE = lattice_of(CELL, "P 43 21 2")


@pytest.fixture(scope="module")
def unique():
    group = gemmi.SpaceGroup("P 4/m m m")
    return gemmi.make_miller_array(CELL.as_gemmi(), group, 5.03)


def test_equal_reflections_have_one_number(unique):
    codes = unique_codes(LATTICE, unique)
    assert len(np.unique(codes)) == len(unique)
    h, k, el = unique.T
    for other in ((k, h, el), (-h, k, el), (h, k, -el), (-k, -h, -el)):
        assert np.array_equal(unique_codes(LATTICE, np.stack(other, 1)), codes)


def test_shells_say_what_is_there(unique):
    rng = np.random.default_rng(0)
    times = 3
    hkl = np.concatenate([unique] * times)
    inv_d = np.sqrt(CELL.inv_d_squared(hkl))
    b = 20.0
    mean = protein_mean(CELL, inv_d**2 / 4) * np.exp(-2 * b * inv_d**2 / 4)
    weight = rng.uniform(0.5, 2, len(hkl))
    intensity = 3.0 * weight * mean
    told = by_shell(LATTICE, hkl, intensity, 0.5 * intensity, weight, intensity * 7, n_shells=4)
    assert len(told) == 4
    assert sum(shell.measured for shell in told) == len(hkl)
    for shell in told:
        assert shell.completeness == pytest.approx(1, abs=1e-9)
        assert shell.multiplicity == pytest.approx(times)
        assert shell.i_over_sigma == pytest.approx(2)
        assert shell.correlation == pytest.approx(1)
        assert shell.frames_needed(30) == pytest.approx(30 * np.log(100) / times)
    x = [(shell.d_max_a**-2 + shell.d_min_a**-2) / 8 for shell in told]
    slope, _ = np.polyfit(x, [shell.wilson for shell in told], 1)
    assert slope == pytest.approx(-2 * b, rel=0.15)


def test_what_is_not_measured_is_missed(unique):
    half = unique[np.random.default_rng(1).random(len(unique)) < 0.5]
    ones = np.ones(len(half))
    told = by_shell(LATTICE, half, ones, ones, ones, np.nan * ones, n_shells=3)
    assert np.mean([shell.completeness for shell in told]) == pytest.approx(0.5, abs=0.1)
    assert all(np.isnan(shell.correlation) for shell in told)
    none = by_shell(LATTICE, half[:0], ones[:0], ones[:0], ones[:0], ones[:0])
    assert none == []

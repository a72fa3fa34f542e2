import dataclasses

import gemmi
import numpy as np
import pytest

from hitfinder.crystal.cell import Cell

TRICLINIC = Cell(41.2, 53.7, 66.1, 82.0, 96.5, 107.3)


def test_axes_and_volume_agree_with_gemmi():
    reference = gemmi.UnitCell(*dataclasses.astuple(TRICLINIC))
    assert TRICLINIC.volume_a3 == pytest.approx(reference.volume, rel=1e-12)
    assert np.allclose(TRICLINIC.direct, np.array(reference.orth.mat.tolist()))
    for hkl in ([3, -2, 5], [1, 0, 0], [-7, 4, 1]):
        inv_d2 = TRICLINIC.inv_d_squared(np.array([hkl]))[0]
        assert inv_d2 == pytest.approx(reference.calculate_1_d2(hkl), rel=1e-12)


def test_disagreement_sees_edges_and_angles():
    assert Cell(50, 60, 70).disagreement(Cell(50, 60, 70)) == 0
    assert Cell(51, 60, 70).disagreement(Cell(50, 60, 70)) == pytest.approx(0.02)
    assert Cell(50, 60, 70, 91).disagreement(Cell(50, 60, 70)) == pytest.approx(np.radians(1))


@pytest.mark.parametrize("text", ["58.3,58.3,63.6", "58.3 58.3 63.6 90 90 120"])
def test_parse(text):
    assert Cell.parse(text).c == 63.6


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: Cell(0, 1, 1), "edges"),
        (lambda: Cell(1, 1, float("nan")), "edges"),
        (lambda: Cell(10, 10, 10, 0, 90, 90), "angles"),
        (lambda: Cell(10, 10, 10, 60, 60, 120), "volume"),
        (lambda: Cell.parse("1,2"), "1,2"),
        (lambda: Cell.parse("1,2,x"), "1,2,x"),
    ],
)
def test_impossible_cells(make, words):
    with pytest.raises(ValueError, match=words):
        make()

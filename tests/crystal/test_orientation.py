import numpy as np
import pytest
from scipy import stats

from hitfinder.crystal.orientation import (
    COLUMNS,
    from_columns,
    random_rotation,
    read_orientations,
    to_columns,
)
from hitfinder.errors import ConfigError


def test_random_rotations_are_uniform():
    rng = np.random.default_rng(7)
    rotations = np.array([random_rotation(rng) for _ in range(4000)])
    product = np.einsum("nij,nkj->nik", rotations, rotations)
    assert np.allclose(product, np.eye(3), atol=1e-12)
    assert np.allclose(np.linalg.det(rotations), 1)
    # Each matrix element is uniform on -1..1, and the rotation angle has density (1 - cos)/pi.
    for i, j in ((0, 0), (1, 2), (2, 2)):
        assert stats.kstest(rotations[:, i, j], "uniform", (-1, 2)).pvalue > 1e-4
    angle = np.arccos(np.clip((np.trace(rotations, axis1=1, axis2=2) - 1) / 2, -1, 1))
    assert stats.kstest(angle, lambda x: (x - np.sin(x)) / np.pi).pvalue > 1e-4


def test_orientations_from_a_file(tmp_path):
    path = tmp_path / "o.csv"
    path.write_text(",".join(COLUMNS) + "\n1e8,2e8,3e8,0,1e8,0,0,0,5e7\n")
    axes = read_orientations(path)
    assert axes.shape == (1, 3, 3)
    assert axes[0].T.tolist() == pytest.approx(
        np.array([[0.01, 0.02, 0.03], [0, 0.01, 0], [0, 0, 0.005]])
    )


def test_axes_go_to_columns_and_back():
    axes = np.arange(1.0, 10.0).reshape(3, 3) * 1e-3
    row = to_columns(axes)
    assert tuple(row) == COLUMNS
    assert (row["astar_y"], row["cstar_x"]) == pytest.approx((4e7, 3e7))
    assert from_columns(row) == pytest.approx(axes)
    with pytest.raises(KeyError):
        from_columns({"astar_x": 1.0})


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("a,b\n1,2\n", "astar_x"),
        (",".join(COLUMNS) + "\n", "no orientations"),
        (",".join(COLUMNS) + "\n1,2,3,4,5,6,7,8,x\n", "row 1"),
        (",".join(COLUMNS) + "\n1,2,3,4,5\n", "row 1"),
        (",".join(COLUMNS) + "\n1,0,0,1,0,0,0,0,1\n", "no volume"),
    ],
)
def test_bad_orientation_files(tmp_path, text, words):
    path = tmp_path / "o.csv"
    path.write_text(text)
    with pytest.raises(ConfigError, match=words):
        read_orientations(path)
    with pytest.raises(ConfigError, match=r"missing\.csv"):
        read_orientations(tmp_path / "missing.csv")

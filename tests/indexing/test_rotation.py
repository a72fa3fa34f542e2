import numpy as np
import pytest

from hitfinder.indexing.rotation import fill_rotation


def by_singular_values(moment):
    u, _, v = np.linalg.svd(moment)
    u[:, 2] *= np.linalg.det(u @ v)
    return u @ v


@pytest.mark.parametrize("n_pairs", [2, 3, 50])
def test_the_rotation_is_that_of_the_singular_values(n_pairs):
    rng = np.random.default_rng(n_pairs)
    rotation = np.empty((3, 3))
    for scale in (1e-6, 1.0, 1e6):
        one, other = rng.normal(size=(2, n_pairs, 3))
        moment = scale * one.T @ other
        assert fill_rotation(moment, rotation)
        np.testing.assert_allclose(rotation, by_singular_values(moment), atol=1e-12)
        assert np.linalg.det(rotation) == pytest.approx(1)


def test_a_rotation_without_noise_is_found_again():
    turn = by_singular_values(np.random.default_rng(1).normal(size=(3, 3)))
    vectors = np.random.default_rng(2).normal(size=(5, 3))
    rotation = np.empty((3, 3))
    assert fill_rotation((vectors @ turn.T).T @ vectors, rotation)
    np.testing.assert_allclose(rotation, turn, atol=1e-12)


def test_vectors_in_a_row_leave_a_turn_open():
    moment = np.outer([1.0, 2.0, 3.0], [0.3, -1.0, 2.0])
    assert not fill_rotation(moment, np.empty((3, 3)))

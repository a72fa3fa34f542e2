"""The counts must be Poisson numbers: exactly, at every level, and whatever the cost saver."""

import numpy as np
import pytest
from scipy import stats

from hitfinder.simulation.noise import poisson, poisson_frame
from hitfinder.simulation.radial import expected_image
from hitfinder.simulation.rng import random_state, uniform
from hitfinder.simulation.sparse import add_sparse_photons
from hitfinder.simulation.water import water_profile

SHAPE = (500, 1000)


def chi_square_p(counts, mean):
    """P-value of the counts against the Poisson pmf, rare counts pooled."""
    n = counts.size
    top = int(counts.max()) + 1
    expected = n * stats.poisson.pmf(np.arange(top), mean)
    observed = np.bincount(counts.ravel(), minlength=top)[:top].astype(float)
    good = expected > 10
    observed = np.append(observed[good], observed[~good].sum())
    expected = np.append(expected[good], n - expected[good].sum())
    return stats.chi2.sf(((observed - expected) ** 2 / expected).sum(), len(expected) - 1)


# Means on, just off and between the grid of tables, at its end, and beyond it.
@pytest.mark.parametrize(
    "mean", [1e-3, 0.03, 0.0625, 0.124, 1.0, 3.03, 9.97, 31.99, 32.0, 65.3, 255.0, 300.0, 5000.0]
)
def test_counts_follow_the_poisson_distribution(mean):
    expected = np.full(SHAPE, mean, np.float32)
    counts = poisson_frame(expected, random_state(4, int(mean * 1000)), np.empty(SHAPE, np.uint16))
    mean = float(np.float32(mean))
    error = np.sqrt(mean / counts.size)
    assert abs(counts.mean() - mean) < 4.5 * error
    spread = np.sqrt((2 * mean**2 + mean) / counts.size)  # variance of (n - mean)²
    assert abs(((counts - mean) ** 2).mean() - mean) < 4.5 * spread
    assert chi_square_p(counts, mean) > 1e-4


def test_chi_square_would_notice_a_wrong_mean():
    counts = np.random.default_rng(0).poisson(3.03 * 1.01, SHAPE)
    assert chi_square_p(counts, 3.03) < 1e-4


@pytest.mark.parametrize("mean", [0.2, 4.0, 9.9, 12.0, 80.0])
def test_single_draws_follow_the_poisson_distribution(mean):
    state = random_state(5, int(mean * 10))
    counts = np.array([poisson(mean, state) for _ in range(40000)])
    assert chi_square_p(counts, mean) > 1e-4


def test_neighbouring_pixels_are_independent():
    expected = np.full(SHAPE, 0.7, np.float32)
    counts = poisson_frame(expected, random_state(6, 0), np.empty(SHAPE, np.uint8)) - 0.7
    for lag in (1, 2, 3, SHAPE[1]):
        flat = counts.ravel()
        correlation = (flat[lag:] * flat[:-lag]).mean() / 0.7
        assert abs(correlation) < 4.5 / np.sqrt(flat.size)


def test_same_state_same_counts_other_state_other_counts():
    expected = np.full((20, 20), 2.0, np.float32)
    first, again, other = (
        poisson_frame(expected, random_state(1, *key), np.empty((20, 20), np.uint16))
        for key in ((7, 0), (7, 0), (8, 0))
    )
    assert np.array_equal(first, again)
    assert not np.array_equal(first, other)


def test_counts_stop_at_the_largest_value_and_bad_means_count_as_zero():
    expected = np.array([[300.0, np.nan, -1.0, 1e5]], np.float32)
    counts = poisson_frame(expected, random_state(0, 0), np.empty((1, 4), np.uint8))
    assert counts.tolist() == [[255, 0, 0, 255]]


def test_scale_and_shape_are_checked():
    expected = np.ones((2, 2), np.float32)
    with pytest.raises(ValueError, match="scale"):
        poisson_frame(expected, random_state(0, 0), np.empty((2, 2), np.uint8), -1)
    with pytest.raises(ValueError, match="shape"):
        poisson_frame(expected, random_state(0, 0), np.empty((2, 3), np.uint8))


def test_uniform_numbers():
    state = random_state(9, 0)
    u = np.array([uniform(state) for _ in range(20000)])
    assert stats.kstest(u, "uniform").pvalue > 1e-4


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_counts_are_added_to_those_that_are_there(dtype):
    expected = np.array([[0.5, 20.0, 300.0, 0.0, np.nan]] * 200, np.float32)
    drawn = poisson_frame(expected, random_state(1, 0), np.empty(expected.shape, dtype))
    added = np.full(expected.shape, 7, dtype)
    poisson_frame(expected, random_state(1, 0), added, add=True)
    top = np.iinfo(dtype).max
    np.testing.assert_array_equal(added, np.minimum(drawn.astype(int) + 7, top))


@pytest.mark.parametrize("polarisation", [None, 1.0, 0.3])
def test_sparse_photons_have_the_distribution_of_the_dense_image(tiled_geometry, polarisation):
    geometry = tiled_geometry
    profile = water_profile(geometry, 2e9, 1e-5)
    expected = expected_image(geometry, profile, polarisation, 0.05).astype(float)
    repeats = 60
    total = np.zeros(geometry.shape)
    squares = np.zeros(geometry.shape)
    for n in range(repeats):
        counts = np.zeros(geometry.shape, np.uint32)
        add_sparse_photons(geometry, profile, polarisation, random_state(2, n), counts, 0.05)
        total += counts
        squares += (counts - expected) ** 2
    on = expected > 0
    assert total[~on].sum() == 0
    sigma = np.sqrt(repeats * expected[on])
    pulls = (total[on] - repeats * expected[on]) / sigma
    assert abs(pulls.mean()) < 4.5 / np.sqrt(pulls.size)
    assert abs((pulls**2).mean() - 1) < 4.5 * np.sqrt(2 / pulls.size)
    variance = squares[on].sum() / (repeats * expected[on].sum())
    assert abs(variance - 1) < 0.03


def test_sparse_photons_differ_when_a_factor_is_off(tiled_geometry):
    """The comparison above is sharp enough to see a missing polarisation factor."""
    geometry = tiled_geometry
    profile = water_profile(geometry, 2e9, 1e-5)
    expected = expected_image(geometry, profile, 1.0).astype(float)
    counts = np.zeros(geometry.shape, np.uint32)
    add_sparse_photons(geometry, profile, None, random_state(2, 0), counts)
    on = expected > 0
    pulls = (counts[on] - expected[on]) / np.sqrt(expected[on])
    assert abs(pulls.mean()) > 4.5 / np.sqrt(pulls.size)


def test_sparse_counts_stay_within_their_type(make_geometry):
    geometry = make_geometry((4, 4), 0.05)
    counts = np.zeros((4, 4), np.uint8)
    add_sparse_photons(
        geometry, water_profile(geometry, 1e13, 1e-4), None, random_state(1, 1), counts
    )
    assert counts.max() == 255

"""68 % intervals against plain evaluations of the likelihood, and how often they are right."""

import numpy as np
import pytest

from hitfinder.estimate.estimator import GeometryEstimator
from hitfinder.estimate.ranges import ENERGY_RANGE_EV, LENGTH_RANGE_M


def ends(estimate):
    return np.array(
        [
            [estimate.photon_energy_low_ev, estimate.photon_energy_high_ev],
            [estimate.camera_length_low_m, estimate.camera_length_high_m],
        ]
    )


def held(estimates, true):
    """Shares of estimates whose intervals, and one standard deviation, hold the true values."""
    true = np.asarray(true)
    intervals = np.array([ends(e) for e in estimates])
    inside = (intervals[:, :, 0] <= true) & (true <= intervals[:, :, 1])
    means = np.array([[e.photon_energy_ev, e.camera_length_m] for e in estimates])
    sigmas = np.array([[e.photon_energy_sigma_ev, e.camera_length_sigma_m] for e in estimates])
    return inside.mean(0), (np.abs(means - true) <= sigmas).mean(0)


@pytest.mark.parametrize(("energy", "length", "photons"), [(7000, 0.15, 3e5), (9000, 0.25, 3e4)])
def test_the_likelihood_falls_by_a_half_at_the_ends(estimator, draw, energy, length, photons):
    sums = draw(np.random.default_rng(1), energy, length, photons)
    estimate = estimator.estimate_sums(sums)
    (e_low, e_high), (d_low, d_high) = ends(estimate)
    energies = np.linspace(e_low - (e_high - e_low) / 4, e_high + (e_high - e_low) / 4, 181)
    lengths = np.linspace(d_low - (d_high - d_low) / 4, d_high + (d_high - d_low) / 4, 361)
    logs = np.array(
        [
            [estimator.model.log_likelihood(e, d, sums.counts, sums.exposure) for d in lengths]
            for e in energies
        ]
    )
    for k, values in enumerate((energies, lengths)):
        best = logs.max(axis=1 - k)
        inside = values[best > best.max() - 0.5]
        width = inside[-1] - inside[0]
        assert ends(estimate)[k] == pytest.approx(inside[[0, -1]], abs=0.04 * width)


@pytest.mark.parametrize(("true", "photons"), [((6000.0, 0.25), 1800), ((8000.0, 0.35), 1000)])
def test_intervals_hold_the_truth_wherever_it_is(estimator, draw, true, photons):
    """Few photons leave the mean in the middle of the range: far from 6 keV, close to 8 keV."""
    rng = np.random.default_rng(2)
    by_interval, by_sigma = held(
        [estimator.estimate_sums(draw(rng, *true, photons)) for _ in range(300)], true
    )
    assert by_interval == pytest.approx([0.68, 0.68], abs=0.11)
    assert (np.abs(by_sigma - 0.68) > 0.11).all()


def test_a_value_at_the_end_of_the_range_is_held(estimator, draw):
    """The mean of a posterior that ends there is never within a standard deviation of it."""
    rng, true = np.random.default_rng(3), (ENERGY_RANGE_EV[0], 0.2)
    by_interval, by_sigma = held(
        [estimator.estimate_sums(draw(rng, *true, 1e6)) for _ in range(200)], true
    )
    # Half of the maxima lie at the end, and all of their intervals reach it.
    assert by_interval[0] == pytest.approx(0.84, abs=0.08)
    assert by_sigma[0] < 0.3


def test_without_photons_the_interval_is_the_range(estimator, draw):
    nothing = estimator.estimate_sums(draw(np.random.default_rng(4), 7000.0, 0.3, 0))
    assert np.array_equal(ends(nothing), [ENERGY_RANGE_EV, LENGTH_RANGE_M])


def test_what_is_known_has_no_interval(coarse_geometry, draw):
    sums = draw(np.random.default_rng(5), 8000.0, 0.15, 20000)
    by_energy = GeometryEstimator(coarse_geometry, photon_energy_ev=8000.0).estimate_sums(sums)
    by_length = GeometryEstimator(coarse_geometry, camera_length_m=0.15).estimate_sums(sums)
    assert np.array_equal(ends(by_energy)[0], [8000.0, 8000.0])
    assert np.array_equal(ends(by_length)[1], [0.15, 0.15])
    half = by_energy.camera_length_sigma_m
    assert np.diff(ends(by_energy)[1]) / 2 == pytest.approx(half, rel=0.1)
    half = by_length.photon_energy_sigma_ev
    assert np.diff(ends(by_length)[0]) / 2 == pytest.approx(half, rel=0.1)


def test_no_estimate_has_no_interval(estimator, draw):
    outside = estimator.estimate_sums(draw(np.random.default_rng(6), 20000.0, 0.15, 1e6))
    assert np.isnan(ends(outside)).all()

"""Estimates from frames of the simulator, and what is said of frames that give none."""

import dataclasses

import numpy as np
import pytest

from hitfinder.estimate.bins import block_sum
from hitfinder.estimate.estimator import GeometryEstimator
from hitfinder.estimate.gather import BinSums
from hitfinder.estimate.result import GeometryEstimate, goodness_of_fit
from hitfinder.finding.likelihood import LikelihoodFinder
from hitfinder.simulation.presets import load_settings
from hitfinder.simulation.simulator import Simulator


@pytest.fixture(scope="module")
def simulated():
    """Make the counts of simulated frames as the finder holds them, with their shots."""

    def simulated(preset, n, detector=None, **overrides):
        simulator = Simulator.of(
            load_settings(preset=preset, overrides=overrides), detector=detector
        )
        finder = LikelihoodFinder(simulator.geometry)
        frames = []
        for frame in simulator.frames(n, reuse=True):
            counts, _ = finder.counts_and_background(frame.counts)
            frames.append((counts.copy(), frame.shot))
        return simulator.geometry, frames

    return simulated


def errors(estimator, frames):
    """Errors, standard deviations and bounds, each (n_frames, 2)."""
    rows = []
    for counts, shot in frames:
        estimate = estimator.estimate(counts)
        true = np.array([shot.photon_energy_ev, shot.camera_length_m])
        values = np.array([estimate.photon_energy_ev, estimate.camera_length_m])
        sigma = [estimate.photon_energy_sigma_ev, estimate.camera_length_sigma_m]
        bound = np.sqrt(np.diag(estimator.bound(*true, estimator.sums(counts))))
        rows.append([values - true, sigma, bound])
    return np.array(rows).transpose(1, 0, 2)


@pytest.mark.parametrize("blank", [0.0, 1.0])
def test_a_sparse_frame_with_bragg_peaks_is_as_good_as_its_bound(simulated, blank):
    """Bragg photons outnumber water's; 30 frames, so the ratio has an error of 0.13."""
    geometry, frames = simulated("single-shot", 30, blank_fraction=blank)
    error, sigma, bound = errors(GeometryEstimator(geometry), frames)
    ratio = np.sqrt((error**2).mean(0) / (bound**2).mean(0))
    assert (ratio < 1.45).all()
    assert (np.abs(error) < 4.5 * sigma).all()
    assert np.median(sigma / bound, axis=0) == pytest.approx([1, 1], abs=0.2)


def test_an_integrated_frame_tells_the_nearest_kev_and_cm(simulated):
    geometry, frames = simulated(
        "integrated", 6, **{"detector.camera_length_m": 0.25, "beam.photon_energy_ev": 7000}
    )
    estimator = GeometryEstimator(geometry)
    error, sigma, _ = errors(estimator, frames)
    assert (np.abs(error) < [500, 0.005]).all()
    assert (np.abs(error) < 4 * sigma).all()
    estimate = estimator.estimate(frames[0][0])
    energy, length, probability = estimate.nearest(
        np.arange(5000, 14001, 1000.0), np.arange(0.08, 0.605, 0.01)
    )
    assert (energy, round(length, 3)) == (7000, 0.25)
    assert probability > 0.9


def test_peaks_left_in_would_spoil_it(simulated):
    """The same frames, summed into the bins without cutting: far off, or not like water."""
    geometry, frames = simulated("single-shot", 4)
    estimator = GeometryEstimator(geometry)
    bins = estimator.bins
    for counts, shot in frames:
        all_of_it = bins.sum_of(block_sum(np.maximum(counts, 0).astype(float), bins.block_px))
        bad = estimator.estimate_sums(BinSums(all_of_it, bins.exposure))
        assert bad.flag == "not-water"
        assert estimator.estimate(counts).flag == "ok"
        assert abs(estimator.estimate(counts).photon_energy_ev - shot.photon_energy_ev) < 900


def test_what_is_known_makes_the_other_better(estimator, coarse_geometry, draw):
    sums = draw(np.random.default_rng(1), 8000.0, 0.15, 20000)
    both = estimator.estimate_sums(sums)
    by_energy = GeometryEstimator(coarse_geometry, photon_energy_ev=8000.0).estimate_sums(sums)
    by_length = GeometryEstimator(coarse_geometry, camera_length_m=0.15).estimate_sums(sums)
    information = np.linalg.inv(estimator.bound(8000.0, 0.15, sums))
    assert by_energy.photon_energy_ev == pytest.approx(8000)
    assert by_energy.photon_energy_sigma_ev == 0
    assert by_energy.camera_length_sigma_m == pytest.approx(information[1, 1] ** -0.5, rel=0.1)
    assert abs(by_energy.camera_length_m - 0.15) < 4 * by_energy.camera_length_sigma_m
    assert by_length.camera_length_m == pytest.approx(0.15)
    assert by_length.photon_energy_sigma_ev == pytest.approx(information[0, 0] ** -0.5, rel=0.1)
    assert abs(by_length.photon_energy_ev - 8000) < 4 * by_length.photon_energy_sigma_ev
    assert both.camera_length_sigma_m > 3 * by_energy.camera_length_sigma_m
    assert by_length.flag == by_energy.flag == both.flag == "ok"


def test_few_photons_leave_what_was_known_before(estimator, draw):
    nothing = estimator.estimate_sums(draw(np.random.default_rng(2), 7000.0, 0.3, 0))
    assert nothing.flag == "few-photons"
    assert nothing.photon_energy_ev == pytest.approx(9500, rel=0.01)
    assert nothing.photon_energy_sigma_ev == pytest.approx(10000 / np.sqrt(12), rel=0.02)
    assert np.isnan(nothing.deviance_p)


@pytest.mark.parametrize(("energy", "length"), [(3600, 0.15), (20000, 0.15), (9000, 1.2)])
def test_settings_outside_the_range_are_not_guessed(estimator, draw, energy, length):
    estimate = estimator.estimate_sums(draw(np.random.default_rng(3), energy, length, 1e6))
    assert estimate.flag == "outside"
    assert np.isnan(estimate.photon_energy_ev)
    assert np.isnan(estimate.camera_length_sigma_m)


def test_a_frame_that_is_not_water_gives_nothing(estimator):
    rng = np.random.default_rng(4)
    exposure = estimator.bins.exposure
    halo = exposure * np.exp(-estimator.bins.radius_m / 0.02)[:, None]
    estimate = estimator.estimate_sums(
        BinSums(rng.poisson(halo * 5000 / halo.sum()).astype(float), exposure)
    )
    assert estimate.flag == "not-water"
    assert np.isnan(estimate.photon_energy_ev)
    assert estimate.deviance_p < 1e-4


def test_the_shadow_of_a_beam_stop_is_left_out(estimator, draw):
    sums = draw(np.random.default_rng(5), 6000.0, 0.15, 2e6)
    inner = estimator.bins.radius_m < 0.005
    shadowed = sums.counts.copy()
    shadowed[inner] = np.floor(shadowed[inner] * 0.03)
    estimate = estimator.estimate_sums(BinSums(shadowed, sums.exposure))
    assert estimate.flag == "ok"
    assert abs(estimate.photon_energy_ev - 6000) < 4 * estimate.photon_energy_sigma_ev
    assert estimate.photons < sums.counts.sum()


def test_intervals_hold_their_share(estimator, draw):
    """Over the range and four decades of photons; 68 % within a standard deviation."""
    rng = np.random.default_rng(6)
    within = []
    for _ in range(400):
        energy, length = rng.uniform(5000, 14000), 0.08 * 7.5 ** rng.random()
        estimate = estimator.estimate_sums(draw(rng, energy, length, 500 * 1e4 ** rng.random()))
        away = [estimate.photon_energy_ev - energy, estimate.camera_length_m - length]
        sigma = [estimate.photon_energy_sigma_ev, estimate.camera_length_sigma_m]
        within.append(np.abs(away) < sigma)
    assert np.mean(within, axis=0) == pytest.approx([0.68, 0.68], abs=0.06)


def test_goodness_of_fit_is_uniform_and_sees_a_wrong_curve():
    rng = np.random.default_rng(7)
    model = np.linspace(5, 40, 60)
    p = np.array([goodness_of_fit(rng.poisson(model) * 1.0, model, 3).p for _ in range(400)])
    # Three parameters are not fitted here, so p is a little low.
    assert 0.3 < p.mean() < 0.55
    assert goodness_of_fit(rng.poisson(model[::-1]) * 1.0, model, 3).p < 1e-9
    assert goodness_of_fit(model * 1e4 * 1.01, model * 1e4, 3).p > 0.99


def test_covariance_and_nearest_setting():
    energy, length = (7010.0, 30.0, 6980.0, 7040.0), (0.2526, 0.003, 0.2496, 0.2556)
    estimate = GeometryEstimate(*energy, *length, 0.99, "ok", 0.5, 1e6)
    assert estimate.covariance[0, 1] == pytest.approx(0.99 * 30 * 0.003)
    energies, lengths = [6000.0, 7000.0, 8000.0], [0.24, 0.25, 0.26]
    assert estimate.nearest(energies, lengths)[:2] == (7000.0, 0.25)
    nothing = dataclasses.replace(estimate, photon_energy_ev=np.nan, camera_length_m=np.nan)
    assert np.isnan(nothing.nearest(energies, lengths)[0])
    with pytest.raises(ValueError, match="choose"):
        estimate.nearest([], lengths)


@pytest.mark.parametrize(
    ("options", "name"),
    [
        ({"photon_energy_ev": 2e5}, "photon energy"),
        ({"camera_length_m": -0.1}, "camera length"),
        ({"energy_range_ev": (9000.0, 8000.0)}, "photon energy"),
        ({"temperature_c": 150.0}, "150"),
    ],
)
def test_impossible_settings_are_named(coarse_geometry, options, name):
    with pytest.raises(ValueError, match=name):
        GeometryEstimator(coarse_geometry, **options)


def test_frames_of_another_shape_or_type_are_refused(estimator):
    with pytest.raises(ValueError, match="int32"):
        estimator.sums(np.zeros(estimator.shape, np.uint16))
    with pytest.raises(ValueError, match="shape"):
        estimator.sums(np.zeros((3, 3), np.int32))

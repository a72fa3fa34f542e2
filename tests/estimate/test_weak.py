"""Photons of peaks that are not cut, guessed from those that are."""

import numpy as np
import pytest

from hitfinder.estimate.estimator import GeometryEstimator
from hitfinder.estimate.weak_peaks import CutPeaks
from hitfinder.simulation.presets import load_settings
from hitfinder.simulation.simulator import Simulator

N_RINGS = 90


def cut_peaks(rng, n_peaks, mean, at_pixel=2, by_sum=6):
    """Peaks of exponential intensity, in a ring each; and the photons of those not cut."""
    photons = rng.poisson(rng.exponential(mean, n_peaks))
    rings = rng.integers(20, N_RINGS - 20, n_peaks)

    def rings_of(which, weights=None):
        return np.bincount(rings[which], weights, N_RINGS).astype(float)

    bright, faint = photons >= by_sum, (photons >= at_pixel) & (photons < by_sum)
    weak = photons < at_pixel
    flat = np.ones(N_RINGS)
    cut = CutPeaks(
        rings_of(bright), rings_of(faint), 0 * flat, by_sum * flat, at_pixel * flat, 1e4 * flat
    )
    return cut, rings_of(weak, photons[weak])


@pytest.mark.parametrize("mean", [1.0, 4.0, 20.0])
def test_the_guess_is_right_where_intensities_are_exponential(mean):
    cut, left = cut_peaks(np.random.default_rng(1), 6000, mean)
    assert cut.left().sum() == pytest.approx(left.sum(), rel=0.15)
    middle = slice(30, 60)
    assert cut.left()[middle].sum() == pytest.approx(left[middle].sum(), rel=0.2)


def test_bright_blemishes_alone_leave_nothing():
    flat = np.ones(N_RINGS)
    hot = CutPeaks(2 * flat, 0 * flat, 0.1 * flat, 6 * flat, 2 * flat, 1e4 * flat)
    assert hot.left().sum() < 1e-3 * hot.by_sum.sum()


def test_what_is_cut_by_chance_is_no_peak():
    rng, flat = np.random.default_rng(2), np.ones(N_RINGS)
    for _ in range(100):
        by_pixel = rng.poisson(0.2, N_RINGS).astype(float)
        cut = CutPeaks(0 * flat, by_pixel, 0.2 * flat, 6 * flat, 2 * flat, 1e4 * flat)
        assert not cut.left().any()


def test_weak_peaks_do_not_pull_the_estimate():
    """At 12 keV and 0.1 m a crystal's weak peaks leave 1 % of the photons, all at wide angles.

    Unless they are allowed for, the mean error is more than a standard deviation; 60 frames, so
    it is known to 0.13.
    """
    settings = {
        "detector.name": "eiger-4m-report",
        "beam.photon_energy_ev": 12000,
        "detector.camera_length_m": 0.1,
    }
    simulator = Simulator.of(load_settings(preset="single-shot", overrides=settings))
    estimator = GeometryEstimator(simulator.geometry)
    mask = simulator.geometry.detector.full_mask
    errors = []
    for frame in simulator.frames(60, reuse=True):
        estimate = estimator.estimate(np.where(mask, -1, frame.counts).astype(np.int32))
        away = [estimate.photon_energy_ev - 12000, estimate.camera_length_m - 0.1]
        sigma = [estimate.photon_energy_sigma_ev, estimate.camera_length_sigma_m]
        errors.append(np.divide(away, sigma))
    assert (np.abs(np.mean(errors, 0)) < 0.7).all()
    assert (np.sqrt(np.mean(np.square(errors), 0)) < 1.3).all()


def test_a_detector_may_have_fewer_rings_than_are_counted_together():
    many, few = np.zeros((2, 40)), np.zeros((2, 5))
    many[:, 20:25] = few[:] = [[3, 9, 4, 2, 1], [30, 40, 20, 9, 5]]
    flat = np.ones(40)
    left = CutPeaks(*many, 0 * flat, 6 * flat, 2 * flat, 1e4 * flat).left()
    # Rings without pixels around them are as good as none.
    pixels = np.zeros(40)
    pixels[20:25] = 1e4
    wide = CutPeaks(*many, 0 * flat, 6 * flat, 2 * flat, pixels).left()
    flat = np.ones(5)
    alone = CutPeaks(*few, 0 * flat, 6 * flat, 2 * flat, 1e4 * flat).left()
    assert alone.shape == (5,)
    np.testing.assert_allclose(alone, wide[20:25])
    assert 0 < alone.sum() < left.sum() * 40

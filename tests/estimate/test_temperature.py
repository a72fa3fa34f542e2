"""Water of an unknown temperature."""

import numpy as np
import pytest

from hitfinder.estimate.estimator import GeometryEstimator
from hitfinder.estimate.gather import BinSums
from hitfinder.estimate.temperature import fit_temperature


def warm(coarse_geometry, temperature, photons, seed):
    there = GeometryEstimator(coarse_geometry, temperature_c=temperature)
    exposure = there.bins.exposure
    model = there.model.per_pixel(8000.0, 0.15) * exposure
    rng = np.random.default_rng(seed)
    return BinSums(rng.poisson(model * (photons / model.sum())).astype(float), exposure)


def test_the_temperature_is_found_and_its_error_mended(estimator, coarse_geometry):
    errors, within = [], []
    for seed in range(6):
        sums = warm(coarse_geometry, 33.0, 1e7, seed)
        plain, fitted = estimator.estimate_sums(sums), fit_temperature(estimator, sums, 6.0)
        errors.append([plain.photon_energy_ev - 8000, fitted.estimate.photon_energy_ev - 8000])
        sigma = fitted.estimate.photon_energy_sigma_ev
        within.append([errors[-1][1] / sigma, (fitted.temperature_c - 33) / 1])
        assert fitted.estimate.flag == "ok"
        assert fitted.temperature_sigma_c < 1
    rms = np.sqrt(np.mean(np.square(errors), axis=0))
    assert rms[0] > 200
    assert rms[1] < rms[0] / 8
    assert np.sqrt(np.mean(np.square(within), axis=0)) == pytest.approx([1, 0.3], abs=0.8)


def test_few_photons_leave_the_temperature_as_it_was(estimator, coarse_geometry):
    fitted = fit_temperature(estimator, warm(coarse_geometry, 25.0, 2e4, 1), 0.5)
    assert fitted.temperature_sigma_c == pytest.approx(0.5, rel=0.1)
    assert abs(fitted.temperature_c - 25) < 1


def test_a_known_energy_stays(coarse_geometry):
    known = GeometryEstimator(coarse_geometry, photon_energy_ev=8000.0)
    fitted = fit_temperature(known, warm(coarse_geometry, 28.0, 1e6, 2), 5.0)
    assert fitted.estimate.photon_energy_ev == pytest.approx(8000)
    assert fitted.estimate.photon_energy_sigma_ev == 0
    assert abs(fitted.estimate.camera_length_m - 0.15) < 5 * fitted.estimate.camera_length_sigma_m


def test_an_impossible_sigma_is_refused(estimator, coarse_geometry):
    with pytest.raises(ValueError, match="sigma"):
        fit_temperature(estimator, warm(coarse_geometry, 25.0, 1e4, 3), 0.0)

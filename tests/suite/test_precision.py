"""The least errors of photon energy and camera length, and errors measured against them."""

import math

import numpy as np
import pytest

from hitfinder.estimate.estimator import GeometryEstimator
from hitfinder.estimate.result import GeometryEstimate
from hitfinder.geometry.geometry import Geometry
from hitfinder.geometry.named import named_detector
from hitfinder.simulation.water import expected_water
from hitfinder.suite.precision import SERIES, bound, measured, summary


@pytest.mark.parametrize(
    ("energy", "length", "sigma_ev", "sigma_mm"),
    # With another curve of water's scattering (docs/geometry-estimate.md), at 3e8 photons on 10 µm.
    [(6000, 0.15, 149, 5.6), (8000, 0.15, 220, 4.3), (7000, 0.25, 2300, 108)],
)
def test_the_bound_agrees_with_two_other_computations(energy, length, sigma_ev, sigma_mm):
    geometry = Geometry(named_detector("eiger-4m-report"), length, energy)
    least = bound(geometry, 3e8, 10e-6)
    assert least * [1, 1e3] == pytest.approx([sigma_ev, sigma_mm], rel=0.25)
    # The estimator's own: a multinomial law on rings and azimuths, not counts in pixels.
    estimator = GeometryEstimator(geometry)
    frame = np.random.default_rng(0).poisson(expected_water(geometry, 3e8, 10e-6))
    sums = estimator.sums(frame.astype(np.int32))
    other = np.sqrt(np.diag(estimator.bound(energy, length, sums)))
    assert least == pytest.approx(other, rel=0.04)


def test_four_times_the_photons_halve_the_bound():
    geometry = Geometry(named_detector("eiger-4m-report"), 0.15, 6000)
    once, four_times = (bound(geometry, n * 3e8, 10e-6) for n in (1, 4))
    assert four_times == pytest.approx(once / 2, rel=1e-3)


def estimate(energy, length, sigma=(100.0, 0.01)):
    flag = "ok" if math.isfinite(energy) else "outside"
    ends = [(v - s, v + s) for v, s in zip((energy, length), sigma, strict=True)]
    return GeometryEstimate(
        energy, sigma[0], *ends[0], length, sigma[1], *ends[1], 0.0, flag, 1.0, 1e4
    )


def test_errors_are_counted_in_bounds_and_intervals():
    rng = np.random.default_rng(0)
    true = np.tile([6000.0, 0.15], (2000, 1))
    least = np.tile([100.0, 0.01], (2000, 1))
    drawn = true + least * rng.standard_normal(true.shape) * [1.0, 2.0]
    found = summary([estimate(*row) for row in drawn], true, least)
    assert found["photon_energy"]["rms_over_bound"] == pytest.approx(1, abs=0.06)
    assert found["camera_length"]["rms_over_bound"] == pytest.approx(2, abs=0.12)
    assert found["photon_energy"]["within_68"] == pytest.approx(0.683, abs=0.04)
    assert found["camera_length"]["within_68"] == pytest.approx(0.383, abs=0.04)
    assert found["photon_energy"]["nearest"] > 0.99


def test_a_frame_without_an_estimate_is_not_right():
    true, least = np.tile([6000.0, 0.15], (2, 1)), np.ones((2, 2))
    found = summary([estimate(6010, 0.151), estimate(math.nan, math.nan)], true, least)
    assert found["n_without"] == 1
    assert found["photon_energy"]["nearest"] == 0.5
    assert found["photon_energy"]["rms"] == pytest.approx(10)


@pytest.mark.slow
def test_frames_of_many_photons_come_near_the_bound():
    series = next(s for s in SERIES if s.name == "geometry-100")
    found = measured(series, 60, lambda n: None)
    assert found["n"] == 60
    assert found["photon_energy"]["rms_over_bound"] < 2

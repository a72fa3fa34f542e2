"""Air, protein and ice against known numbers and direct evaluation."""

import dataclasses

import numpy as np
import pytest

from hitfinder.simulation.radial import expected_image, radial_profile
from hitfinder.simulation.scatterers import (
    AIR_MOLECULES_PER_M3,
    air_cross_section_per_m3,
    air_profile,
    ice_cross_section_per_m3,
    ice_rings,
    protein_cross_section_per_m3,
)
from hitfinder.units import CLASSICAL_ELECTRON_RADIUS_M

RE2 = CLASSICAL_ELECTRON_RADIUS_M**2


def test_air_forward_scattering_counts_electrons():
    mean = 0.7808 * 14**2 + 0.2095 * 16**2 + 0.0093 * 18**2
    assert air_cross_section_per_m3(0.0) == pytest.approx(
        AIR_MOLECULES_PER_M3 * RE2 * mean, rel=2e-3
    )
    assert pytest.approx(2.504e25, rel=1e-3) == AIR_MOLECULES_PER_M3


def test_short_air_path_scatters_like_air_at_the_sample(make_geometry):
    geometry = make_geometry()
    near = air_profile(geometry, 1e12, 1e-4)
    at_sample = radial_profile(geometry, lambda q: 1e8 * air_cross_section_per_m3(q))
    for polarisation in (None, 1.0):
        first, second = (expected_image(geometry, p, polarisation) for p in (near, at_sample))
        assert np.allclose(first, second, rtol=3e-3)


@pytest.mark.parametrize("polarisation", [None, 1.0])
def test_long_air_path_is_the_sum_of_samples_nearer_to_the_detector(make_geometry, polarisation):
    geometry = make_geometry(camera_length_m=0.12)
    path, steps = 0.06, 24
    total = np.zeros(geometry.shape)
    for n in range(steps):
        nearer = dataclasses.replace(geometry, camera_length_m=0.12 - (n + 0.5) / steps * path)
        slab = radial_profile(nearer, lambda q: 1e12 * path / steps * air_cross_section_per_m3(q))
        total += expected_image(nearer, slab, polarisation)
    whole = expected_image(geometry, air_profile(geometry, 1e12, path), polarisation)
    assert np.allclose(whole, total, rtol=5e-3)
    at_sample = radial_profile(geometry, lambda q: 1e12 * path * air_cross_section_per_m3(q))
    assert not np.allclose(expected_image(geometry, at_sample, polarisation), total, rtol=0.1)


def test_air_may_not_reach_the_detector(make_geometry):
    with pytest.raises(ValueError, match="camera length"):
        air_profile(make_geometry(camera_length_m=0.1), 1.0, 0.1)


def test_protein_solution_at_zero_angle_and_at_the_guinier_knee():
    """50 mg/ml of lysozyme (14.3 kDa): I(0)/c M about that of the usual contrast."""
    forward = float(protein_cross_section_per_m3(0.0, 50, 14.3))
    # c M (contrast per mass)² / N_A with 2.0e10 cm/g for protein in water.
    textbook = 0.05 * 14300 * (2.0e10) ** 2 / 6.022e23 * 100  # cm⁻¹ to m⁻¹
    assert forward == pytest.approx(textbook, rel=0.3)
    q = np.linspace(0, 1, 20001)
    profile = protein_cross_section_per_m3(q, 50, 14.3)
    assert np.abs(np.diff(profile)).max() < 1e-3 * forward  # no jump where the two parts meet
    assert profile[20000] / profile[10000] == pytest.approx(2.0**-4, rel=1e-6)
    slope = np.polyfit(q[:500] ** 2, np.log(profile[:500]), 1)[0]
    assert np.sqrt(-3 * slope) == pytest.approx(12.4, rel=0.05)


def test_ice_rings_are_those_of_hexagonal_ice():
    q, strength = ice_rings()
    d = 2 * np.pi / q
    for known in (3.90, 3.66, 3.44, 2.67, 2.25, 2.07, 1.95, 1.92, 1.88, 1.72):
        assert np.abs(d - known).min() < 0.012
    strong = d[np.argsort(-strength)[:6]]
    assert set(np.round(strong, 1)) == {3.9, 3.7, 3.4, 2.2, 2.1, 2.7}
    # Powder patterns: the first ring is the strongest, the third a little above the second.
    assert strength[0] > strength[2] > strength[1] > 0.4 * strength[0]


def test_ice_keeps_its_photons_when_rings_widen():
    q = np.linspace(1.0, 4.0, 30001)
    narrow, wide = (np.trapezoid(ice_cross_section_per_m3(q, w), q) for w in (0.005, 0.02))
    assert narrow == pytest.approx(wide, rel=0.01)
    blurred = ice_cross_section_per_m3(q, 0.005, 0.01)
    assert blurred.max() < 0.6 * ice_cross_section_per_m3(q, 0.005).max()


def test_impossible_values():
    with pytest.raises(ValueError, match="-5"):
        protein_cross_section_per_m3(0.1, -5, 10)
    with pytest.raises(ValueError, match="width"):
        ice_cross_section_per_m3(1.0, 0)

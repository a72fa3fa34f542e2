"""Water against published numbers and a plain evaluation of the formula."""

import dataclasses

import numpy as np
import pytest

from hitfinder.simulation.panels import PanelArrays
from hitfinder.simulation.radial import expected_image, radial_profile
from hitfinder.simulation.water import WaterScattering, expected_water
from hitfinder.units import CLASSICAL_ELECTRON_RADIUS_M


@pytest.mark.parametrize("temperature", [1, 25, 77])
def test_table_gives_the_published_values(shared, temperature):
    """Exactly from 1 Å⁻¹ on; below, a smooth curve within their errors."""
    rows = [
        line.split("\t")
        for line in (shared / "water" / "hura_2003_clark_2010.txt").read_text().splitlines()
    ]
    columns = [rows[0].index(name) for name in ("Q", str(temperature), "error")]
    q, value, error = np.array([[row[c] for c in columns] for row in rows[1:] if row[0]], float).T
    ours = WaterScattering(temperature)(q)
    assert np.allclose(ours[q >= 1], value[q >= 1], rtol=1e-12)
    pulls = ((ours - value) / error)[q < 1]
    assert np.sqrt((pulls**2).mean()) < 1.2
    assert np.abs(np.diff(WaterScattering(temperature)(np.linspace(0, 0.7, 15)), 3)).max() < 0.1


def test_forward_scattering_is_that_of_the_compressibility():
    """|F(0)|² = Z² n k T κ with κ = 4.525e-10 Pa⁻¹ at 25 °C (Kell 1975)."""
    water = WaterScattering(25)
    expected = 100 * water.molecules_per_m3 * 1.380649e-23 * 298.15 * 4.525e-10
    assert float(water(0.0)) == pytest.approx(expected, rel=0.08)


def test_between_temperatures_the_value_is_between():
    low, mid, high = (WaterScattering(t)(2.0) for t in (25, 34.5, 44))
    assert mid == pytest.approx((low + high) / 2)


def test_number_density_is_that_of_water():
    assert WaterScattering(20).molecules_per_m3 == pytest.approx(3.33679e28, rel=2e-4)
    assert WaterScattering(25).molecules_per_m3 == pytest.approx(3.33292e28, rel=2e-5)


@pytest.mark.parametrize(
    ("energy", "distance", "photons"),
    [(6000, 0.15, 8.7e3), (8000, 0.15, 1.8e4), (7000, 0.25, 2.2e3), (8000, 0.35, 1.1e3)],
)
def test_photons_of_one_shot_on_an_eiger(make_geometry, energy, distance, photons):
    """One shot of 3e8 photons through 10 µm: totals of an independent calculation (DESIGN)."""
    geometry = make_geometry((216, 207), distance, energy)
    total = expected_water(geometry, 3e8, 1e-5).sum()
    assert total == pytest.approx(photons, rel=0.06)


def plain_water(geometry, *, polarisation=True, solid_angle=True):
    """Formula pixel by pixel from the geometry's own maps."""
    maps = geometry.pixels
    water = WaterScattering()
    image = 3e8 * 1e-5 * water.molecules_per_m3 * CLASSICAL_ELECTRON_RADIUS_M**2
    image = image * water(np.nan_to_num(maps.q))
    if polarisation:
        image = image * maps.polarisation
    flat = np.nanmean(maps.solid_angle)
    return np.nan_to_num(image * (maps.solid_angle if solid_angle else flat))


@pytest.mark.parametrize("fraction", [0.0, 0.5, 1.0])
def test_image_equals_the_formula_on_tilted_panels(tiled_geometry, fraction):
    geometry = dataclasses.replace(tiled_geometry, polarisation=fraction)
    image = expected_water(geometry, 3e8, 1e-5)
    assert np.allclose(image, plain_water(geometry), rtol=2e-3, atol=0)
    assert not np.allclose(image, plain_water(geometry, polarisation=False), rtol=2e-2, atol=0)
    assert not np.allclose(image, plain_water(geometry, solid_angle=False), rtol=2e-2, atol=0)


def test_energy_is_conserved_over_the_whole_sphere_cap(make_geometry):
    """Photons on the detector equal the integral of the cross-section over its solid angle."""
    geometry = make_geometry((400, 400), 0.05, 8000.0)
    profile = radial_profile(geometry, lambda q: np.ones_like(q))
    photons = expected_image(geometry, profile, None).sum(dtype=float)
    half = 200 * 7.5e-4
    # Solid angle of a square seen from above its centre.
    exact = 4 * np.arctan(half**2 / (0.05 * np.sqrt(2 * half**2 + 0.05**2)))
    assert photons == pytest.approx(exact, rel=1e-4)


def test_a_buffer_is_reused(make_geometry):
    geometry = make_geometry()
    buffer = np.empty(geometry.shape, np.float32)
    assert expected_water(geometry, 1e8, 1e-5, out=buffer) is buffer


@pytest.mark.parametrize(
    ("arguments", "name"),
    [((-1, 1e-5), "flux"), ((1e8, -1e-5), "thickness"), ((1e8, 1e-5, 150.0), "150")],
)
def test_impossible_values_are_named(make_geometry, arguments, name):
    with pytest.raises(ValueError, match=name):
        expected_water(make_geometry(), *arguments)


def test_panels_find_where_a_ray_hits(tiled_geometry):
    arrays = PanelArrays.of(tiled_geometry)
    panel = tiled_geometry.detector.panels[2]
    x, y, z = panel.positions(np.array(5.3), np.array(40.7), tiled_geometry.camera_length_m)
    hit = arrays.inverse[2] @ np.array([x, y, z])
    assert hit[:2] / hit[2] == pytest.approx([5.3 - panel.fs_start, 40.7 - panel.ss_start])

import numpy as np
import pytest

from hitfinder.geometry.detector import Detector, Panel
from hitfinder.geometry.geometry import Geometry


@pytest.fixture
def geometry():
    """Two panels, the second turned, and a gap between them."""
    panels = (
        Panel("a", 0, 0, 100, 80, -40.0, -60.0),
        Panel("b", 0, 80, 100, 80, 90.0, -60.0, fs_vector=(0.8, 0.6, 0), ss_vector=(-0.6, 0.8, 0)),
    )
    return Geometry(Detector("two", (160, 110), panels), 0.1, 8000.0)


def test_scattering_vectors_end_on_the_ewald_sphere(geometry):
    rng = np.random.default_rng(1)
    fs, ss = rng.uniform(0, 100, 50), rng.uniform(0, 160, 50)
    q, k = geometry.scattering_vectors(fs, ss), 1 / geometry.wavelength_a
    assert np.linalg.norm(np.add(q, [0, 0, k]), axis=1) == pytest.approx(np.full(50, k))
    maps = geometry.pixels
    i, j = ss.astype(int), fs.astype(int)
    centres = geometry.scattering_vectors(j + 0.5, i + 0.5)
    assert 2 * np.pi * np.linalg.norm(centres, axis=1) == pytest.approx(maps.q[i, j], rel=1e-5)
    across = np.arctan2(centres[:, 1], centres[:, 0])
    assert across == pytest.approx(np.arctan2(maps.y[i, j], maps.x[i, j]), abs=1e-5)
    assert geometry.resolution_a(fs, ss) == pytest.approx(1 / np.linalg.norm(q, axis=1))


def test_places_on_no_panel_have_no_scattering_vector(geometry):
    assert np.isnan(geometry.scattering_vectors([105.0, 5.0], [5.0, 165.0])).all()


def test_a_pixel_spans_as_much_as_its_neighbours_vectors_differ(geometry):
    one, other = geometry.scattering_vectors([40.0, 41.0], [60.0, 60.0])
    assert np.linalg.norm(other - one) == pytest.approx(geometry.pixel_inv_a, rel=1e-4)

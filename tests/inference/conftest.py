import numpy as np
import pytest

from hitfinder.geometry.detector import Detector, Panel
from hitfinder.geometry.experiment import Geometry
from hitfinder.inference.finder import Finder


@pytest.fixture(scope="session")
def small_geometry() -> Geometry:
    """A 400 x 420 detector off the beam axis, with a gap."""
    mask = np.zeros((400, 420), bool)
    mask[196:206] = True
    panel = Panel("p0", 0, 0, 420, 400, -180.0, -210.5)
    return Geometry(Detector("small", (400, 420), (panel,), mask), 0.05, 6000.0)


@pytest.fixture(scope="session")
def finder(small_geometry: Geometry) -> Finder:
    return Finder(small_geometry)


@pytest.fixture(scope="session")
def water_like(small_geometry: Geometry) -> np.ndarray:
    """Expected background with a ring and polarisation, mean 1 photon per unmasked pixel."""
    maps = small_geometry.pixels
    ring = 1 + 4 * np.exp(-0.5 * ((maps.q - 1.0) / 0.3) ** 2)
    expected = ring * maps.solid_angle * maps.polarisation
    expected[small_geometry.detector.full_mask] = 0
    return expected / expected[expected > 0].mean()

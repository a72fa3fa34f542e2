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


@pytest.fixture(scope="session")
def sharp_ring():
    """Expected photons with a sharp ring, and a geometry whose beam centre is 3 pixels off."""
    ss, fs = np.ogrid[:400, :420]
    r = np.hypot(ss + 0.5 - 203, fs + 0.5 - 211)
    panel = Panel("p0", 0, 0, 420, 400, -210.0, -200.0)
    geometry = Geometry(Detector("small", (400, 420), (panel,)), 0.05, 6000.0)
    return 0.5 + 3 * np.exp(-(((r - 150) / 1.5) ** 2) / 2), geometry

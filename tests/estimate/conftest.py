import numpy as np
import pytest

from hitfinder.estimate.estimator import GeometryEstimator
from hitfinder.estimate.gather import BinSums
from hitfinder.geometry.detector import Detector, Panel
from hitfinder.geometry.geometry import Geometry


@pytest.fixture(scope="session")
def coarse_geometry() -> Geometry:
    """A detector as wide as an Eiger 4M but of larger pixels, off the axis, with a gap."""
    mask = np.zeros((540, 520), bool)
    mask[265:275] = True
    panel = Panel("p0", 0, 0, 520, 540, -255.0, -276.5, pixel_size_m=3e-4)
    return Geometry(Detector("coarse", (540, 520), (panel,), mask), 0.15, 6000.0)


@pytest.fixture(scope="session")
def estimator(coarse_geometry) -> GeometryEstimator:
    return GeometryEstimator(coarse_geometry)


@pytest.fixture(scope="session")
def draw(estimator):
    """Draw the bins of a frame of the estimator's own model."""

    def draw(rng, energy, length, photons) -> BinSums:
        exposure = estimator.bins.exposure
        model = estimator.model.per_pixel(energy, length) * exposure
        counts = rng.poisson(model * (photons / model.sum())).astype(float)
        return BinSums(counts, exposure)

    return draw

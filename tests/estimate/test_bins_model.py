"""Bins and model against sums over single pixels, made by the simulator's own code."""

import dataclasses

import numpy as np
import pytest

from hitfinder.estimate.bins import N_AZIMUTHS, PolarBins, block_sum
from hitfinder.estimate.model import WaterModel
from hitfinder.geometry.detector import Panel
from hitfinder.geometry.geometry import Geometry
from hitfinder.geometry.named import named_detector
from hitfinder.simulation.water import expected_water

SETTINGS = [(6000.0, 0.15), (14000.0, 0.08), (9000.0, 0.4)]


def in_bins(bins, image):
    return bins.sum_of(block_sum(image.astype(float), bins.block_px))


def expected_and_model(geometry, bins, model, energy, length):
    """Photons in the bins by the simulator, and by the model at the same total."""
    there = dataclasses.replace(geometry, photon_energy_ev=energy, camera_length_m=length)
    image = np.where(geometry.detector.full_mask, 0, expected_water(there, 6e11, 1e-5))
    truth = in_bins(bins, image)
    ours = model.per_pixel(energy, length) * bins.exposure
    return truth, ours * (truth.sum() / ours.sum())


def test_blocks_hold_all_good_pixels(coarse_geometry):
    bins = PolarBins.of(coarse_geometry)
    assert bins.exposure.sum() == (~coarse_geometry.detector.full_mask).sum()
    assert bins.exposure.shape == (bins.n_rings, N_AZIMUTHS)
    assert np.array_equal(bins.index < 0, bins.n_good == 0)
    lit = bins.exposure.sum(1) > 0
    assert np.all(np.diff(bins.radius_m[lit]) > 0)


@pytest.mark.parametrize(("energy", "length"), SETTINGS)
@pytest.mark.parametrize("polarisation", [1.0, 0.0, 0.5])
def test_model_equals_the_sum_over_pixels(coarse_geometry, energy, length, polarisation):
    """χ² of 0.06 per bin at 30 photons in the brightest pixels: far below the noise."""
    geometry = dataclasses.replace(coarse_geometry, polarisation=polarisation)
    bins = PolarBins.of(geometry)
    model = WaterModel.of(bins, 25)
    truth, ours = expected_and_model(geometry, bins, model, energy, length)
    lit = truth > 0
    per_photon = ((truth - ours)[lit] ** 2 / ours[lit]).sum() / truth.sum()
    assert per_photon < 3e-6
    # The same check fails for the wrong polarisation, and without the shift of the bins' radii.
    flat = dataclasses.replace(model, cells=model.cells * [[[1.0]], [[0.9]]])
    _, wrong = expected_and_model(geometry, bins, flat, energy, length)
    assert ((truth - wrong)[lit] ** 2 / wrong[lit]).sum() / truth.sum() > 3 * per_photon


def test_model_follows_a_tilted_and_shifted_panel(coarse_geometry):
    panel = coarse_geometry.detector.panels[0]
    tilt = np.radians(1.0)
    tilted = dataclasses.replace(
        panel,
        fs_vector=(np.cos(tilt), 0.0, np.sin(tilt)),
        coffset_m=0.02,
    )
    detector = dataclasses.replace(coarse_geometry.detector, panels=(tilted,))
    geometry = dataclasses.replace(coarse_geometry, detector=detector)
    bins = PolarBins.of(geometry)
    model = WaterModel.of(bins, 25)
    truth, ours = expected_and_model(geometry, bins, model, 8000.0, 0.13)
    rings = truth.sum(1), ours.sum(1)
    lit = rings[0] > 0
    assert np.allclose(rings[1][lit], rings[0][lit], rtol=6e-3)
    level = dataclasses.replace(model, rings=model.rings * [[1], [1], [0], [1], [1]])
    _, wrong = expected_and_model(geometry, bins, level, 8000.0, 0.13)
    assert not np.allclose(wrong.sum(1)[lit], rings[0][lit], rtol=2e-2)


def test_several_panels_may_have_other_distances():
    """Two half detectors at different coffset: the model follows their mean to a per cent."""
    left = Panel("l", 0, 0, 200, 400, -200.0, -200.0, pixel_size_m=3e-4)
    right = Panel("r", 200, 0, 200, 400, 0.0, -200.0, pixel_size_m=3e-4, coffset_m=1e-3)
    one = named_detector("eiger2-x-4m")
    detector = dataclasses.replace(one, shape=(400, 400), panels=(left, right), mask=None)
    geometry = Geometry(detector, 0.15, 7000.0)
    bins = PolarBins.of(geometry)
    model = WaterModel.of(bins, 25)
    truth, ours = expected_and_model(geometry, bins, model, 7000.0, 0.15)
    assert np.allclose(ours.sum(1)[1:], truth.sum(1)[1:], rtol=1e-2)
    assert bins.depth_m[20] == pytest.approx(5e-4, rel=0.05)


def test_a_wholly_masked_detector_is_refused(coarse_geometry):
    mask = np.ones(coarse_geometry.shape, bool)
    detector = coarse_geometry.detector.with_mask(mask)
    with pytest.raises(ValueError, match="every pixel"):
        PolarBins.of(dataclasses.replace(coarse_geometry, detector=detector))

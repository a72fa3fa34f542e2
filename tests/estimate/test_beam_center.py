"""The centre of the rings of the background, of frames whose centre is known."""

import numpy as np
import pytest

import hitfinder as hf
from hitfinder.estimate import beam_center
from hitfinder.estimate.beam_center import ring_center

SHAPE, CENTER, SIDE = (400, 440), (230.0, 190.0), 2
CAMERA_M, PIXEL_M, RING_M, WIDTH_M = 0.05, 75e-6, 8e-3, 3e-3


def geometry(center, mask=None):
    flat = hf.Geometry.flat(
        SHAPE, PIXEL_M, camera_length_m=CAMERA_M, photon_energy_ev=9000, beam_center=center
    )
    return flat if mask is None else flat.with_mask(mask)


def rings(photons, shadow=1.0, center=CENTER, seed=1):
    """Add up frames of a detector whose beam centre is `center`, in squares of pixels."""
    pixels = geometry(center).pixels
    radius = np.hypot(pixels.x, pixels.y)
    rate = pixels.solid_angle * pixels.polarisation
    rate = rate * (0.2 + np.exp(-((radius - RING_M) ** 2) / (2 * WIDTH_M**2))) * shadow
    frame = np.random.default_rng(seed).poisson(rate * photons / rate.sum())
    return frame.reshape(SHAPE[0] // SIDE, SIDE, SHAPE[1] // SIDE, SIDE).sum((1, 3))


@pytest.mark.parametrize("wrong", [(8, 0), (-30, 12), (60, 40)])
def test_a_wrong_beam_centre_is_found(wrong):
    taken = geometry((CENTER[0] + wrong[0], CENTER[1] + wrong[1]))
    found = ring_center(rings(3e6), SIDE, taken)
    assert found.far
    assert (found.fs, found.ss) == pytest.approx(CENTER, abs=4 * found.sigma_px)
    assert found.off_px == pytest.approx(np.hypot(*wrong), abs=4 * found.sigma_px)
    assert found.sigma_px < 0.5


def test_many_photons_tell_of_a_few_pixels():
    found = ring_center(rings(1e8), SIDE, geometry((CENTER[0] + 3, CENTER[1] - 4)))
    assert found.far
    assert (found.fs, found.ss) == pytest.approx(CENTER, abs=found.bound_px)


@pytest.mark.parametrize("photons", [2e5, 3e6, 1e8])
def test_a_right_beam_centre_is_not_doubted(photons):
    found = ring_center(rings(photons), SIDE, geometry(CENTER))
    assert not found.far
    assert found.off_px < 5 * found.sigma_px


FS, SS = np.meshgrid(np.arange(SHAPE[1]), np.arange(SHAPE[0]))


@pytest.mark.parametrize(
    "shadow",
    [
        np.where(FS > 230, 0.7, 1.0),
        1 + 0.2 * (FS - 230) / 230,
        np.where((abs(FS - 230) < 30) & (SS < 150), 0.3, 1.0),
        np.where(FS + SS < 250, 0.5, 1.0),
        np.where(FS < 80, 0.1, 1.0),
        np.where((FS < 220) & (SS < 200), 0.95, 1.0),
        np.where(FS < 100, 0.05, 1.0),
    ],
    ids=["half", "gradient", "nozzle", "corner", "edge", "module", "deep"],
)
def test_shadows_pass_for_no_wrong_beam_centre(shadow):
    found = ring_center(rings(3e6, shadow), SIDE, geometry(CENTER))
    assert found is None or not found.far


def test_bright_spots_do_not_move_the_centre():
    total = rings(3e6)
    at = np.random.default_rng(2).integers(0, [[total.shape[0]], [total.shape[1] // 2]], (2, 200))
    total[tuple(at)] += 500
    assert not ring_center(total, SIDE, geometry(CENTER)).far


def test_nothing_is_told_of_few_photons_or_no_rings():
    assert ring_center(rings(5e4), SIDE, geometry(CENTER)) is None
    found = ring_center(np.full((200, 220), 1000), SIDE, geometry(CENTER))
    assert found is None or not found.far


def test_bins_of_bright_peaks_are_left_out_with_their_neighbours():
    counts = np.random.default_rng(4).poisson(10.0, (60, 80)).astype(float)
    counts[20, 30] += 200
    counts[0, 79] += 40
    left = beam_center._without_spots(counts, np.full(counts.shape, 4.0)) > 0
    assert not left[19:22, 29:32].any()
    assert not left[:2, 78:].any()
    assert left.mean() > 0.95

import numpy as np
import pytest

from hitfinder.io.open import open_source
from hitfinder.run.hotpixels import learn_hot_pixels


@pytest.fixture
def frames(water_like):
    rng = np.random.default_rng(1)
    stack = rng.poisson(water_like * 0.02, (40, *water_like.shape)).astype(np.uint16)
    for frame in stack[::3]:
        at = rng.integers(10, 390, (20, 2))
        frame[at[:, 0], at[:, 1]] += 30
    return stack


def add_spot(frame, ss, fs, photons, rng, sigma=0.5):
    """Drop photons around the middle of a pixel with a Gaussian footprint."""
    at = np.floor(rng.normal([ss + 0.5, fs + 0.5], sigma, (rng.poisson(photons), 2))).astype(int)
    np.add.at(frame, tuple(at.T), 1)


def test_pixels_that_fire_in_frame_after_frame_are_hot(small_geometry, frames):
    rng = np.random.default_rng(2)
    frames[:, 50, 60] += 5
    frames[:, 300, 20] += rng.poisson(1.6, 40).astype(np.uint16)
    hot = learn_hot_pixels(open_source(frames), small_geometry)
    assert {tuple(p) for p in np.argwhere(hot).tolist()} == {(50, 60), (300, 20)}


@pytest.mark.parametrize("n_frames", [8, 20, 30])
def test_spots_that_stay_for_a_while_are_not_hot(small_geometry, frames, n_frames):
    rng = np.random.default_rng(3)
    for frame in frames[:n_frames]:
        add_spot(frame, 120, 130, 40, rng)
        add_spot(frame, 60, 230, 12, rng)
    assert not learn_hot_pixels(open_source(frames), small_geometry).any()


def test_one_pattern_in_every_frame_is_not_taken_for_hot_pixels(small_geometry, frames, caplog):
    rng = np.random.default_rng(4)
    # As in simulations without a point spread, two fifths of the spots are in one pixel.
    for k, (ss, fs) in enumerate(rng.integers(5, 390, (40, 2))):
        for frame in frames:
            add_spot(frame, ss, fs, 12, rng, sigma=0.5 if k % 5 < 3 else 0.01)
    assert not learn_hot_pixels(open_source(frames[1::3]), small_geometry).any()
    assert "never turns" in caplog.text


@pytest.mark.parametrize("share", [0.0, 0.2, 0.6])
@pytest.mark.parametrize("level", [0.002, 0.05, 2.0])
def test_many_hot_pixels_are_masked_with_and_without_hits(
    small_geometry, water_like, share, level, caplog
):
    rng = np.random.default_rng(6)
    frames = rng.poisson(water_like * level, (64, *water_like.shape)).astype(np.uint16)
    at = rng.integers(5, 390, (60, 2))
    frames[:, at[:, 0], at[:, 1]] += rng.poisson(rng.uniform(5, 30, 60), (64, 60)).astype("u2")
    for frame in frames[rng.random(64) < share]:
        for ss, fs in rng.integers(5, 390, (30, 2)):
            add_spot(frame, ss, fs, 40, rng)
    hot = learn_hot_pixels(open_source(frames), small_geometry)
    assert hot[at[:, 0], at[:, 1]].mean() > 0.9
    assert hot.sum() <= 61
    assert "never turns" not in caplog.text


def test_pixels_that_flicker_are_hot_if_they_are_bright_alone(small_geometry, frames):
    rng = np.random.default_rng(7)
    at = rng.integers(5, 390, (30, 2))
    for frame in frames:
        on = at[rng.random(30) < 0.25]
        frame[on[:, 0], on[:, 1]] += 12
    hot = learn_hot_pixels(open_source(frames), small_geometry)
    assert hot[at[:, 0], at[:, 1]].mean() > 0.8
    assert hot.sum() <= 30


def test_an_arc_that_never_moves_is_not_a_hot_pixel(small_geometry, frames):
    frames[:, 100:140, 200:203] += 2
    assert learn_hot_pixels(open_source(frames), small_geometry)[102:138, 201].sum() == 0


def test_too_few_frames_teach_nothing(small_geometry, frames):
    frames[:, 50, 60] += 5
    assert not learn_hot_pixels(open_source(frames[:11]), small_geometry).any()

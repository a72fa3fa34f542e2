import numpy as np
import pytest

from hitfinder.inference.hotpixels import learn_hot_pixels
from hitfinder.io.open import open_source


@pytest.fixture
def frames(water_like):
    rng = np.random.default_rng(1)
    stack = rng.poisson(water_like * 0.02, (40, *water_like.shape)).astype(np.uint16)
    for frame in stack[::3]:
        at = rng.integers(10, 390, (20, 2))
        frame[at[:, 0], at[:, 1]] += 30
    return stack


def test_pixels_that_fire_in_frame_after_frame_are_hot(small_geometry, frames):
    rng = np.random.default_rng(2)
    frames[:, 50, 60] += 5
    frames[:, 300, 20] += rng.poisson(1.6, 40).astype(np.uint16)
    hot = learn_hot_pixels(open_source(frames), small_geometry)
    assert {tuple(p) for p in np.argwhere(hot).tolist()} == {(50, 60), (300, 20)}


@pytest.mark.parametrize("n_frames", [8, 20, 30])
def test_spots_that_stay_for_a_while_are_not_hot(small_geometry, frames, n_frames):
    rng = np.random.default_rng(3)
    frames[:n_frames, 120, 130] += rng.poisson(20, n_frames).astype(np.uint16)
    frames[:n_frames, 60, 230] += rng.poisson(6, n_frames).astype(np.uint16)
    assert not learn_hot_pixels(open_source(frames), small_geometry).any()


def test_one_pattern_in_every_frame_is_not_taken_for_hot_pixels(small_geometry, frames, caplog):
    rng = np.random.default_rng(4)
    at = rng.integers(5, 390, (40, 2))
    frames[:, at[:, 0], at[:, 1]] += rng.poisson(12, (40, 40)).astype(np.uint16)
    assert not learn_hot_pixels(open_source(frames[1::3]), small_geometry).any()
    assert "never turns" in caplog.text


def test_an_arc_that_never_moves_is_not_a_hot_pixel(small_geometry, frames):
    frames[:, 100:140, 200:203] += 2
    assert learn_hot_pixels(open_source(frames), small_geometry)[102:138, 201].sum() == 0


def test_too_few_frames_teach_nothing(small_geometry, frames):
    frames[:, 50, 60] += 5
    assert not learn_hot_pixels(open_source(frames[:11]), small_geometry).any()

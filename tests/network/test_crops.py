import numpy as np
import pytest

from hitfinder.network.channels import CHANNELS, SIZE, channels, radial_direction, root_of_window
from hitfinder.network.crops import crops_of

HALF = SIZE // 2


@pytest.fixture
def proposed(finder, water_like):
    rng = np.random.default_rng(3)
    frame = rng.poisson(water_like * 0.05).astype(np.uint16)
    for ss, fs in ((3, 5), (100, 200), (193, 50), (399, 419), (304, 103)):
        frame[ss, fs] = 40
    return frame, finder.propose(frame)


def test_crops_show_the_frame_around_each_candidate(finder, proposed):
    frame, found = proposed
    counts, background = crops_of(found, finder.rings)
    mask = finder.geometry.detector.full_mask
    padded = np.pad(np.where(mask, -1, frame.astype(int)), HALF, constant_values=-1)
    assert len(found.peaks) >= 5
    for crop, around, peak in zip(counts, background, found.peaks, strict=True):
        i, j = int(peak["ss"]), int(peak["fs"])
        assert np.array_equal(crop, padded[i : i + SIZE, j : j + SIZE])
        assert np.array_equal(around > 0, crop >= 0)


def test_crops_of_two_spots_close_together_show_one_each(finder, water_like):
    frame = np.random.default_rng(9).poisson(water_like * 0.01).astype(np.uint16)
    frame[94:108, 94:108] = 0
    frame[99, 99], frame[102, 101] = 60, 25
    found = finder.propose(frame)
    counts, background = crops_of(found, finder.rings)
    for crop, around, peak in zip(counts, background, found.peaks, strict=True):
        if np.hypot(peak["fs"] - 100, peak["ss"] - 100) < 8:
            assert crop[HALF, HALF] in (60, 25)
            assert not (np.isin((60, 25), crop)).all()
            assert np.array_equal(around > 0, crop >= 0)
            assert (crop >= 0).mean() > 0.4


def test_background_is_that_of_the_rings(finder, proposed, water_like):
    _, found = proposed
    counts, background = crops_of(found, finder.rings)
    padded = np.pad(water_like * 0.05, HALF)
    for crop, around, peak in zip(counts, background, found.peaks, strict=True):
        i, j = int(peak["ss"]), int(peak["fs"])
        good = crop >= 0
        true = padded[i : i + SIZE, j : j + SIZE][good]
        assert around[good] == pytest.approx(true, rel=0.3)


def test_marked_counts_are_those_of_the_frame(finder, proposed):
    frame, found = proposed
    assert (found.counts < -1).any()
    counts = np.maximum(found.counts, -2 - found.counts)
    mask = finder.geometry.detector.full_mask
    assert np.array_equal(counts, np.where(mask, -1, frame.astype(np.int32)))


def test_channels_follow_their_formulas():
    counts = np.array([[[0, 3, -1], [1, 0, 500]]], np.int32)
    background = np.array([[[0.5, 2.0, 0.0], [0.001, 4.0, 100.0]]], np.float32)
    direction = np.array([[0.6, 0.8]], np.float32)
    out = np.empty((1, len(CHANNELS), 2, 3), np.float32)
    channels(counts, background, direction, np.array([0.01], np.float32), out)
    n, b = counts[0].astype(float), background[0].astype(float)
    good = n >= 0
    root = 2 * (np.sqrt(n[good] + 0.375) - np.sqrt(b[good] + 0.375)) / 3
    assert out[0, 0][good] == pytest.approx(root, rel=1e-5)
    with np.errstate(divide="ignore", invalid="ignore"):
        log = np.where(n > 0, n * np.log(n / b), 0)
    deviance = np.sign(n - b) * np.sqrt(2 * (log - n + b)) / 3
    assert out[0, 1][good] == pytest.approx(deviance[good], rel=1e-4)
    assert out[0, 3].tolist() == [[1, 1, 0], [1, 1, 1]]
    assert (out[0, :4, 0, 2] == 0).all()
    assert (out[0, 4] == np.float32(0.6)).all()
    assert out[0, 6, 0, 0] == pytest.approx((np.log(0.01001) + 7) / 4)


def test_a_direction_and_its_opposite_are_the_same():
    there = radial_direction(np.array([1.0, 2.0]), np.array([2.0, -1.0]))
    back = radial_direction(np.array([-1.0, -2.0]), np.array([-2.0, 1.0]))
    assert there == pytest.approx(back, abs=1e-6)
    assert radial_direction(np.array([0.0]), np.array([1.0])) == pytest.approx(
        np.array([[-1.0, 0.0]]), abs=1e-6
    )


def test_root_of_window_counts_nine_pixels():
    counts = np.zeros((2, SIZE, SIZE), np.int32)
    counts[0, HALF - 1 : HALF + 2, HALF - 1 : HALF + 2] = 4
    counts[0, HALF + 2, HALF] = 100
    background = np.full((2, SIZE, SIZE), 1.0, np.float32)
    assert root_of_window(counts, background) == pytest.approx([np.sqrt(27), 1.0])

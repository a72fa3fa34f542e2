"""Frames of which few pixels hold a photon: the same as by all pixels, to the last bit."""

import numpy as np
import pytest

from hitfinder.estimate.estimator import GeometryEstimator
from hitfinder.finding import readings
from hitfinder.finding.likelihood import LikelihoodFinder
from hitfinder.geometry.detector import Detector, Panel
from hitfinder.geometry.geometry import Geometry
from hitfinder.results.binned import ImageMaximum, ImageSum, add_frame

SHAPE = (301, 243)


def geometry(saturation=None):
    """Two panels that lie far apart, so that neighbours in the frame are of distant rings."""
    rng = np.random.default_rng(1)
    panels = (
        Panel("a", 0, 0, SHAPE[1], 150, -120.0, -140.0),
        Panel("b", 0, 150, SHAPE[1], 151, 90.0, 60.0),
    )
    mask = rng.random(SHAPE) < 0.002
    mask[:, 100:140] = True
    detector = Detector("two", SHAPE, panels, mask, saturation=saturation)
    return Geometry(detector, 0.05, 6000.0)


def frame_of(rng, kind, rate, n_spots, bright=30):
    frame = rng.poisson(rate, SHAPE)
    for _ in range(n_spots):
        i, j = rng.integers(0, SHAPE[0]), rng.integers(0, SHAPE[1])
        near = np.s_[max(i - 1, 0) : i + 2, max(j - 1, 0) : j + 2]
        frame[near] += rng.poisson(bright / 9, frame[near].shape)
    frame = frame.astype(kind)
    frame[:, 110:120] = np.iinfo(kind).max
    return frame


@pytest.fixture
def by_all_pixels(monkeypatch):
    """A finder that is never told which pixels hold photons."""

    def build(geometry):
        with monkeypatch.context() as patch:
            patch.setattr(readings, "MOST_LIT", 0)
            patch.setattr(readings, "_ROOM", 0)
            return LikelihoodFinder(geometry)

    return build


def assert_same(found, other):
    assert found.peaks.tobytes() == other.peaks.tobytes()
    assert np.array_equal(found.counts, other.counts)
    assert np.array_equal(found.profile, other.profile, equal_nan=True)
    names = ("score", "hit", "photons", "background_per_pixel", "resolution_a", "peaks_left_out")
    for name in names:
        assert np.array_equal(getattr(found, name), getattr(other, name), equal_nan=True), name


@pytest.mark.parametrize("kind", [np.uint8, np.uint16, np.int32, np.int64])
def test_the_same_as_by_all_pixels(by_all_pixels, kind):
    """Frame after frame: what one leaves behind must not show in the next."""
    place = geometry()
    finder, other = LikelihoodFinder(place), by_all_pixels(place)
    estimator = GeometryEstimator(place)
    rng, used = np.random.default_rng(3), 0
    for number in range(40):
        # Some frames are dark, some have photons everywhere, some lose pixels or rows of them.
        rate = (0.002, 0.0, 0.004, 0.3)[number % 4]
        frame = frame_of(rng, kind, rate, number % 7)
        if number % 5 == 2:
            frame.ravel()[rng.integers(0, frame.size, 20)] = np.iinfo(kind).max
        if number % 5 == 3 and np.iinfo(kind).min < 0:
            frame.ravel()[rng.integers(0, frame.size, 9)] = -1
        mask = rng.random(SHAPE) < 0.3 if number % 11 == 10 else None
        found, known = finder(frame, mask), other(frame, mask)
        assert_same(found, known)
        assert known.lit is None
        sums, all_sums = estimator.sums(found.counts, found.lit), estimator.sums(known.counts)
        assert np.array_equal(sums.counts, all_sums.counts)
        assert np.array_equal(sums.exposure, all_sums.exposure)
        if found.lit is not None:
            used += 1
            of_lit, of_all = ImageSum(), ImageSum()
            limit = kind(np.iinfo(kind).max)
            tops = ImageMaximum(), ImageMaximum()
            add_frame(of_lit, tops[0], frame, place.detector.full_mask, limit, found.lit)
            add_frame(of_all, tops[1], frame, place.detector.full_mask, limit)
            assert np.array_equal(of_lit.image, of_all.image)
            assert np.array_equal(tops[0].image, tops[1].image)
    assert used > 15


def test_saturated_pixels(by_all_pixels):
    place = geometry(saturation=20)
    finder, other = LikelihoodFinder(place), by_all_pixels(place)
    rng = np.random.default_rng(5)
    for n_spots in (0, 3, 5, 2):
        frame = frame_of(rng, np.uint16, 0.003, n_spots, bright=900)
        assert_same(finder(frame), other(frame))


def test_very_bright_pixels_and_peaks_at_the_edge(by_all_pixels):
    """Counts beyond what windows of 16 bits can sum."""
    place = geometry()
    finder, other = LikelihoodFinder(place), by_all_pixels(place)
    for at in ((0, 0), (SHAPE[0] - 1, SHAPE[1] - 1), (149, 60), (150, 60), (75, 99)):
        frame = np.zeros(SHAPE, np.uint32)
        frame[at] = 4_000_000
        frame[np.clip(at[0] + 1, 0, SHAPE[0] - 1), at[1]] += 60_000
        assert_same(finder(frame), other(frame))
        assert finder(frame).lit is not None


def test_frames_that_are_no_plain_arrays(by_all_pixels):
    place = geometry()
    finder, other = LikelihoodFinder(place), by_all_pixels(place)
    frame = frame_of(np.random.default_rng(7), np.uint16, 0.002, 3)
    wide = np.zeros((SHAPE[0], 2 * SHAPE[1]), np.uint16)
    wide[:, ::2] = frame
    odd = np.asfortranarray(frame), wide[:, ::2], frame.astype(">u2"), frame.astype(np.float32)
    for one in odd:
        assert_same(finder(one), other(frame))


@pytest.mark.parametrize("rate", [0.0005, 0.002, 0.006])
def test_the_candidates_are_those_of_all_pixels(rate):
    """Most of them are two or three photons that are close together."""
    place = geometry()
    finder, rng = LikelihoodFinder(place), np.random.default_rng(11)
    for n_spots in (0, 4, 30):
        read, rates = finder._counter.count(frame_of(rng, np.uint16, rate, n_spots, bright=6))
        assert read.lit is not None
        near, dropped = finder._search.find(read.counts, rates, read.lit)
        near = near.copy()
        everywhere, _ = finder._search.find(read.counts, rates)
        assert not dropped
        assert np.array_equal(near, everywhere)
        assert n_spots < 30 or len(near) > 100

"""Counts in squares, summed while a frame is copied: the same as from all of its pixels."""

import numpy as np
import pytest

from hitfinder.estimate.bins import block_sum
from hitfinder.estimate.estimator import GeometryEstimator
from hitfinder.finding.likelihood import LikelihoodFinder
from hitfinder.finding.squares import (
    SquareSums,
    bin_side,
    count_unread,
    of_side,
    squares_in,
    sum_squares,
)
from hitfinder.geometry.detector import Detector, Panel
from hitfinder.geometry.geometry import Geometry
from hitfinder.results.binned import ImageMaximum, ImageSum, add_frame, counts_below

SHAPE = (100, 1700)
"""More than 800 pixels along a side: bins of three."""


def geometry(saturation=None):
    panels = (Panel("a", 0, 0, SHAPE[1], SHAPE[0], -SHAPE[1] / 2, -SHAPE[0] / 2),)
    mask = np.random.default_rng(1).random(SHAPE) < 0.01
    return Geometry(Detector("one", SHAPE, panels, mask, saturation=saturation), 0.05, 6000.0)


@pytest.mark.parametrize("side", [1, 2, 3, 4, 5, 6, 8, 9, 12])
def test_squares_are_plain_sums(side):
    rng = np.random.default_rng(side)
    photons = rng.poisson(0.7, (53, 71)).astype(np.int32)
    photons[20, 30] = 1 << 20
    unread, of_peaks = rng.random((2, *photons.shape)) < 0.1
    counts = np.where(of_peaks, -2 - photons, photons).astype(np.int32)
    counts[unread] = -1
    squares = SquareSums.empty(counts.shape, side)
    lost = np.empty_like(squares.total)
    sum_squares(counts, side, squares.total, squares.most)
    count_unread(counts, side, lost)
    photons[unread] = 0
    assert np.array_equal(squares.total, block_sum(photons, side))
    assert np.array_equal(lost, block_sum(unread, side))
    most = np.zeros(squares_in(counts.shape, side), int)
    for (i, j), value in np.ndenumerate(photons):
        most[i // side, j // side] = max(most[i // side, j // side], value)
    assert np.array_equal(squares.most, most)


@pytest.mark.parametrize("saturation", [None, 40.0])
@pytest.mark.parametrize("kind", [np.uint8, np.uint16, np.int32, np.uint32])
def test_a_frame_in_squares_gives_what_its_counts_give(kind, saturation):
    """With pixels lost, few of them saturated, and many."""
    place, rng = geometry(saturation), np.random.default_rng(2)
    find, estimator = LikelihoodFinder(place), GeometryEstimator(place)
    limit, mask = counts_below(np.dtype(kind), saturation), place.detector.full_mask
    pictures, plain = (ImageSum(), ImageMaximum()), (ImageSum(), ImageMaximum())
    for bright, n_lost in ((0.0, 0), (0.0, 9), (0.001, 9), (0.05, 0)):
        frame = rng.poisson(2.0, SHAPE).astype(kind)
        frame[rng.random(SHAPE) < bright] = 60
        frame[50:59, 800:820] += 20
        frame.ravel()[rng.integers(0, frame.size, n_lost)] = np.iinfo(kind).max
        found = find(frame)
        assert {one.side for one in found.squares} == {3, 8}
        sums = estimator.sums(found.counts, squares=found.squares)
        by_counts = estimator.sums(found.counts)
        assert np.array_equal(sums.counts, by_counts.counts)
        assert np.array_equal(sums.exposure, by_counts.exposure)
        add_frame(*pictures, frame, mask, limit, None, found.squares)
        add_frame(*plain, frame, mask, limit)
        for picture, other in zip(pictures, plain, strict=True):
            assert np.array_equal(picture.image, other.image)
        photons = np.maximum(np.where(found.counts < -1, -2 - found.counts, found.counts), 0)
        assert found.photons == photons.sum()


def test_sums_that_may_be_too_large_are_not_taken():
    squares = SquareSums.empty((24, 24), 12)
    assert not squares.summed(1 << 23, 1 << 24, lost=False).cut
    assert squares.summed((1 << 24) - 1, 1 << 24, lost=False).cut
    assert squares.summed(30, 30, lost=False).cut


def test_the_picture_has_800_bins_along_a_side_at_most():
    assert [bin_side(shape) for shape in ((800, 5), (7, 801), (2167, 2070))] == [1, 2, 3]
    one, other = SquareSums.empty((9, 9), 3), SquareSums.empty((9, 9), 4)
    assert of_side((one, other), 4) is other
    assert of_side((one, other), 5) is None

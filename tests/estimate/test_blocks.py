"""Blocks in bins, against plain NumPy."""

import numpy as np
import pytest
from scipy import ndimage

from hitfinder.estimate.blocks import (
    add_blocks,
    add_lit_blocks,
    cut_around,
    highest_rates,
    leave_out,
    list_bright,
)
from hitfinder.finding.squares import sum_squares

SHAPE, N_BINS, N_PIXELS = (31, 37), 12, 64


@pytest.fixture(params=[0.3, 40.0])
def blocks(request):
    """Photons, largest count, readings and bin of blocks, some of them masked or dark."""
    rng = np.random.default_rng(3)
    sums = rng.poisson(request.param, SHAPE).astype(np.int32)
    sums[rng.random(SHAPE) < 0.02] *= 5
    sums[rng.random(SHAPE) < 0.01] = 0
    tops = np.minimum(sums, rng.integers(1, 4, SHAPE)).astype(np.int32)
    good = rng.integers(0, N_PIXELS + 1, SHAPE).astype(np.int32)
    index = np.where(rng.random(SHAPE) < 0.1, -1, rng.integers(0, N_BINS, SHAPE)).astype(np.int32)
    return sums, tops, good, index


def in_bins(values, index, which):
    of = which & (index >= 0)
    return np.bincount(index[of], values[of], N_BINS)


@pytest.mark.parametrize("low", [-1.0, 20.0])
def test_bright_and_dark_blocks_are_left_out_with_those_around_them(blocks, low):
    sums, tops, good, index = blocks
    rng = np.random.default_rng(4)
    middle = int(sums.mean()) + 4
    limits = np.stack([rng.integers(middle, middle + 9, N_BINS), rng.integers(2, 5, N_BINS)])
    known = index >= 0
    of = np.where(known, index, 0)
    by_sum = known & (sums >= limits[0][of])
    bright = by_sum | (known & (tops >= limits[1][of]))
    dark = known & (2 * good >= N_PIXELS) & (sums * N_PIXELS <= low * good)

    n, pixels, cut = np.empty(N_BINS), np.empty(N_BINS), np.zeros((2, N_BINS))
    add_blocks(sums, good, index, n, pixels)
    assert np.array_equal(n, in_bins(sums, index, known))
    assert np.array_equal(pixels, in_bins(good, index, known))
    listed = np.empty(sums.size, np.int32)
    listed = listed[: list_bright(sums, tops, index, np.maximum(limits - 1, 2), listed)]
    assert set(np.flatnonzero(bright)) < set(listed.tolist())
    assert leave_out(listed, *blocks, limits, n, pixels) == bright.sum() > 3
    assert np.array_equal(n, in_bins(sums, index, ~bright))
    cut_around(listed, blocks, limits, np.full(N_BINS, low), N_PIXELS, n, pixels, cut)
    near = ndimage.binary_dilation(bright | dark, np.ones((3, 3)))
    assert np.array_equal(n, in_bins(sums, index, ~bright & ~near))
    assert np.array_equal(pixels, in_bins(good, index, ~bright & ~near))
    ones = np.ones(SHAPE)
    assert np.array_equal(
        cut, [in_bins(ones, index, by_sum), in_bins(ones, index, bright & ~by_sum)]
    )


def test_pixels_with_photons_go_where_their_blocks_go():
    rng = np.random.default_rng(5)
    frame = rng.poisson(0.01, (83, 101)).astype(np.int32)
    sums, tops = np.zeros((2, 11, 13), np.int32)
    sum_squares(frame, 8, sums, tops)
    index = rng.integers(0, N_BINS, sums.shape).astype(np.int32)
    at = np.flatnonzero(frame).astype(np.int32)
    rows = np.searchsorted(at, np.arange(84) * 101)
    n = np.empty(N_BINS)
    add_lit_blocks(at, frame.ravel()[at], rows, 101, 8, index, n)
    assert np.array_equal(n, np.bincount(index.ravel(), sums.ravel(), N_BINS))


def test_the_rate_rises_half_way_to_a_brighter_ring():
    rates = np.array([[1.0, 5.0], [2.0, 4.0], [9.0, 4.4], [3.0, 1.0]])
    exposure = np.array([[1.0, 1.0], [1.0, 1.0], [1.0, 1.0], [0.0, 1.0]])
    highest = np.empty_like(rates)
    highest_rates(rates, exposure, highest)
    # It rises to 1.3 times its own at most, and not to a ring without pixels.
    assert np.allclose(highest, [[1.3, 5.0], [2.6, 4.5], [9.0, 4.4], [3.9, 1.3]])

import pickle

import numpy as np
import pytest

from hitfinder.finding.lit import Lit
from hitfinder.finding.squares import squares_in
from hitfinder.results.binned import (
    PER_COUNT,
    ImageMaximum,
    ImageSum,
    add_binned,
    add_frame,
    counts_below,
)


def plain_bins(frame, mask, limit, size, total, most):
    """One pixel at a time."""
    for (ss, fs), value in np.ndenumerate(frame):
        if 0 < value < limit and not mask[ss, fs]:
            total[ss // size, fs // size] += int(value)
            most[ss // size, fs // size] = max(most[ss // size, fs // size], int(value))


@pytest.mark.parametrize("saturation", [None, 1000.0])
@pytest.mark.parametrize("kind", [np.uint8, np.uint16, np.uint32, np.int16, np.int32, np.uint64])
def test_bins_hold_the_sum_of_their_pixels_however_bright(kind, saturation):
    """Three counts of 1.4e9 and more, or two of 2.1e9, do not fit in 32 bits."""
    rng = np.random.default_rng(7)
    top = min(np.iinfo(kind).max, 1 << 32)
    frame = rng.integers(0, top, (23, 31), endpoint=True, dtype=np.uint64).astype(kind)
    frame[:12] %= kind(30)
    mask = rng.random(frame.shape) < 0.1
    limit = counts_below(frame.dtype, saturation)
    for size in (1, 2, 3, 4, 6):
        total = np.full(squares_in(frame.shape, size), 5, np.int64)
        expected = total.copy()
        tops = np.zeros_like(total)
        plain_bins(frame, mask, limit, size, expected, tops)
        most = np.zeros_like(total)
        add_binned(frame, mask, limit, size, total, most)
        np.testing.assert_array_equal(total, expected)
        np.testing.assert_array_equal(most, tops)


@pytest.mark.parametrize("kind", [np.float32, np.float64])
def test_counts_that_are_no_whole_numbers_are_added_up_in_fractions(kind):
    rng = np.random.default_rng(3)
    frames = rng.exponential(2, (4, 23, 31)).astype(kind)
    frames[0, 0, :3] = np.nan, -1, 1e30
    limit = kind(np.inf)
    mask = rng.random((23, 31)) < 0.1
    mask[0, :3] = False
    total, other = ImageSum(), ImageSum()
    for frame in frames:
        add_frame(total, ImageMaximum(), frame, mask, limit)
    for frame in frames[::-1]:
        add_frame(other, ImageMaximum(), frame, mask, limit)
    assert np.array_equal(total.image, other.image)
    expected = np.where(mask, 0, frames).sum(axis=0)
    np.testing.assert_allclose(total.image[1:], expected[1:], rtol=0, atol=4 / PER_COUNT)
    assert total.image[0, 2] == pytest.approx(
        2**26 + float(frames[1:, 0, 2].sum()), rel=0, abs=0.01
    )


def lit_pixels(frame, mask, limit):
    at = np.flatnonzero((frame > 0) & ~mask).astype(np.int32)
    counts = frame.ravel()[at].astype(np.int32)
    rows = np.searchsorted(at, np.arange(frame.shape[0] + 1) * frame.shape[1])
    none = np.empty(0, np.int32)
    cut = bool((counts >= limit).any())
    return Lit(at, np.minimum(counts, limit), none.astype(np.int16), rows, none, cut)


@pytest.mark.parametrize("kind", [np.uint8, np.int32, np.uint64, np.float32])
def test_the_maximum_is_that_of_each_pixel(kind):
    """Frames of more than 800 pixels a side are in bins of several."""
    rng = np.random.default_rng(5)
    shape = (90, 1700)
    frames = rng.poisson(2, (4, *shape)).astype(kind)
    frames[1, 7, 9] = 200
    frames[2, 8, 8] = 100
    mask = rng.random(shape) < 0.2
    mask[7, 9], mask[8, 8] = True, False
    limit = counts_below(frames.dtype, 100)
    whole, listed = ImageMaximum(), ImageMaximum()
    total, listed_total = ImageSum(), ImageSum()
    for number, frame in enumerate(frames):
        part = ImageMaximum()
        add_frame(total, part, frame, mask, limit)
        whole.merge(part)
        lit = lit_pixels(frame, mask, 100) if number and kind != np.float32 else None
        add_frame(listed_total, listed, frame, mask, limit, lit)
    good = np.where(mask | (frames >= 100), 0, frames).max(axis=0)
    expected = np.zeros((30, 567))
    for (ss, fs), value in np.ndenumerate(good):
        expected[ss // 3, fs // 3] = max(expected[ss // 3, fs // 3], value)
    assert np.array_equal(whole.image, expected)
    assert np.array_equal(listed.image, expected)
    assert np.array_equal(listed_total.image, total.image)
    assert np.array_equal(ImageMaximum.from_array(whole.to_array()).image, expected)


@pytest.mark.parametrize("kind", [ImageSum, ImageMaximum])
def test_what_travels_between_processes_is_small_and_the_same(kind):
    frame = np.random.default_rng(1).poisson(0.1, (900, 1000)).astype(np.uint16)
    both = ImageSum(), ImageMaximum()
    add_frame(*both, frame, np.zeros(frame.shape, bool), np.uint16(60_000))
    made = both[kind is ImageMaximum]
    sent = pickle.dumps(made)
    assert len(sent) < made.image.size + 1000
    back = pickle.loads(sent)
    back.merge(made)
    made.merge(pickle.loads(sent))
    assert np.array_equal(back.image, made.image)
    assert pickle.loads(pickle.dumps(kind())).image is None


def test_sums_of_other_frames_are_not_added():
    one, other, fractions = ImageSum(), ImageSum(), ImageSum()
    mask = np.zeros((4, 5), bool)
    add_frame(one, ImageMaximum(), np.ones((4, 5), np.uint16), mask, np.uint16(9))
    add_frame(other, ImageMaximum(), np.ones((5, 4), np.uint16), mask.T, np.uint16(9))
    add_frame(fractions, ImageMaximum(), np.ones((4, 5), np.float32), mask, np.float32(9))
    for wrong in (other, fractions):
        with pytest.raises(ValueError, match="cannot be added up"):
            one.merge(wrong)
    assert ImageSum().image is None

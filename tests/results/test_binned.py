import numpy as np
import pytest

from hitfinder.results.binned import add_binned, binned_shape, counts_below


def plain_sum(frame, mask, limit, size, total):
    """One pixel at a time."""
    for (ss, fs), value in np.ndenumerate(frame):
        if 0 < value < limit and not mask[ss, fs]:
            total[ss // size, fs // size] += int(value)


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
    for size in (1, 2, 3):
        total = np.full(binned_shape(frame.shape, size), 5, np.int64)
        expected = total.copy()
        plain_sum(frame, mask, limit, size, expected)
        add_binned(frame, mask, limit, size, total)
        np.testing.assert_array_equal(total, expected)

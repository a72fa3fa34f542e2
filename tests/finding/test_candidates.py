import math

import numpy as np
import pytest
from scipy import ndimage

from hitfinder.finding import candidates
from hitfinder.finding.poisson import critical_counts
from hitfinder.finding.rings import Rings


def fast(work, rings, rate, log_p):
    found = candidates.CandidateSearch(rings, log_p, work.size).find(work, rate)[0]
    return {tuple(c) for c in found.tolist()}


def slow(work, rings, rate, log_p):
    """Every pixel and window on its own: the obvious version."""
    counts = np.maximum(work, 0)
    mean = np.where(work >= 0, rings.weight * rate[rings.index], 0)
    hit = np.zeros(work.shape, bool)
    for side in (1, 3, 5):
        sums = ndimage.correlate(counts, np.ones((side, side), int), mode="constant")
        hit |= sums >= critical_counts(mean * side**2, log_p)
    return {tuple(c) for c in np.argwhere(hit & (rings.index >= 0)).tolist()}


@pytest.mark.parametrize("level", [0.002, 0.2, 5.0])
def test_strips_find_what_a_plain_search_finds(small_geometry, level):
    rings = Rings.of(small_geometry)
    rng = np.random.default_rng(5)
    rate = np.full(rings.q.size, level)
    expected = rings.weight * level
    work = rng.poisson(expected).astype(np.int32)
    work.ravel()[rng.integers(0, work.size, 400)] += rng.integers(1, 40, 400).astype(np.int32)
    work[rings.index < 0] = -1
    log_p = math.log(1e-4)
    found = fast(work, rings, rate, log_p)
    near_mask = ndimage.binary_dilation(rings.index < 0, np.ones((5, 5)))
    clear = {c for c in slow(work, rings, rate, log_p - 0.7) if not near_mask[c]}
    assert len(clear) > 300
    assert len(clear - found) <= 0.002 * len(clear)
    assert found <= slow(work, rings, rate, log_p + 2.5)


def plain_search(work, rings, rate, log_p):
    """The same thresholds, pixel by pixel over the whole frame."""
    low, high = candidates.ring_thresholds(rate, rings.weight_range, log_p)[:, :, rings.index]
    dim, bright = rings.weight_range[:, rings.index]
    span = np.where(bright > dim, bright - dim, np.inf)
    allowed = low + ((rings.weight - dim) / span * (high - low)).astype(int)
    counts = np.maximum(work, 0)
    sums = [
        ndimage.correlate(counts, np.ones((n, n), int), mode="constant", output=int)
        for n in (1, 3, 5)
    ]
    return {tuple(c) for c in np.argwhere((sums >= allowed).any(0) & (rings.index >= 0)).tolist()}


@pytest.mark.parametrize("level", [0.002, 0.2, 5.0, 40.0, 3000.0])
def test_sums_of_either_size_give_the_same_as_a_plain_search(small_geometry, level):
    """Up to about 40 photons per pixel sums fit in 16 bits, if the brightest pixels are cut."""
    rings = Rings.of(small_geometry)
    rng = np.random.default_rng(6)
    rate = level * (1 + np.arange(rings.q.size) / 50)
    work = rng.poisson(rings.weight * rate[rings.index]).astype(np.int32)
    work.ravel()[rng.integers(0, work.size, 400)] += rng.integers(1, 1 << 24, 400, np.int32)
    work[rng.random(work.shape) < 0.001] = -1
    work[rings.index < 0] = -1
    expected = plain_search(work, rings, rate, math.log(1e-4))
    assert len(expected) > 5000
    assert fast(work, rings, rate, math.log(1e-4)) == expected


def test_single_bright_pixel_in_a_corner_is_found(small_geometry):
    rings = Rings.of(small_geometry)
    work = np.zeros(rings.index.shape, np.int32)
    work[0, 0] = work[-1, -1] = 9
    found = fast(work, rings, np.full(rings.q.size, 1e-3), math.log(1e-5))
    assert {(0, 0), (work.shape[0] - 1, work.shape[1] - 1)} <= found

import itertools

import numpy as np
import pytest
from scipy import special

from hitfinder.finding import background
from hitfinder.finding.load import load_frame
from hitfinder.finding.rings import Rings
from hitfinder.finding.squares import SquareSums


@pytest.fixture(scope="module")
def rings(small_geometry):
    return Rings.of(small_geometry)


def ring_means(finder, frame):
    """Background per pixel in each ring, as the finder estimates it."""
    counts, rate = finder.counts_and_background(frame)
    assert counts.shape == frame.shape
    rings = finder.rings
    return rate * rings.weight_sum / np.maximum(rings.n_pixels, 1)


def true_means(rings, expected):
    good = rings.index >= 0
    sums = np.bincount(rings.index[good], weights=expected[good], minlength=rings.q.size)
    return sums / np.maximum(rings.n_pixels, 1)


def worst_deviation(finder, frame, expected):
    """Deviation over rings of 200 pixels and more, in units of 5 % plus counting error."""
    rings = finder.rings
    truth = true_means(rings, expected)
    deviation = np.abs(ring_means(finder, frame) - truth)
    noise = 0.05 * truth + 4 * np.sqrt(truth / np.maximum(rings.n_pixels, 1) * 4)
    return (deviation / np.maximum(noise, 1e-12))[rings.n_pixels > 200].max()


@pytest.mark.parametrize("level", [0.01, 0.3, 3.0, 20.0, 300.0])
def test_background_is_right_at_every_level(finder, water_like, level):
    expected = water_like * level
    frame = np.random.default_rng(1).poisson(expected).astype(np.uint32)
    assert worst_deviation(finder, frame, expected) < 1


def test_sparsest_background_is_right_in_total(finder, water_like):
    expected = water_like * 0.0003
    rng = np.random.default_rng(2)
    means = [ring_means(finder, rng.poisson(expected).astype(np.uint16)) for _ in range(40)]
    n = finder.rings.n_pixels
    assert np.mean(means, axis=0) @ n == pytest.approx(expected.sum(), rel=0.1)


def add_spots(frame, rng, n=300, photons=400):
    spotty = frame.copy()
    at = rng.integers(0, frame.size, n)
    spotty.ravel()[at] += np.asarray(photons, frame.dtype)
    return spotty


@pytest.mark.parametrize("level", [0.003, 0.3, 10.0])
def test_bragg_peaks_do_not_raise_the_background(finder, water_like, level):
    rng = np.random.default_rng(3)
    expected = water_like * level
    frame = rng.poisson(expected).astype(np.uint32)
    clean = ring_means(finder, frame) @ finder.rings.n_pixels
    spotty = ring_means(finder, add_spots(frame, rng)) @ finder.rings.n_pixels
    assert spotty == pytest.approx(clean, rel=0.03)


def test_without_clipping_bragg_peaks_would_raise_it(finder, water_like):
    rng = np.random.default_rng(3)
    frame = rng.poisson(water_like * 0.3).astype(np.uint32)
    good = finder.rings.index >= 0
    assert add_spots(frame, rng)[good].mean() > 2 * frame[good].mean()


@pytest.mark.parametrize("p", [0.01, 0.2, 0.999])
def test_histograms_agree_with_numpy(finder, rings, p):
    """Of bright, of middling and of sparse frames, which are gathered in different ways."""
    rng = np.random.default_rng(4)
    frame = rng.negative_binomial(0.3, p, rings.index.shape).astype(np.uint16)
    frame[150, 200:210] = 1000
    work = np.empty(frame.shape, np.int32)
    squares = SquareSums.empty(frame.shape, 4)
    n_bad, n_lit = load_frame(
        *(frame, rings.index, np.uint16(65535), np.uint16(900), work, 8),
        ((squares.side, squares.total, squares.most),),
    )
    frame = np.minimum(frame, 900)
    good = rings.index >= 0
    assert squares.total.sum() == frame[good].sum()
    assert n_bad == (~good).sum()
    assert n_lit == (frame[good] > 0).sum()
    assert squares.most.max() == 900
    assert np.array_equal(work[good], frame[good])
    histogram, sums = background.new_histograms(rings.q.size)
    background.fill_histograms(work, rings.index, np.arange(len(frame)), histogram, sums)
    for ring in (10, 60, 120):
        values = frame[rings.index == ring]
        expected = np.bincount(values[values > 0], minlength=background.EXACT_LEVELS)
        exact = slice(1, background.EXACT_LEVELS)
        assert np.array_equal(histogram[ring, exact], expected[exact])
        bright = values[values >= background.EXACT_LEVELS]
        assert sums[ring].sum() == bright.sum()
        assert histogram[ring, background.EXACT_LEVELS :].sum() == bright.size


def test_levels_rise_with_the_count_up_to_the_limit():
    levels = [background._level(n) for n in range(1, 5000)]
    assert levels[: background.EXACT_LEVELS - 1] == list(range(1, background.EXACT_LEVELS))
    assert all(0 <= b - a <= 1 for a, b in itertools.pairwise(levels))
    assert background._level(1 << 24) < background.N_LEVELS


def test_rings_know_polarisation(small_geometry, rings):
    """Within a ring the weight follows the polarisation, so vertical pixels are brighter."""
    ring = rings.index[200 + 195, 180]
    inside = rings.index == ring
    maps = small_geometry.pixels
    expected = (maps.solid_angle * maps.polarisation)[inside]
    ratio = rings.weight[inside] / expected
    assert ratio.std() < 1e-3 * ratio.mean()
    assert expected.max() > 1.05 * expected.min()


@pytest.mark.parametrize(("radius", "photons"), [(22, 60), (22, 200), (120, 200)])
def test_thin_faint_rings_have_their_own_background(finder, water_like, radius, photons):
    """They hold fewer photons than the background is smoothed over."""
    ss, fs = np.ogrid[: water_like.shape[0], : water_like.shape[1]]
    at = np.hypot(ss + 0.5 - 210, fs + 0.5 - 180)
    light = np.exp(-0.5 * (at - radius) ** 2)
    expected = water_like * 0.005 + light * photons / light.sum()
    frames = np.random.default_rng(6).poisson(expected, (30, *water_like.shape)).astype(np.uint16)
    bright = true_means(finder.rings, light) > 0.3
    truth = true_means(finder.rings, expected)[bright]
    found = np.mean([ring_means(finder, frame)[bright] for frame in frames], axis=0)
    assert found == pytest.approx(truth, rel=0.3)
    assert sum(finder(frame).hit for frame in frames) <= 2


def test_whether_rings_have_one_rate_is_decided_by_the_likelihood_ratio():
    rng = np.random.default_rng(7)
    for counts, others in rng.integers(0, 60, (200, 2)).astype(float):
        share = rng.uniform(0.05, 0.95)
        total = counts + others
        ratio = sum(
            special.xlogy(n, n / (total * part))
            for n, part in ((counts, share), (others, 1 - share))
            if total > 0
        )
        alike = background._alike(counts, share, others, 1 - share)
        assert alike == (2 * ratio <= background._SIGMAS_ALIKE**2)

"""Bins of a frame with Bragg peaks and other blemishes against those of the clean one."""

import math

import numpy as np
import pytest

from hitfinder.estimate.bins import block_sum
from hitfinder.estimate.gather import Gatherer
from hitfinder.simulation.water import expected_water


@pytest.fixture
def expected(coarse_geometry):
    image = expected_water(coarse_geometry, 3e8, 1e-5).astype(float)
    image[coarse_geometry.detector.full_mask] = 0
    return image / image.sum()


def counted(rng, expected, photons, mask):
    return np.where(mask, -1, rng.poisson(expected * photons)).astype(np.int32)


@pytest.mark.parametrize("photons", [3e3, 3e5, 3e7])
def test_a_clean_frame_loses_next_to_nothing(estimator, expected, coarse_geometry, photons):
    """Cutting by chance is rare and allowed for: counts over exposure have no bias."""
    rng = np.random.default_rng(1)
    mask = coarse_geometry.detector.full_mask
    gatherer = Gatherer(estimator.bins)
    n, exposure = 0.0, 0.0
    repeats = 30 if photons < 1e4 else 4
    for _ in range(repeats):
        sums = gatherer.gather(counted(rng, expected, photons, mask))
        n, exposure = n + sums.counts.sum(1), exposure + sums.exposure.sum(1)
    bins = estimator.bins
    rate = bins.sum_of(block_sum(expected, bins.block_px)).sum(1) / bins.exposure.sum(1).clip(1)
    model = rate * exposure * photons
    pulls = ((n - model) / np.sqrt(model.clip(1e-9)))[model > 30]
    assert (pulls**2).mean() < 1.6
    assert abs(n.sum() / model.sum() - 1) < 4 / np.sqrt(model.sum())
    assert sums.exposure.sum() > 0.98 * bins.exposure.sum()


@pytest.mark.parametrize(("rate", "pixel_cut", "block_cut"), [(0.02, 2, 99), (0.3, 9, 9)])
def test_what_cutting_takes_is_allowed_for(estimator, rate, pixel_cut, block_cut):
    """Against the mean of a Poisson law below a cut, term by term."""
    n_bins = estimator.bins.exposure.size
    limits = np.array([[block_cut], [pixel_cut]]) * np.ones((1, n_bins), np.int64)
    kept = Gatherer(estimator.bins)._kept(np.full(n_bins, rate), limits)
    share = 1.0
    for mean, cut in ((rate, pixel_cut), (rate * estimator.bins.block_px**2, block_cut)):
        n = np.arange(cut)
        law = np.exp(n * np.log(mean) - [math.lgamma(k + 1) for k in n])
        share *= (n @ law) / law.sum() / mean
    assert share < 0.99
    assert kept == pytest.approx(share, rel=1e-9)


def test_peaks_hot_pixels_and_their_surroundings_are_cut(estimator, expected, coarse_geometry):
    rng = np.random.default_rng(2)
    mask = coarse_geometry.detector.full_mask
    gatherer = Gatherer(estimator.bins)
    clean = counted(rng, expected, 1e4, mask)
    spotted = clean.copy()
    yy, xx = np.mgrid[-4:5, -4:5]
    spot = np.exp(-(xx**2 + yy**2) / 4)
    for i, j in rng.integers(8, 510, (40, 2)):
        spotted[i - 4 : i + 5, j - 4 : j + 5] += rng.poisson(300 * spot / spot.sum()).astype("i4")
    spotted[mask] = -1
    spotted[rng.random(mask.shape) < 2e-5] = 5000
    spotted[mask] = -1
    before, after = gatherer.gather(clean), gatherer.gather(spotted)
    assert spotted[spotted > 0].sum() > 2 * clean[clean > 0].sum()
    kept = after.exposure.sum() / before.exposure.sum()
    assert 0.85 < kept < 1
    assert after.counts.sum() / before.counts.sum() == pytest.approx(kept, rel=0.02)
    rough = before.counts.sum(1), after.counts.sum(1) / kept
    assert (np.abs(rough[0] - rough[1]) < 6 * np.sqrt(rough[0] + 9)).all()


def test_what_the_finder_has_marked_counts_as_before(estimator, expected, coarse_geometry):
    """It leaves -2 - n where n photons belong to a peak."""
    rng = np.random.default_rng(5)
    counts = counted(rng, expected, 1e5, coarse_geometry.detector.full_mask)
    counts[100:103, 200:203] = 40
    gatherer = Gatherer(estimator.bins)
    before = gatherer.gather(counts)
    counts[100:103, 200:203] = -42
    after = gatherer.gather(counts)
    assert np.array_equal(after.counts, before.counts)
    assert np.array_equal(after.exposure, before.exposure)


def test_pixels_without_a_reading_are_no_exposure(estimator, expected, coarse_geometry):
    rng = np.random.default_rng(3)
    counts = counted(rng, expected, 1e6, coarse_geometry.detector.full_mask)
    gatherer = Gatherer(estimator.bins)
    whole = gatherer.gather(counts)
    counts[:200, ::2] = -1
    part = gatherer.gather(counts)
    assert part.exposure.sum() < 0.85 * whole.exposure.sum()
    ratio = part.counts.sum(1) / part.exposure.sum(1).clip(1)
    full = whole.counts.sum(1) / whole.exposure.sum(1).clip(1)
    lit = part.counts.sum(1) > 2000
    assert np.allclose(ratio[lit], full[lit], rtol=0.12)


def test_a_shadow_across_a_bright_frame_is_cut(estimator, expected, coarse_geometry):
    rng = np.random.default_rng(4)
    counts = counted(rng, expected, 3e7, coarse_geometry.detector.full_mask)
    counts[280:, 240:256] = np.minimum(counts[280:, 240:256], 3)
    sums = Gatherer(estimator.bins).gather(counts)
    lost = estimator.bins.exposure.sum() - sums.exposure.sum()
    assert lost > 0.9 * 250 * 16


def test_of_very_few_photons_none_are_cut(estimator, coarse_geometry):
    """One photon is no peak where none are expected, and rings without photons count too."""
    counts = np.where(coarse_geometry.detector.full_mask, -1, 0).astype(np.int32)
    counts[20::100, 30::100] = np.minimum(counts[20::100, 30::100] + 1, 1)
    gatherer = Gatherer(estimator.bins)
    sums = gatherer.gather(counts)
    assert (gatherer._limits(np.full(sums.counts.size, 1e-7)) == 2).all()
    assert sums.counts.sum() == counts[counts > 0].sum() > 20
    assert sums.exposure == pytest.approx(estimator.bins.exposure, rel=0.01)


@pytest.mark.parametrize(("photons", "raised"), [(3e3, True), (3e5, False)])
def test_barely_cut_peaks_raise_the_exposure_of_sparse_rings(
    estimator, expected, coarse_geometry, photons, raised
):
    rng = np.random.default_rng(6)
    mask = coarse_geometry.detector.full_mask
    counts = counted(rng, expected, photons, mask)
    bright = counts.copy()
    at = rng.integers(8, 510, (60, 2))
    bright[at[:, 0], at[:, 1]] += 2 if raised else 9
    bright[at[:20, 0], at[:20, 1]] += 40
    bright[mask] = -1
    before, after = (Gatherer(estimator.bins).gather(one).exposure for one in (counts, bright))
    assert ((after > before * 1.001).any()) == raised

"""Frames of detectors that do not count: photons with Gaussian noise."""

import numpy as np
import pytest
from scipy.spatial import cKDTree
from scipy.stats import norm, poisson

from hitfinder.finding import noisy
from hitfinder.finding.likelihood import LikelihoodFinder
from hitfinder.geometry.detector import Detector, Panel
from hitfinder.geometry.geometry import Geometry

SHAPE = (400, 400)
GEOMETRY = Geometry(Detector.flat(SHAPE, 75e-6), 0.1, 8000.0)


def two_panels():
    first = GEOMETRY.detector.panels[0]
    halves = [
        Panel(
            name, 0, start, 400, 200, first.corner_x, first.corner_y + start,
            first.fs_vector, first.ss_vector, first.pixel_size_m,
        )
        for name, start in (("a", 0), ("b", 200))
    ]  # fmt: skip
    return Geometry(Detector("two", SHAPE, tuple(halves)), 0.1, 8000.0)


def spots(photons, width=0.7, seed=0):
    """Expected photons of spots 30 pixels apart, and where they are."""
    rng = np.random.default_rng(seed)
    rows, columns = np.mgrid[20:390:30, 20:390:30]
    places = np.stack([columns.ravel(), rows.ravel()], 1) + rng.uniform(0, 1, (rows.size, 2))
    image, reach = np.zeros(SHAPE), np.arange(-5, 6)
    for fs, ss in places:
        i, j = int(ss), int(fs)
        edges = [np.diff(norm.cdf(k + reach, at, width)) for k, at in ((i, ss), (j, fs))]
        image[i - 5 : i + 5, j - 5 : j + 5] += photons * np.outer(*edges)
    return image, places


def drawn(mean, sigma, seed, offset=0.0):
    rng = np.random.default_rng(seed)
    return (rng.poisson(mean) + rng.normal(offset, sigma, SHAPE)).astype(np.float32)


def counts_of(values, sigma, rate):
    flat, counts = np.ones(SHAPE, np.float32), np.zeros(SHAPE, np.int32)
    rates = np.array([float(rate)])
    noisy.final_counts(values, sigma, 1 << 20, 0.5 * flat, flat, rates, counts)
    return counts


@pytest.mark.parametrize("sigma", [0.1, 0.2, 0.3, 0.5])
@pytest.mark.parametrize("rate", [0.004, 0.06, 0.5, 3.0, 20.0, 100.0])
def test_counts_of_a_background_follow_its_poisson_law(sigma, rate):
    counts = counts_of(drawn(np.full(SHAPE, rate), sigma, 3), sigma, rate)
    error = np.sqrt(rate / counts.size)
    assert counts.mean() == pytest.approx(rate, abs=4 * error + 0.03 * rate * (rate < 60))
    # A level of the thresholds stands for backgrounds up to 4 % more and less.
    for k in np.unique(poisson.isf([0.5, 0.05, 0.003], rate)).astype(int):
        expected = poisson.sf(k, rate)
        found = np.mean(counts > k)
        steps = 0.05 * (k + 1) * expected
        assert found == pytest.approx(expected, abs=4 * np.sqrt(expected / counts.size) + steps)


@pytest.mark.parametrize("sigma", [0.1, 0.2, 0.5])
@pytest.mark.parametrize("rate", [0.004, 0.1, 2.0, 90.0])
def test_first_counts_tell_the_background(sigma, rate):
    counts = np.empty(SHAPE, np.int32)
    noisy.first_counts(drawn(np.full(SHAPE, rate), sigma, 4), sigma, 1 << 20, counts)
    told = noisy.true_means(np.array([counts.mean()]), sigma)
    assert told[0] == pytest.approx(rate, rel=0.03, abs=0.003 * sigma)


def test_thresholds_rise_with_the_count_and_fall_with_the_background():
    table = noisy.thresholds(30)
    # What is below nearly all of the background is told from nothing.
    usual = table[noisy.LEVELS_PER_OCTAVE : -4 * noisy.LEVELS_PER_OCTAVE]
    assert (np.diff(usual, axis=1) > 0.5).all()
    assert (np.diff(usual[:, 0]) <= 1e-4).all()


@pytest.mark.parametrize(
    ("sigma", "photons", "least", "lost"),
    # The likelihood ratio of a spot of known place and shape loses 0.00, 0.00, 0.08 and 0.34.
    [(0.1, 8, 0.9, 0.02), (0.2, 8, 0.9, 0.03), (0.3, 8, 0.8, 0.13), (0.5, 12, 0.75, 0.22)],
)
def test_noise_costs_what_it_must(sigma, photons, least, lost):
    image, places = spots(photons)
    find, recall, clean = LikelihoodFinder(GEOMETRY), [], []
    for seed in range(4):
        mean = image + 0.005
        counted = np.random.default_rng(seed).poisson(mean)
        for frame, into in ((counted, clean), (drawn(mean, sigma, seed, 0.05), recall)):
            peaks = find(frame).peaks
            near = cKDTree(np.stack([peaks["fs"], peaks["ss"]], 1)).query(places)[0]
            into.append(np.mean(near < 2.5))
    assert np.mean(recall) >= least
    assert np.mean(recall) >= np.mean(clean) - lost


@pytest.mark.parametrize("sigma", [0.2, pytest.param(0.3, marks=pytest.mark.slow), 0.5])
@pytest.mark.parametrize("rate", [0.005, 0.3, 3.0])
def test_blank_frames_of_noise_hold_no_peaks(sigma, rate):
    find, n_peaks, hits, scores = LikelihoodFinder(GEOMETRY), 0, 0, []
    for seed in range(12):
        found = find(drawn(np.full(SHAPE, rate), sigma, seed, offset=-0.1))
        n_peaks, hits = n_peaks + len(found.peaks), hits + found.hit
        scores.append(found.score)
        mean = found.background_per_pixel
        # Light that faint, and an offset as small, are hardly told apart under much noise.
        assert mean == pytest.approx(rate, rel=0.12, abs=0.06 * sigma**2)
    assert n_peaks <= 1
    assert hits <= 1
    assert np.median(scores) < 1


@pytest.mark.parametrize("sigma", [0.1, 0.2, 0.3])
@pytest.mark.parametrize("photons", [25, 200])
def test_photons_of_a_peak_are_sums_of_values(sigma, photons):
    image, places = spots(photons)
    find = LikelihoodFinder(GEOMETRY)
    told = []
    for frame in (np.random.default_rng(5).poisson(image + 0.01), drawn(image + 0.01, sigma, 5)):
        peaks = find(frame).peaks
        near, which = cKDTree(np.stack([peaks["fs"], peaks["ss"]], 1)).query(places)
        told.append(peaks[which[near < 2.5]])
    counted, measured = told
    assert measured["photons"].mean() == pytest.approx(counted["photons"].mean(), rel=0.03)
    whole = counted["photons"] + counted["background"]
    assert np.allclose(whole, np.rint(whole), atol=1e-3)
    whole = measured["photons"] + measured["background"]
    assert not np.allclose(whole, np.rint(whole), atol=1e-3)
    snr = measured["photons"] / np.sqrt(whole + measured["n_pixels"] * sigma**2)
    np.testing.assert_allclose(measured["snr"], snr, rtol=0.03)


def test_a_common_mode_of_a_panel_makes_no_light():
    geometry = two_panels()
    find, frame = LikelihoodFinder(geometry), drawn(spots(20)[0] + 0.01, 0.2, 8)
    found = find(frame)
    frame[200:] += 0.8
    moved = find(frame)
    assert moved.background_per_pixel == pytest.approx(found.background_per_pixel, rel=0.05)
    assert len(moved.peaks) == pytest.approx(len(found.peaks), abs=2)
    assert len(found.peaks) > 150
    assert moved.peaks["photons"].sum() == pytest.approx(found.peaks["photons"].sum(), rel=0.02)


def test_what_is_no_reading_among_noise_stays_so():
    frame = drawn(np.full(SHAPE, 0.01), 0.2, 8)
    frame[:, :100] = -1
    frame[:, 100:120] = np.nan
    mask = np.zeros(SHAPE, bool)
    mask[:50] = True
    counts = LikelihoodFinder(GEOMETRY)(frame, mask).counts
    np.testing.assert_array_equal(counts == -1, mask | (np.arange(400) < 120))


def test_saturated_pixels_count_as_many_photons_as_the_detector_can():
    detector = Detector("flat", SHAPE, GEOMETRY.detector.panels, saturation=50.0)
    frame = drawn(np.full(SHAPE, 0.01), 0.2, 8)
    frame[10, 10] = 80
    assert LikelihoodFinder(Geometry(detector, 0.1, 8e3))(frame).counts.max() <= 50

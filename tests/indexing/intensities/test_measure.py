"""Intensities of single and overlapping reflections, against closed forms and repetitions."""

import dataclasses

import numpy as np
import pytest
from scipy.optimize import minimize_scalar
from scipy.special import ndtr

from hitfinder.indexing.intensities import kernel
from hitfinder.indexing.intensities.measure import measure
from hitfinder.indexing.intensities.prediction import PredictedReflections

SHAPE = (40, 40)


def predicted(places, spread=0.6, shares=None, model=1.0):
    """Predict round reflections, or one whose shares are given, of equal mean photons."""
    n = len(places)
    pixels, values, first = [], [], [0]
    for fs, ss in places:
        edges = np.arange(SHAPE[0] + 1)
        across, down = (np.diff(ndtr((edges - x) / spread)) for x in (fs, ss))
        image = np.outer(down, across) if shares is None else shares
        lit = np.flatnonzero(image.ravel() > 2e-4)
        pixels.append(lit)
        values.append(image.ravel()[lit])
        first.append(first[-1] + len(lit))
    ones = np.ones(n)
    return PredictedReflections(
        np.stack([np.arange(1, n + 1)] * 3, 1).astype(np.int32),
        np.array([fs for fs, _ in places]),
        np.array([ss for _, ss in places]),
        2 * ones,
        ones,
        ones,
        ones,
        ones,
        model * ones,
        np.nan * ones,
        np.array(first),
        np.concatenate(pixels),
        np.concatenate(values),
    )


def solved(what, counts, background, expected):
    """Measure with given expected photons: intensity, sigma, prior, alone."""
    feet = what.first, what.pixels, what.shares
    groups = kernel.overlaps(*feet, counts.size)
    out = np.full((4, len(what)), float(expected))
    kernel.solve(*feet, groups, counts.ravel(), background.ravel(), out[0].copy(), *out)
    return out


def flat_footprint(n):
    shares = np.zeros(SHAPE)
    shares[10 : 10 + n, 20 : 20 + n] = 1 / n**2
    return shares


@pytest.mark.parametrize("counted", [0, 1, 2, 9, 500])
@pytest.mark.parametrize("expected", [0.01, 3.0])
def test_a_flat_footprint_has_what_was_counted_less_the_background(counted, expected):
    one = predicted([(21.5, 11.5)], shares=flat_footprint(3))
    counts = np.zeros(SHAPE, np.int32)
    counts[11, 21] = counted
    intensity, sigma, *_ = solved(one, counts, np.full(SHAPE, 0.2, np.float32), expected)
    assert intensity[0] == pytest.approx(counted - 9 * 0.2, abs=1e-3)
    # Fisher's information of photons that all pixels share alike: 1 / (I + B).
    likely = (max(intensity[0], 0) + 1) / (1 + 1 / expected)
    likely = max(likely, intensity[0] - 2 * (1 + expected))
    assert sigma[0] == pytest.approx(np.sqrt(likely + 9 * 0.2), rel=1e-4)


def test_above_what_is_expected_the_likelihood_is_largest():
    one = predicted([(20.3, 15.8)])
    rng = np.random.default_rng(0)
    background = rng.uniform(0.5, 3, SHAPE).astype(np.float32)
    share = np.zeros(SHAPE)
    share.flat[one.pixels] = one.shares
    counts = rng.poisson(background + 60 * share).astype(np.int32)

    def minus_log(intensity):
        rate = background + intensity * share
        return -(counts * np.log(rate) - rate).sum()

    best = minimize_scalar(minus_log, bounds=(1, 300), method="bounded", options={"xatol": 1e-6})
    (intensity,), (sigma,), *_ = solved(one, counts, background, 0.5)
    assert intensity == pytest.approx(best.x, abs=0.01)
    step = 0.5
    curvature = (
        minus_log(best.x + step) - 2 * minus_log(best.x) + minus_log(best.x - step)
    ) / step**2
    assert sigma == pytest.approx(curvature**-0.5, rel=0.25)


@pytest.mark.parametrize("background", [0.002, 0.05, 1.0, 20.0])
@pytest.mark.parametrize("expected", [0.3, 2.0, 40.0])
def test_repetitions_scatter_as_stated_about_the_true_intensity(background, expected):
    """Reflections far apart, of exponentially distributed intensities: those of Wilson."""
    places = [(5.5 + 10 * i + 0.3, 5.5 + 10 * j - 0.2) for i in range(4) for j in range(4)]
    many = predicted(places)
    rng = np.random.default_rng(7)
    share = np.zeros((len(places), SHAPE[0] * SHAPE[1]))
    for j in range(len(places)):
        some = slice(many.first[j], many.first[j + 1])
        share[j, many.pixels[some]] = many.shares[some]
    errors, stated = [], []
    for _ in range(900):
        true = rng.exponential(expected, len(places))
        rate = background + true @ share
        counts = rng.poisson(rate).astype(np.int32).reshape(SHAPE)
        intensity, sigma, *_ = solved(
            many, counts, np.full(SHAPE, background, np.float32), expected
        )
        errors.extend(intensity - true)
        stated.extend(sigma)
    errors, stated = np.array(errors), np.array(stated)
    assert abs(errors.mean()) < 4 * errors.std() / np.sqrt(errors.size) + 0.01 * expected
    assert (errors**2).mean() / (stated**2).mean() == pytest.approx(1, abs=0.1)


@pytest.mark.parametrize("true", [0.0, 1.0, pytest.param(2.0, marks=pytest.mark.slow)])
def test_few_photons_are_right_on_average(true):
    """The maximum of the likelihood itself would lie at the edge of what is possible."""
    one = predicted([(20.3, 15.8)])
    share = np.zeros(SHAPE)
    share.flat[one.pixels] = one.shares
    rng = np.random.default_rng(3)
    background = np.full(SHAPE, 0.02, np.float32)
    found = [
        solved(one, rng.poisson(0.02 + true * share).astype(np.int32), background, 1.0)[0][0]
        for _ in range(20_000)
    ]
    assert np.mean(found) == pytest.approx(true, abs=0.04)
    assert np.min(found) < 0


@pytest.mark.parametrize("apart", [1.0, 1.6, 2.5])
def test_overlapping_reflections_are_solved_together(apart):
    two = predicted([(20.2, 20.4), (20.2 + apart, 20.4)])
    share = np.zeros((2, SHAPE[0] * SHAPE[1]))
    for j in range(2):
        some = slice(two.first[j], two.first[j + 1])
        share[j, two.pixels[some]] = two.shares[some]
    rng = np.random.default_rng(1)
    background = np.full(SHAPE, 0.3, np.float32)
    found, stated = [], []
    for _ in range(2500):
        counts = rng.poisson(0.3 + np.array([200.0, 5.0]) @ share).astype(np.int32)
        intensity, sigma, prior, alone = solved(two, counts.reshape(SHAPE), background, 5.0)
        found.append(intensity)
        stated.append(sigma)
    scatter = np.std(found, axis=0)
    assert np.mean(found, axis=0) == pytest.approx([200, 5], abs=4 * scatter.max() / 50)
    assert np.sqrt(np.mean(np.square(stated), axis=0)) == pytest.approx(scatter, rel=0.08)
    if apart == 1.0:
        assert (prior > 1.08 * alone).all()


def test_pixels_without_a_reading_are_made_up_for():
    one = predicted([(20.5, 15.5)])
    counts = np.zeros(SHAPE, np.int32)
    counts.flat[one.pixels] = np.rint(1e5 * one.shares)
    background = np.full(SHAPE, 0.1, np.float32)
    whole, _ = measure([one], counts, background)[0]
    counts[15, 20:] = -1
    part, _ = measure([one], counts, background)[0]
    assert whole["covered"][0] == pytest.approx(1, abs=2e-3)
    assert part["covered"][0] == pytest.approx(
        1 - one.shares[one.pixels // 40 == 15][2:].sum(), 0.1
    )
    assert part["intensity"][0] == pytest.approx(1e5, rel=2e-3)
    assert part["sigma"][0] > 1.1 * whole["sigma"][0]
    assert part["counted"][0] < whole["counted"][0]
    counts[14:17, 19:22] = -1
    assert not len(measure([one], counts, background)[0][0])


def test_reflections_that_nothing_tells_apart_are_left_out():
    three = predicted([(20.2, 20.4), (20.21, 20.4), (30.0, 10.0)])
    counts = np.zeros(SHAPE, np.int32)
    counts[20, 20] = 9
    table, _ = measure([three], counts, np.full(SHAPE, 0.1, np.float32))[0]
    assert table["h"].tolist() == [3]


def test_what_is_expected_is_learnt_from_the_frame():
    places = [(5.5 + 10 * i, 5.5 + 10 * j) for i in range(4) for j in range(4)]
    many = predicted(places, model=0.01)
    counts = np.zeros(SHAPE, np.int32)
    counts.flat[many.pixels] = np.rint(1e4 * many.shares)
    table, scale = measure([many], counts, np.full(SHAPE, 0.1, np.float32))[0]
    assert scale == pytest.approx(1e6, rel=0.01)
    assert table["expected"] == pytest.approx(1e4, rel=0.01)


@pytest.mark.parametrize("photons", [0.3, 2.0])
@pytest.mark.parametrize("structure_is_known", [False, True])
def test_frames_of_few_photons_tell_their_scale_and_scatter(photons, structure_is_known):
    """Of few counts the small ones have small deviations: they must not pull the scale down."""
    places = [(5.5 + 10 * i + 0.3, 5.5 + 10 * j - 0.2) for i in range(4) for j in range(4)]
    many = predicted(places)
    share = np.zeros((len(places), SHAPE[0] * SHAPE[1]))
    for j in range(len(places)):
        some = slice(many.first[j], many.first[j + 1])
        share[j, many.pixels[some]] = many.shares[some]
    rng = np.random.default_rng(2)
    background = np.full(SHAPE, 0.005, np.float32)
    scales, errors, stated = [], [], []
    for _ in range(800):
        true = rng.exponential(photons, len(places))
        if structure_is_known:
            many = dataclasses.replace(many, f_squared=true)
        counts = rng.poisson(0.005 + true @ share).astype(np.int32).reshape(SHAPE)
        table, scale = measure([many], counts, background)[0]
        scales.append(scale)
        errors.extend(table["intensity"] - true)
        stated.extend(table["sigma"])
    right = 1.0 if structure_is_known else photons
    assert np.mean(scales) == pytest.approx(right, rel=0.06)
    assert np.mean(np.square(errors)) / np.mean(np.square(stated)) == pytest.approx(1, abs=0.12)


def test_a_frame_without_reflections_has_an_empty_table():
    none = predicted([(20.2, 20.4)])
    none = PredictedReflections(
        *(getattr(none, name)[:0] for name in list(none.__dataclass_fields__)[:10]),
        np.zeros(1, np.int64), none.pixels[:0], none.shares[:0],
    )  # fmt: skip
    table, scale = measure([none], np.zeros(SHAPE, np.int32), np.ones(SHAPE, np.float32))[0]
    assert len(table) == 0
    assert scale == 0

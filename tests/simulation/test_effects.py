import numpy as np
import pytest
from scipy import stats

from hitfinder.simulation.effects import BeamStop, DetectorEffects
from hitfinder.simulation.rng import random_state

SHAPE = (200, 300)
ACTIVE = np.ones(SHAPE, bool)
NONE = (np.zeros(0, np.int64), np.zeros(0, np.int64), np.zeros(0))


def test_dead_and_hot_pixels_stay_where_they_are():
    effects = DetectorEffects(dead_fraction=0.01, hot_fraction=0.002, hot_counts=500)
    active = ACTIVE.copy()
    active[:50] = False
    pixels = effects.pixels(active, np.random.default_rng(1))
    again = effects.pixels(active, np.random.default_rng(1))
    assert all(np.array_equal(a, b) for a, b in zip(pixels, again, strict=True))
    dead, hot, means = pixels
    assert (len(dead), len(hot)) == (450, 90)
    assert not set(dead) & set(hot)
    assert min(dead.min(), hot.min()) >= 50 * 300
    assert 1 <= means.min() < 5 < 100 < means.max() <= 500
    total = np.zeros(SHAPE)
    for n in range(40):
        counts = np.full(SHAPE, 7, np.uint16)
        effects.apply(counts, pixels, random_state(1, n))
        total += counts
    flat = total.reshape(-1)
    assert not flat[dead].any()
    expected = 40 * (means + 7)
    assert np.abs((flat[hot] - expected) / np.sqrt(40 * means)).max() < 5
    rest = np.setdiff1d(np.arange(flat.size), np.concatenate([dead, hot]))
    assert (flat[rest] == 280).all()


def test_counts_stop_at_the_depth():
    effects = DetectorEffects(bits=8, hot_fraction=1.0, hot_counts=1e6)
    pixels = effects.pixels(ACTIVE, np.random.default_rng(1))
    counts = np.full(SHAPE, 200, effects.dtype)
    effects.apply(counts, pixels, random_state(1, 0))
    assert counts.max() == 255
    assert counts.min() >= 200


@pytest.mark.parametrize("most", [100.0, 1000.0])
def test_dead_time_takes_the_share_of_a_fixed_dead_time(most):
    counts = np.array([[0, 1, 10, 100, 60000]], np.uint16)
    expected = counts / (1 + counts / most)
    DetectorEffects(most_counts=most).apply(counts, NONE, random_state(0, 0))
    assert np.allclose(counts, expected, atol=0.51)
    assert counts.max() <= most


def test_one_count_per_pulse():
    counts = np.array([[0, 1, 2, 50]], np.uint16)
    effects = DetectorEffects(one_count_per_pulse=True)
    effects.apply(counts, NONE, random_state(0, 0), pulses=1)
    assert counts.tolist() == [[0, 1, 1, 1]]
    # 30 photons over 20 pulses: the mean number of pulses that hold one or more.
    counts = np.full(SHAPE, 30, np.uint16)
    effects.apply(counts, NONE, random_state(0, 1), pulses=20)
    mean = 20 * (1 - (1 - 1 / 20) ** 30)
    spread = counts.std() / np.sqrt(counts.size)
    assert abs(counts.mean() - mean) < 4.5 * spread
    # Poisson light stays Binomial(pulses, 1 - exp(-mean / pulses)) per pixel.
    light = np.random.default_rng(2).poisson(12, SHAPE).astype(np.uint16)
    effects.apply(light, NONE, random_state(0, 2), pulses=20)
    share = 1 - np.exp(-12 / 20)
    observed = np.bincount(light.ravel(), minlength=21)[:21]
    pmf = stats.binom.pmf(np.arange(21), 20, share) * light.size
    good = pmf > 10
    assert (
        stats.chisquare(observed[good], pmf[good] * observed[good].sum() / pmf[good].sum())[1]
        > 1e-4
    )


def test_no_effects_change_nothing():
    counts = np.random.default_rng(0).poisson(3, SHAPE).astype(np.uint16)
    before = counts.copy()
    effects = DetectorEffects()
    effects.apply(counts, effects.pixels(ACTIVE, np.random.default_rng(0)), random_state(0, 0))
    assert np.array_equal(counts, before)


def test_beam_stop_and_its_arm(make_geometry):
    geometry = make_geometry((100, 120), pixel_size_m=1e-3)
    shadow = BeamStop(10.0, 4.0, 0.0).shadow(geometry)
    ss, fs = np.indices(shadow.shape) + 0.5
    disc = np.hypot(fs - 60, ss - 50) < 10
    arm = (fs > 60) & (np.abs(ss - 50) < 2)
    assert np.array_equal(shadow, disc | arm)
    assert not BeamStop().shadow(geometry).any()


@pytest.mark.parametrize(
    "changes",
    [
        {"bits": 12},
        {"dead_fraction": -0.1},
        {"hot_fraction": 1.1},
        {"hot_counts": 0},
        {"most_counts": -1},
    ],
)
def test_impossible_effects(changes):
    with pytest.raises(ValueError):
        DetectorEffects(**changes)
    with pytest.raises(ValueError, match="beam stop"):
        BeamStop(-1.0)

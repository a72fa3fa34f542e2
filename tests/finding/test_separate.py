"""Two spots close together are two peaks, and a streak is one, however long and however faint."""

import math

import numpy as np
import pytest

from hitfinder.finding import spread
from hitfinder.finding.separate import are_two, outward

BACKGROUND = 0.005
ROOM = 34


def places(rng, n):
    """Middles of n spots far from one another, the gap and the edges."""
    grid = np.mgrid[ROOM:380:ROOM, ROOM:400:ROOM].reshape(2, -1).T
    grid = grid[np.abs(grid[:, 0] - 201) > 20]
    return rng.permutation(grid)[:n] + rng.uniform(-4, 4, (n, 2))


def frame_of(rng, shape, photons, sigma):
    """A frame over an even background, with photons at these (ss, fs), blurred."""
    frame = rng.poisson(BACKGROUND, shape)
    at = np.floor(rng.normal(photons, sigma)).astype(int)
    np.add.at(frame, tuple(at.T), 1)
    return frame.astype(np.uint16)


def peaks_at(found, middles, px):
    apart = np.hypot(found["ss"] - middles[:, :1], found["fs"] - middles[:, 1:])
    return (apart < px).sum(1)


@pytest.mark.parametrize(
    ("apart", "sigma", "least"), [(3, 0.3, 0.95), (3, 0.5, 0.75), (4, 0.5, 0.95)]
)
def test_pairs_of_twenty_photons_are_told_apart(finder, apart, sigma, least):
    rng = np.random.default_rng(apart)
    two = []
    for _ in range(3):
        middles = places(rng, 50)
        angle = rng.uniform(0, 2 * np.pi, 50)
        half = 0.5 * apart * np.stack([np.sin(angle), np.cos(angle)], 1)
        spots = np.concatenate([middles - half, middles + half])
        photons = np.repeat(spots, rng.poisson(20, 100), 0)
        found = finder(frame_of(rng, finder.geometry.shape, photons, sigma)).peaks
        both = peaks_at(found, middles - half, 1.2) + peaks_at(found, middles + half, 1.2)
        two.append((both == 2) & (peaks_at(found, middles, 10) == 2))
    assert np.mean(two) >= least


def streaks(rng, middles, along, photons, length):
    """Photons of streaks of even brightness along or across the radius."""
    out = []
    for ss, fs in middles:
        x, y = along(int(ss), int(fs))
        at = rng.uniform(-length / 2, length / 2, rng.poisson(photons))
        out.append(np.stack([ss + at * y, fs + at * x], 1))
    return np.concatenate(out)


@pytest.mark.parametrize("photons", [40, 100, 300])
@pytest.mark.parametrize("length", [6, 14])
def test_streaks_along_the_radius_are_kept_whole(finder, photons, length):
    rng = np.random.default_rng(photons)
    position = finder.rings.position
    n = []
    for _ in range(3):
        middles = places(rng, 40)
        drawn = streaks(rng, middles, lambda i, j: outward(i, j, position), photons, length)
        found = finder(frame_of(rng, finder.geometry.shape, drawn, 0.35)).peaks
        n.append(peaks_at(found, middles, 12))
    assert (np.array(n) > 1).mean() <= 0.04


@pytest.mark.parametrize("photons", [40, 300])
def test_arcs_around_the_beam_are_kept_whole(finder, photons):
    rng = np.random.default_rng(photons)
    position = finder.rings.position
    n = []
    for _ in range(3):
        middles = places(rng, 40)
        drawn = []
        for ss, fs in middles:
            x, y = outward(int(ss), int(fs), position)
            at = rng.normal(0, 2.5, rng.poisson(photons))
            drawn.append(np.stack([ss + at * x, fs - at * y], 1))
        found = finder(frame_of(rng, finder.geometry.shape, np.concatenate(drawn), 0.4)).peaks
        n.append(peaks_at(found, middles, 12))
    assert (np.array(n) > 1).mean() <= 0.04


def test_outward_is_away_from_the_beam_axis(finder):
    pixels = finder.geometry.pixels
    for i, j in ((20, 30), (390, 20), (100, 400)):
        x = np.array([pixels.x[i, j + 1] - pixels.x[i, j], pixels.y[i, j + 1] - pixels.y[i, j]])
        y = np.array([pixels.x[i + 1, j] - pixels.x[i, j], pixels.y[i + 1, j] - pixels.y[i, j]])
        away = np.array([pixels.x[i, j], pixels.y[i, j]])
        expected = np.array([away @ x, away @ y])
        expected /= np.hypot(*expected)
        assert outward(i, j, finder.rings.position) == pytest.approx(expected, abs=0.05)


def near_of(counts, means, part):
    """The pixels of an image, as `finding.spread` takes them."""
    ss, fs = np.indices(counts.shape).reshape(2, -1)
    near = np.zeros((spread.N_NEAR + 2, counts.size))
    near[spread.FS], near[spread.SS] = fs, ss
    near[spread.COUNTS], near[spread.BACKGROUND] = counts.ravel(), means
    near[spread.PART] = np.where(counts.ravel() > 0, part.ravel(), -1)
    return near


def log_likelihood(counts, means):
    return float((counts * np.log(means) - means).sum())


U, V = np.meshgrid(np.arange(21) - 10.0, np.arange(21) - 10.0)
PROFILES = {
    "gaussian": lambda u: np.exp(-0.5 * (u / 2.5) ** 2),
    "even": lambda u: np.vectorize(math.erf)((u + 4) / 0.7) - np.vectorize(math.erf)((u - 4) / 0.7),
    "uneven": lambda u: np.exp(-0.5 * (u / np.where(u < 0, 0.7, 4.0)) ** 2),
}


@pytest.mark.parametrize("angle", [0.0, 0.6])
@pytest.mark.parametrize(("profile", "most"), [("gaussian", 4), ("even", 4), ("uneven", 10)])
def test_a_streak_is_explained_as_well_as_by_what_it_was_drawn_from(profile, most, angle):
    along = U * math.cos(angle) + V * math.sin(angle)
    across = V * math.cos(angle) - U * math.sin(angle)
    image = PROFILES[profile](along) * np.exp(-0.5 * (across / 0.8) ** 2)
    means = 300 * image / image.sum() + BACKGROUND
    short = []
    for seed in range(20):
        counts = np.random.default_rng(seed).poisson(means)
        near = near_of(counts, BACKGROUND, np.zeros(counts.shape))
        shape = np.empty(spread.N_SHAPE)
        spread.shape_of(near, counts.size, spread.ALL, shape)
        best = spread.log_streak(near, counts.size, shape, near[spread.N_NEAR :])
        short.append(log_likelihood(counts, means) - best)
    assert np.mean(short) < most


def test_two_spots_are_explained_by_themselves_and_by_no_streak():
    image = sum(np.exp(-0.5 * ((U - x) ** 2 + V**2) / 0.6) for x in (-2.0, 2.0))
    means = 60 * image / image.sum() + BACKGROUND
    counts = np.random.default_rng(1).poisson(means)
    near = near_of(counts, BACKGROUND, U > 0)
    shapes, light = np.empty((2, spread.N_SHAPE)), near[spread.N_NEAR :]
    assert are_two(near, counts.size, 0.0, 1.0, shapes)
    assert shapes[:, 1] == pytest.approx([8, 12], abs=0.4)
    assert spread.widths_apart(shapes) == pytest.approx(4 / math.sqrt(0.6), rel=0.2)
    assert shapes[0, 3] == shapes[0, 4] == shapes[1, 3]
    both = spread.log_spots(near, counts.size, True, shapes, light)
    # A fit of five numbers is a few units better than the truth.
    assert -8 < log_likelihood(counts, means) - both < 1
    shape = np.empty(spread.N_SHAPE)
    spread.shape_of(near, counts.size, spread.ALL, shape)
    assert both - spread.log_streak(near, counts.size, shape, light) > 5


def test_more_is_asked_of_two_spots_along_the_radius():
    image = sum(np.exp(-0.5 * ((U - x) ** 2 + V**2) / 1.2) for x in (-1.6, 1.6))
    answers = []
    for seed in range(100):
        counts = np.random.default_rng(seed).poisson(36 * image / image.sum() + BACKGROUND)
        near = near_of(counts, BACKGROUND, U > 0)
        shapes = np.empty((2, spread.N_SHAPE))
        answers.append(
            [are_two(near, counts.size, *way, shapes) for way in ((0.0, 1.0), (1.0, 0.0))]
        )
    across, along = np.array(answers).T
    assert (across >= along).all()
    assert across.sum() > along.sum() + 5

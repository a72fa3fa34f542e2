"""The search of a frame's pixels for a known crystal, on simulated frames."""

import itertools

import numpy as np
import pytest
from scipy.spatial.transform import Rotation
from scipy.stats import poisson

from hitfinder.crystal.lattice import lattice_of
from hitfinder.finding.likelihood import LikelihoodFinder
from hitfinder.indexing.known import pixels
from hitfinder.indexing.known import predict as predicting
from hitfinder.indexing.known.background import background_image
from hitfinder.indexing.known.chance import Chance, scrambled
from hitfinder.indexing.known.crystal import KnownCrystal
from hitfinder.indexing.known.families import (
    LOWEST,
    N_STEPS,
    PER_E,
    PER_UNIT,
    rotation,
    vote,
)
from hitfinder.indexing.known.judging import grid_steps, judge
from hitfinder.indexing.known.pairs import (
    FAMILIES,
    MOST_PIXELS,
    bright_pairs,
    weakest_crystal,
)
from hitfinder.indexing.known.posterior import posterior
from hitfinder.indexing.known.search import search
from hitfinder.simulation.crystals import structure_factors
from hitfinder.simulation.simulator import Simulator
from indexing.simulated import settings


def simulated(**changes):
    return Simulator.of(settings(**changes))


@pytest.fixture(scope="module")
def factors():
    return structure_factors(settings())


@pytest.fixture(scope="module")
def simulator():
    return simulated(bragg_scale=0.003)


@pytest.fixture(scope="module")
def crystal(simulator, factors):
    lattice = lattice_of(factors.cell, factors.space_group_name)
    return KnownCrystal.of(lattice, simulator.geometry, factors=factors)


@pytest.fixture(scope="module")
def finder(simulator):
    return LikelihoodFinder(simulator.geometry)


SURE = 60.0
"""Log likelihood ratio that chance never comes near."""


def seen(finder, frame):
    counts, rate = finder.counts_and_background(frame)
    return counts, background_image(counts, finder.rings, rate)


def off_deg(crystal, hypothesis, axes):
    cell = crystal.lattice.cell.reciprocal
    return crystal.lattice.angle_deg(hypothesis.turn @ cell, axes)


def likeliest(crystal, turn, counts, background):
    """Return the Bragg photons with which a frame is likeliest in an orientation."""
    found, scales = np.empty((4000, predicting.N_COLUMNS)), np.geomspace(1, 1e4, 40)
    total = np.empty(40)
    n = predicting.predict(
        turn, crystal.judging, crystal.geometry.polarisation, crystal.detector, found
    )
    nodes = crystal.expected.nodes, crystal.expected.weights
    predicting.footprint_ratio(found, n, 0.45, counts, background, scales, *nodes, total)
    return scales[total.argmax()]


def test_errors_of_orientations_are_as_large_as_stated(simulator, crystal, finder):
    squares = []
    for number in range(12):
        shot = simulator.shot(number).crystals[0]
        true = shot.axes @ np.linalg.inv(crystal.lattice.cell.reciprocal)
        counts, background = seen(finder, simulator.frame(number).counts)
        near = Rotation.from_rotvec([3e-4, -2e-4, 4e-4]).as_matrix() @ true
        known = posterior(
            crystal, counts, background, near, likeliest(crystal, true, counts, background)
        )
        error = Rotation.from_matrix(known.turn @ true.T).as_rotvec()
        squares.append(error @ np.linalg.solve(known.covariance, error))
    # Three squares of standard errors: their median is 2.4, and scatters by 0.7 over 12 frames.
    assert 0.7 < np.median(squares) < 5.0


def test_predicted_reflections_are_the_simulated_spots(simulator, crystal):
    shot = simulator.shot(1)
    turn = shot.crystals[0].axes @ np.linalg.inv(crystal.lattice.cell.reciprocal)
    found = np.empty((4000, predicting.N_COLUMNS))
    n = predicting.predict(
        turn, crystal.judging, crystal.geometry.polarisation, crystal.detector, found
    )
    rows = found[:n, predicting.ROW].astype(int)
    predicted = {tuple(hkl): found[k] for k, hkl in enumerate(crystal.expected.hkl[rows])}
    (spots,) = simulator.expose(1).spots
    table = spots.spots.table
    # At the very edge of the band it is the blur of a reflection that decides.
    inside = np.abs(table["wavelength_a"] / simulator.geometry.wavelength_a - 1) < 0.0048
    strong = table[(table["photons"] > 100) & inside]
    assert len(strong) >= 7
    ratios = []
    for spot in strong:
        one = predicted[tuple(int(spot[name]) for name in "hkl")]
        assert np.hypot(one[0] - spot["fs"], one[1] - spot["ss"]) < 0.6
        ratios.append(one[predicting.PHOTONS] / spot["photons"])
    # All photons are in one unit; spots at the edge of the band lose some.
    assert np.percentile(ratios, 75) < 1.25 * np.percentile(ratios, 25)


def test_the_likelihood_ratio_is_that_of_the_pixels(crystal, finder, simulator):
    """One reflection, its footprint spelt out: the ratio of two products of Poisson laws."""
    counts, background = seen(finder, simulator.frame(1).counts)
    row, column = 300, 400
    counts[row - 1 : row + 2, column - 1 : column + 2] = [[0, 0, 0], [0, 2, 0], [0, 0, 0]]
    found = np.array([[column + 0.4, row + 0.7, 1.0, 0]])
    scales, total = np.array([3.0, 8.0]), np.empty(2)
    predicting.footprint_ratio(
        found, 1, 0.45, counts, background, scales, np.ones(1), np.ones(1), total
    )
    fine = (np.arange(300) + 0.5) / 100 - 1
    across, down = (np.exp(-0.5 * ((fine - x) / 0.45) ** 2) for x in (0.4, 0.7))
    share = np.outer(down, across).reshape(3, 100, 3, 100).sum((1, 3))
    share *= 1e-4 / (2 * np.pi * 0.45**2)
    place = (slice(row - 1, row + 2), slice(column - 1, column + 2))
    for scale, value in zip(scales, total, strict=True):
        signal = background[place] + scale * share
        ratio = poisson.logpmf(counts[place], signal) - poisson.logpmf(
            counts[place], background[place]
        )
        assert value == pytest.approx(ratio.sum(), abs=2e-3)


def test_a_pixel_is_judged_by_the_distribution_of_its_counts():
    rng = np.random.default_rng(4)
    for mean in (0.02, 3.0, 12.0):
        counts = rng.poisson(mean, (40, 50)).astype(np.int32)
        counts[4, 7] = -1
        codes, levels = pixels.classes(counts, np.full(counts.shape, mean, np.float32))
        assert (codes == pixels.UNKNOWN).nonzero() == (4, 7)
        assert levels == pytest.approx(mean, rel=0.04)
        table = np.empty((pixels.N_STEPS, pixels.N_COUNTS), np.float32)
        pixels.gains(levels, np.ones(1), np.ones(1), table)
        step = 30
        lit = levels[0] + 0.8 * np.exp(pixels.LOWEST + step / pixels.PER_E)
        for row, column in ((10, 12), (20, 33), (30, 8)):
            n = counts[row, column]
            ratio = poisson.pmf(n, lit) / poisson.pmf(n, levels[0])
            told = table[step, codes[row, column]]
            assert told == pytest.approx(np.log(0.7 * ratio + 0.3), abs=1e-3)
        assert table.max() <= predicting.MOST_GAIN


def true_turns(simulator, crystal, number):
    """Return the rotations that give a frame's orientation."""
    turn = simulator.shot(number).crystals[0].axes @ np.linalg.inv(crystal.lattice.cell.reciprocal)
    return turn @ crystal.lattice.rotations


def off_px(crystal, turns, true):
    cosines = np.einsum("nij,sij->ns", turns, true).max(1) / 2 - 0.5
    return np.arccos(np.clip(cosines, -1, 1)) * crystal.pixels_a_rad


def test_bright_pixels_vote_for_the_true_orientation(simulator, crystal, finder):
    true = true_turns(simulator, crystal, 1)
    counts, background = seen(finder, simulator.frame(1).counts)
    weakest = weakest_crystal(crystal, background)
    pairs = bright_pairs(crystal, counts, background, weakest)
    chosen, scores = np.empty((4000, 2), np.int32), np.empty(4000, np.float32)
    n_angles = int(2 * np.pi * crystal.pixels_a_rad / 1.8)
    n = vote(pairs.rows, pairs.gains, pairs.seeds, crystal.voting, pairs.pixels, n_angles,
             3.0, chosen, scores)  # fmt: skip
    best, turns = np.argsort(-scores[:n]), np.empty((n, 3, 3))
    for k, (pair, angle) in enumerate(chosen[best]):
        reflection, seed = pairs.rows[pair]
        rotation(crystal.unit_vectors[reflection], pairs.seeds[0][seed],
                 2 * np.pi * (angle + 0.5) / n_angles, turns[k])  # fmt: skip
    assert (off_px(crystal, turns[:10], true) < 4).any()
    # What one pixel says is counted once for an angle of a family, and no angle comes twice.
    assert len(np.unique(chosen[:n], axis=0)) == n
    assert (scores[:n] >= 3.0).all()


def test_the_pairs_tried_are_those_that_tell_most(crystal, finder):
    # Without a crystal, few pairs tell all that a pair may.
    counts, background = seen(finder, simulated(blank_fraction=1.0).frame(7).counts)
    weakest = weakest_crystal(crystal, background)
    tried = bright_pairs(crystal, counts, background, weakest)
    directions, _, _, length, _, log_rate, votes = tried.pixels
    assert 1000 < len(directions) <= MOST_PIXELS
    gains = []
    for row in crystal.seeds:
        wanted = crystal.expected.lengths[row]
        near = np.abs(length - wanted) <= crystal.length_tolerance(wanted)
        step = (np.log(crystal.expected.photons[row]) + log_rate[near] - LOWEST) * PER_E
        said = votes[near, np.clip(step.astype(int), 0, N_STEPS - 1)]
        gains.append(np.where(step < 0, 0, said) / PER_UNIT)
    best = np.sort(np.concatenate(gains))[-FAMILIES:]
    # Parts of a pixel near the beam lie as far along the beam.
    pair = np.stack([tried.rows[:, 0], tried.gains, tried.seeds[0][:, 2].round(9)])
    found = np.sort(np.unique(pair, axis=1)[1])
    assert len(found) == FAMILIES
    # Rounding of single precision moves a pair across a step of the table now and then.
    assert np.abs(found - best).mean() < 0.01


def test_a_vote_tells_the_angle_better_than_its_pixel_tells_the_place(simulator, crystal):
    true = true_turns(simulator, crystal, 2)[:1]
    found = np.empty((predicting.MOST_PREDICTED, predicting.N_COLUMNS))
    beam = crystal.geometry.polarisation, crystal.detector
    n = predicting.predict(true[0], crystal.judging, *beam, found)
    spots = found[:n][found[:n, predicting.ROW] < len(crystal.voting[1])]
    rows = spots[:, predicting.ROW].astype(int)
    ss, fs = spots[:, predicting.SS].astype(int), spots[:, predicting.FS].astype(int)
    q, length = crystal.directions[ss, fs].astype(float), crystal.lengths[ss, fs].astype(float)
    off = crystal.direction_tolerance(length)
    n_angles = int(2 * np.pi * crystal.pixels_a_rad / 1.8)
    right, listed = [], []
    for a, b in itertools.permutations(range(len(rows)), 2):
        if np.linalg.norm(np.cross(q[a], q[b])) < 0.3:
            continue
        reflections = tuple(np.ascontiguousarray(part[rows[[a, b]]]) for part in crystal.voting)
        one = slice(b, b + 1)
        pixel = (q[one], off[one], 0.5 / crystal.pixels_a_rad, length[one],
                 crystal.length_tolerance(length[one]), np.zeros(1),
                 np.full((1, N_STEPS), 3 * PER_UNIT, np.uint16))  # fmt: skip
        chosen, scores = np.empty((99, 2), np.int32), np.empty(99, np.float32)
        n = vote(np.zeros((1, 2), np.int64), np.ones(1), (q[a : a + 1], off[a : a + 1]),
                 reflections, pixel, n_angles, 3.5, chosen, scores)  # fmt: skip
        turns = np.empty((n, 3, 3))
        for k in range(n):
            angle = 2 * np.pi * (chosen[k, 1] + 0.5) / n_angles
            rotation(crystal.unit_vectors[rows[a]], q[a], angle, turns[k])
        # A turn about the beam, which the seed's own pixel leaves open, is none of the angle's.
        along = [(turn @ crystal.unit_vectors[rows[b]])[2] for turn in turns]
        truth = (true[0] @ crystal.unit_vectors[rows[b]])[2]
        right.append(n > 0 and np.abs(np.array(along) - truth).min() < 1e-3)
        listed.append(n)
    assert len(right) > 15
    assert np.mean(right) > 0.8
    assert np.mean(listed) < 4


def test_judging_finds_the_likelier_turn_beside_a_rough_one(simulator, crystal, finder):
    steps = grid_steps(crystal.pixels_a_rad, 500.0)
    gained, nearer = [], []
    for number in range(8):
        true = true_turns(simulator, crystal, number)[:1]
        counts, background = seen(finder, simulator.frame(number).counts)
        codes, levels = pixels.classes(counts, background)
        table = np.empty((pixels.N_STEPS, len(levels) * pixels.N_COUNTS), np.float32)
        pixels.gains(levels, np.ones(1), np.ones(1), table)
        off = Rotation.from_rotvec(steps * [1, -1, 1]).as_matrix()
        weakest = weakest_crystal(crystal, background)
        found = {}
        for name, turn in (("true", true), ("rough", off @ true)):
            out, ratio, photons = np.empty((1, 3, 3)), np.empty(1), np.empty(1)
            judge(turn, crystal.first, crystal.geometry.polarisation, crystal.detector, codes,
                  table, weakest, steps, out, ratio, photons)  # fmt: skip
            found[name] = out, ratio[0]
        gained.append(found["rough"][1] / found["true"][1])
        nearer.append(off_px(crystal, found["rough"][0], true)[0])
    # The grid's corner is the truth: what all its turns say is found from there too.
    assert np.median(gained) > 0.9
    assert np.median(nearer) < 0.6 * off_px(crystal, off @ true, true)[0]


@pytest.mark.slow
def test_weak_crystals_are_found_and_blanks_are_not(simulator, crystal, finder):
    blank = simulated(blank_fraction=1.0)
    best = [search(crystal, *seen(finder, blank.frame(k).counts)) for k in range(6)]
    chance = Chance.fitted([found[0].log_ratio for found in best])
    right = 0
    for number in range(4):
        found = search(crystal, *seen(finder, simulator.frame(number).counts))
        sure = chance.false_share(found[0].log_ratio) < 0.01
        near = off_deg(crystal, found[0], simulator.shot(number).crystals[0].axes) < 0.5
        right += sure and near
        assert near or not sure
    assert right >= 3


def test_one_bright_pixel_is_no_crystal(crystal, finder):
    blank = simulated(blank_fraction=1.0).frame(7).counts
    lone = blank.copy()
    lone[400, 300] = 200
    before, after = (search(crystal, *seen(finder, f))[0].log_ratio for f in (blank, lone))
    assert after < before + 10
    assert after < SURE / 2


def test_the_cell_alone_finds_stronger_crystals(simulator, factors, finder):
    lattice = lattice_of(factors.cell, factors.space_group_name)
    crystal = KnownCrystal.of(lattice, simulator.geometry)
    assert not crystal.expected.is_known
    assert crystal.expected.weights.sum() == pytest.approx(1)
    assert crystal.expected.nodes @ crystal.expected.weights == pytest.approx(1)
    bright = simulated(bragg_scale=0.05)
    found = search(crystal, *seen(finder, bright.frame(3).counts))
    assert found[0].log_ratio > SURE
    assert off_deg(crystal, found[0], bright.shot(3).crystals[0].axes) < 0.3


def test_scrambling_keeps_rings_and_destroys_the_lattice(simulator, crystal, finder):
    frame = simulated(bragg_scale=0.05).frame(3)
    counts, background = seen(finder, frame.counts)
    mixed = scrambled(counts, finder.rings, np.random.default_rng(1))
    ring = finder.rings.index
    good = ring >= 0
    for image in (counts, mixed):
        assert (image < 0).sum() == (counts < 0).sum()
    np.testing.assert_array_equal(
        np.bincount(ring[good], np.maximum(counts[good], 0)),
        np.bincount(ring[good], np.maximum(mixed[good], 0)),
    )
    sure = search(crystal, counts, background)[0].log_ratio
    assert search(crystal, mixed, background)[0].log_ratio < SURE < sure


def test_chance_follows_the_distribution_of_extremes():
    drawn = np.random.default_rng(2).gumbel(20, 1.5, 4000)
    chance = Chance.fitted(drawn)
    assert chance.mode == pytest.approx(20, abs=0.15)
    assert chance.width == pytest.approx(1.5, abs=0.1)
    assert (drawn > chance.least(0.01)).mean() == pytest.approx(0.01, abs=0.004)
    assert chance.false_share(chance.least(0.03)) == pytest.approx(0.03)
    with pytest.raises(ValueError, match="five frames"):
        Chance.fitted([1.0, 2.0])


def test_shares_hold_though_learnt_from_few_frames():
    rng = np.random.default_rng(6)
    for n, scatter in ((8, 0.004), (24, 0.003)):
        least = [Chance.fitted(20 + 2 * rng.gumbel(size=n)).least(0.01) for _ in range(120)]
        beyond = -np.expm1(-np.exp(-(np.array(least) - 20) / 2))
        # With the parameters taken at their word, 0.030 and 0.017.
        assert beyond.mean() == pytest.approx(0.01, abs=scatter)


@pytest.mark.parametrize("bandwidth", [0.0, -1.0, 0.5])
def test_impossible_bandwidths_are_refused(simulator, factors, bandwidth):
    lattice = lattice_of(factors.cell, factors.space_group_name)
    with pytest.raises(ValueError, match="bandwidth"):
        KnownCrystal.of(lattice, simulator.geometry, factors=factors, bandwidth=bandwidth)

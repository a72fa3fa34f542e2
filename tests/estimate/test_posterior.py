"""Likelihood, information and posterior against plain evaluations of their formulas."""

import math

import numpy as np
import pytest

from hitfinder.estimate import posterior
from hitfinder.estimate.gather import BinSums
from hitfinder.estimate.grid import Grid


def plain_log_likelihood(estimator, energy, length, sums):
    expected = estimator.model.per_pixel(energy, length) * sums.exposure
    lit = sums.counts > 0
    return float((sums.counts[lit] * np.log((expected / expected.sum())[lit])).sum())


def test_differences_of_log_likelihood_are_those_of_the_multinomial_law(estimator, draw):
    sums = draw(np.random.default_rng(1), 7000.0, 0.2, 3000)
    points = [(7000.0, 0.2), (9000.0, 0.3), (5500.0, 0.1)]
    ours = [estimator.model.log_likelihood(*p, sums.counts, sums.exposure) for p in points]
    plain = [plain_log_likelihood(estimator, *p, sums) for p in points]
    assert np.diff(ours) == pytest.approx(np.diff(plain), rel=1e-9)


def test_the_scale_drops_out_as_if_integrated_over(estimator, draw):
    """∫ Π Poisson(n | a m) da/a is proportional to the multinomial law, for any m."""
    sums = draw(np.random.default_rng(2), 7000.0, 0.2, 40)
    n, total = sums.counts[sums.counts > 0], sums.counts.sum()

    def integrated(energy, length):
        m = estimator.model.per_pixel(energy, length) * sums.exposure
        m = m / m.mean()
        log_a = np.linspace(-25, 15, 20001)
        logs = total * log_a - np.exp(log_a) * m.sum()
        return (
            np.log(np.exp(logs - logs.max()).sum())
            + logs.max()
            + (n * np.log(m[sums.counts > 0])).sum()
        )

    a, b = (7000.0, 0.2), (9000.0, 0.35)
    ours = [estimator.model.log_likelihood(*p, sums.counts, sums.exposure) for p in (a, b)]
    assert ours[1] - ours[0] == pytest.approx(integrated(*b) - integrated(*a), abs=1e-6)


def closed_information(estimator, energy, length, photons, exposure):
    """N (Σ p d dᵀ - (Σ p d)(Σ p d)ᵀ), d = ∂ log m / ∂ (ln E, ln D), of the multinomial law."""
    h = 1e-4
    model = estimator.model.per_pixel

    def log_m(e, d):
        return np.log(model(e, d)).ravel()

    steps = [
        (log_m(energy * (1 + h), length) - log_m(energy * (1 - h), length)) / (2 * h),
        (log_m(energy, length * (1 + h)) - log_m(energy, length * (1 - h))) / (2 * h),
    ]
    p = (model(energy, length) * exposure).ravel()
    p = p / p.sum()
    return photons * np.cov(np.stack(steps), aweights=p, bias=True)


def test_information_is_that_of_the_multinomial_law(estimator, draw):
    sums = draw(np.random.default_rng(3), 8000.0, 0.15, 5000)
    total = float(sums.counts.sum())
    plain = closed_information(estimator, 8000.0, 0.15, total, sums.exposure)
    scale = np.outer([8000.0, 0.15], [8000.0, 0.15])
    assert estimator.bound(8000.0, 0.15, sums) == pytest.approx(
        np.linalg.inv(plain) * scale, rel=0.02
    )


def test_score_is_the_slope_of_the_likelihood(estimator, draw):
    sums = draw(np.random.default_rng(4), 8000.0, 0.15, 5000)
    data = estimator._data(sums)
    x = np.log([8200.0, 0.16])
    score, information = np.empty(2), np.empty((2, 2))
    buffers = np.empty((5, *sums.counts.shape))
    posterior.score_and_information(x, data, buffers, score, information)
    for i in range(2):
        up, down = x.copy(), x.copy()
        up[i] += 1e-3
        down[i] -= 1e-3
        logs = [
            estimator.model.log_likelihood(*np.exp(p), sums.counts, sums.exposure)
            for p in (up, down)
        ]
        assert score[i] == pytest.approx((logs[0] - logs[1]) / 2e-3, rel=0.02)


@pytest.fixture(scope="module")
def brute(estimator):
    """Posterior mean and standard deviations by a plain sum over a fine grid."""
    energies = np.exp(np.linspace(*estimator.box[0], 90))
    lengths = np.exp(np.linspace(*estimator.box[1], 180))
    table = np.array([[estimator.model.per_pixel(e, d) for d in lengths] for e in energies])
    table = table.reshape(len(energies) * len(lengths), -1)
    logs_of = np.log(table)
    ends = [np.where(np.isin(np.arange(n), [0, n - 1]), 0.5, 1.0) for n in (90, 180)]
    weight = (energies * ends[0])[:, None] * ends[1]
    e, d = np.meshgrid(energies, lengths, indexing="ij")

    def brute(sums):
        logs = logs_of @ sums.counts.ravel()
        logs = logs - sums.counts.sum() * np.log(table @ sums.exposure.ravel())
        w = np.exp(logs - logs.max()).reshape(e.shape) * weight
        w /= w.sum()
        mean = np.array([(w * e).sum(), (w * d).sum()])
        sigma = np.sqrt([(w * (e - mean[0]) ** 2).sum(), (w * (d - mean[1]) ** 2).sum()])
        return mean, sigma

    return brute


@pytest.mark.parametrize("photons", [0, 60, 600, 3000])
def test_posterior_equals_a_sum_over_a_fine_grid(estimator, draw, brute, photons):
    """Across the range, edges of the range and long tails included."""
    rng = np.random.default_rng(photons)
    shifts, ratios = [], []
    for energy, length in [(5200, 0.1), (6800, 0.22), (9000, 0.3), (12500, 0.1), (13500, 0.5)]:
        sums = draw(rng, energy, length, photons)
        estimate = estimator.estimate_sums(sums)
        mean, sigma = brute(sums)
        ours = np.array([estimate.photon_energy_ev, estimate.camera_length_m])
        shifts.append((ours - mean) / sigma)
        own = [estimate.photon_energy_sigma_ev, estimate.camera_length_sigma_m]
        ratios.append(own / sigma)
    assert np.abs(shifts).max() < 0.2
    assert np.abs(np.array(ratios) - 1).max() < 0.13


def test_the_grid_agrees_with_the_model(estimator, draw):
    sums = draw(np.random.default_rng(6), 7000.0, 0.2, 400)
    grid = Grid.of(estimator.model)
    logs = grid.log_likelihood(sums.counts, sums.exposure)
    near = grid.valid & (grid.distance(estimator.box) == 0)
    points = np.argwhere(near)[::97]
    plain = [
        plain_log_likelihood(
            estimator, math.exp(grid.log_energy[*p]), math.exp(grid.log_length[*p]), sums
        )
        for p in points
    ]
    ours = np.array([logs[*p] for p in points])
    best = int(np.argmax(plain))
    assert np.abs((ours - ours[best]) - (np.array(plain) - plain[best])).max() < 1.0


def test_photons_from_a_detector_corner_do_not_change_the_scale(estimator, draw):
    """Exposure counts: half of a detector gives the same values, less exactly."""
    rng = np.random.default_rng(7)
    half = np.where(np.arange(estimator.bins.n_rings) % 2, 1.0, 0.4)[:, None]
    exposure = estimator.bins.exposure * half
    model = estimator.model.per_pixel(6500.0, 0.15) * exposure
    sums = BinSums(rng.poisson(model * (1e6 / model.sum())).astype(float), exposure)
    good = estimator.estimate_sums(sums)
    assert abs(good.photon_energy_ev - 6500) < 4 * good.photon_energy_sigma_ev
    wrong = estimator.estimate_sums(BinSums(sums.counts, estimator.bins.exposure))
    assert wrong.flag == "not-water"

import math

import numpy as np
import pytest
from scipy import stats

from hitfinder.finding.poisson import critical_count, critical_counts, log_mass, log_tail

MEANS = [1e-6, 3e-4, 0.01, 0.3, 1.0, 5.0, 20.0, 300.0]


def counts_around(mean):
    spread = math.sqrt(mean)
    picks = [1, 2, 5, mean - 2 * spread, mean, mean + 3 * spread + 1, mean + 12 * spread + 4]
    return sorted({max(1, round(n)) for n in picks})


@pytest.mark.parametrize("mean", MEANS)
def test_poisson_tail_agrees_with_scipy(mean):
    for n in counts_around(mean):
        expected = stats.poisson.logsf(n - 1, mean)
        assert log_tail(n, mean, math.inf) == pytest.approx(expected, rel=1e-7, abs=1e-9)


@pytest.mark.parametrize("shape", [0.5, 3.0, 50.0, 1e4])
@pytest.mark.parametrize("mean", MEANS)
def test_negative_binomial_tail_agrees_with_scipy(mean, shape):
    for n in counts_around(mean):
        expected = stats.nbinom.logsf(n - 1, shape, shape / (shape + mean))
        assert log_tail(n, mean, shape) == pytest.approx(expected, rel=1e-5, abs=1e-6)


def test_a_less_certain_mean_makes_an_excess_less_significant():
    tails = [log_tail(30, 10.0, shape) for shape in (5.0, 50.0, 500.0, math.inf)]
    assert tails == sorted(tails, reverse=True)
    assert tails[0] > tails[-1] + 2


def test_tail_limits():
    assert log_tail(0, 3.0, math.inf) == 0.0
    assert log_tail(1, 0.0, math.inf) == -math.inf
    assert log_mass(2, 1.5, math.inf) == pytest.approx(stats.poisson.logpmf(2, 1.5))


@pytest.mark.parametrize("log_p", [math.log(1e-2), math.log(2e-5), -18.0])
def test_critical_counts_are_the_smallest_that_are_unlikely_enough(log_p):
    means = np.geomspace(1e-5, 3e3, 97)
    counts = critical_counts(means, log_p)
    assert np.all(stats.poisson.logsf(counts - 1, means) <= log_p + 1e-9)
    assert np.all(stats.poisson.logsf(counts - 2, means) > log_p - 1e-9)
    assert [critical_count(m, log_p) for m in means[::8]] == list(counts[::8])


def test_critical_counts_of_very_bright_pixels_are_gaussian():
    count = critical_counts(np.array([1e6]), math.log(1e-6))[0]
    assert count == pytest.approx(1e6 + 4.753 * 1e3, abs=5)

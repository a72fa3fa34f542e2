import numpy as np
import pytest

from hitfinder.inference.evidence import (
    PEAKS,
    chance_candidates,
    frame_evidence,
    log_evidence,
    peak_probabilities,
)

CHANCE = 10.0


def mixture(rng, n_peaks, shift=2.0):
    """Log likelihood ratios of chance candidates N(0, 1) and of peaks N(shift, 1)."""
    chance = rng.standard_normal(rng.poisson(CHANCE))
    peaks = shift + rng.standard_normal(rng.poisson(n_peaks))
    values = np.concatenate([chance, peaks])
    return shift * values - shift**2 / 2, np.arange(values.size) >= chance.size


def test_evidence_is_the_likelihood_of_two_poisson_processes():
    ratio = np.array([1.0, -2.0, 0.5])
    for n, value in zip(PEAKS, log_evidence(ratio, CHANCE), strict=True):
        by_hand = -n + sum(np.log(1 + n / CHANCE * np.exp(r)) for r in ratio)
        assert value == pytest.approx(by_hand)


def test_no_candidates_speak_for_a_blank():
    assert frame_evidence(np.empty(0), CHANCE) < 0
    assert peak_probabilities(np.empty(0), CHANCE, 0.0).size == 0


def test_a_blank_is_as_good_as_a_hit_with_no_more_than_its_chance():
    """Markov: under the blank law a likelihood ratio reaches x with chance 1/x at most."""
    rng = np.random.default_rng(1)
    evidence = np.array([frame_evidence(mixture(rng, 0)[0], CHANCE) for _ in range(4000)])
    for level in (1.0, 2.0, 3.0):
        assert (evidence >= level).mean() <= np.exp(-level) + 0.01
    few = np.array([log_evidence(mixture(rng, 0)[0], CHANCE)[0] for _ in range(4000)])
    assert np.exp(few).mean() == pytest.approx(1.0, abs=0.1)


def test_weak_candidates_together_make_a_hit():
    one = frame_evidence(np.array([1.5]), CHANCE)
    many = frame_evidence(np.full(30, 1.5), CHANCE)
    assert one < 0 < 5 < many


def test_probabilities_are_calibrated_in_hits_and_blanks():
    rng = np.random.default_rng(2)
    probability, true = [], []
    for k in range(3000):
        n_peaks = 0 if k % 2 else rng.choice(PEAKS[PEAKS < 50])
        ratio, is_peak = mixture(rng, n_peaks)
        odds = frame_evidence(ratio, CHANCE)
        probability.append(peak_probabilities(ratio, CHANCE, odds))
        true.append(is_peak)
    probability, true = np.concatenate(probability), np.concatenate(true)
    for low in np.arange(0, 1, 0.2):
        some = (probability >= low) & (probability < low + 0.2)
        assert true[some].mean() == pytest.approx(probability[some].mean(), abs=0.04)


def test_candidates_that_the_locator_doubts_count_as_chance():
    assert chance_candidates(20.0, np.array([5.0, -1.0])) == 20.0
    many = np.full(500, -2.0)
    assert chance_candidates(20.0, many) == pytest.approx(500 / (1 + np.exp(-2)), rel=1e-6)
    assert chance_candidates(0.0, np.empty(0)) > 0

import numpy as np
import pytest

from hitfinder.metrics.calibration import reliability
from hitfinder.network.calibration import STRENGTHS
from hitfinder.network.evidence import (
    PEAKS,
    _given_hit,
    chance_candidates,
    frame_evidence,
    log_evidence,
    peak_probabilities,
    strength_bins,
)

CHANCE = 10.0
EVEN = np.full(STRENGTHS.size, -np.log(STRENGTHS.size))


def usual_probabilities(ratio, chance, odds):
    """Of candidates whose strengths tell nothing: a peak is of any, and these are of all."""
    strength = np.arange(len(ratio)) % STRENGTHS.size
    return peak_probabilities(ratio, chance, odds, strength, EVEN)


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
    assert usual_probabilities(np.empty(0), CHANCE, 0.0).size == 0


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


def drawn_frame(rng, n_peaks, low, high):
    """Candidates of a frame: log likelihood ratios under the usual law, strengths, truth.

    Chance has strengths about 3; usual peaks have any strength from 2 to 10, those of this frame
    from `low` to `high`.
    """
    chance = rng.normal(3.0, 0.5, rng.poisson(CHANCE))
    x = np.concatenate([chance, rng.uniform(low, high, rng.poisson(n_peaks))])
    of_chance = np.exp(-0.5 * ((x - 3.0) / 0.5) ** 2) / (0.5 * np.sqrt(2 * np.pi))
    ratio = np.log(1 / 8) - np.log(of_chance + 1e-12)
    return ratio, strength_bins(-np.exp(x)), np.arange(x.size) >= chance.size


@pytest.mark.parametrize(("low", "high", "most"), [(2, 10, 0.02), (6, 9, 0.06)])
def test_probabilities_follow_the_strengths_of_a_frame(low, high, most):
    """Usual peaks, and bright ones alone."""
    rng = np.random.default_rng(2)
    probability, unaware, true = [], [], []
    for k in range(1500):
        n_peaks = 0 if k % 2 else rng.choice(PEAKS[(PEAKS > 10) & (PEAKS < 50)])
        ratio, strength, is_peak = drawn_frame(rng, n_peaks, low, high)
        odds = frame_evidence(ratio, CHANCE)
        probability.append(peak_probabilities(ratio, CHANCE, odds, strength, EVEN))
        unaware.append(_given_hit(ratio, CHANCE) / (1 + np.exp(-odds)))
        true.append(is_peak)
    error, before = (
        reliability(np.concatenate(p), np.concatenate(true)).error for p in (probability, unaware)
    )
    assert (np.concatenate(probability) <= np.concatenate(unaware) + 1e-12).all()
    assert error < most
    assert low == 2 or error < 0.7 * before


def test_a_weak_candidate_beside_bright_peaks_is_doubted():
    """The same candidate, in frames of twelve other peaks that are bright, or as weak as itself."""
    ratio = np.append(np.full(12, 9.0), 1.5)
    odds = 20.0
    weak, bright = (strength_bins(-np.exp(np.array([x]))) for x in (3.5, 8.0))
    beside = {
        name: peak_probabilities(ratio, CHANCE, odds, np.append(np.repeat(s, 12), weak), EVEN)[-1]
        for name, s in (("bright", bright), ("weak", weak))
    }
    assert beside["bright"] < 0.6 < 0.8 < beside["weak"]


def test_strengths_are_binned_and_what_was_not_proposed_is_weak():
    bins = strength_bins(np.array([-np.exp(STRENGTHS[5]), -1e30, -1.0, np.nan]))
    assert bins.tolist() == [5, STRENGTHS.size - 1, 0, 0]


def test_candidates_that_the_locator_doubts_count_as_chance():
    assert chance_candidates(70.0, 20.0, np.array([5.0, -1.0])) == 70.0
    many = np.full(500, -2.0)
    doubted = 500 / (1 + np.exp(-2))
    assert chance_candidates(70.0, 20.0, many) == pytest.approx(70 * doubted / 20, rel=1e-6)
    assert chance_candidates(0.0, 0.0, np.empty(0)) > 0

import numpy as np
import pytest

from hitfinder.metrics.calibration import reliability
from hitfinder.network.calibration import STRENGTHS
from hitfinder.network.evidence import (
    PEAKS,
    ChanceCandidates,
    _given_hit,
    doubts,
    frame_evidence,
    log_evidence,
    peak_probabilities,
    strength_bins,
)

CHANCE = 10.0
AS_USUAL = ChanceCandidates(CHANCE, CHANCE)
EVEN = np.full(STRENGTHS.size, -np.log(STRENGTHS.size))


def usual_probabilities(ratio, chance, odds):
    """Of candidates whose strengths tell nothing: a peak is of any, and these are of all."""
    strength = np.arange(len(ratio)) % STRENGTHS.size
    return peak_probabilities(
        ratio, ChanceCandidates(chance, chance), odds, strength, EVEN, all_over(len(ratio))
    )


def all_over(n):
    """Places of candidates that are spread as chance is."""
    return (np.arange(n) + 0.5) / max(n, 1)


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
        inside = rng.random(len(ratio))
        probability.append(peak_probabilities(ratio, AS_USUAL, odds, strength, EVEN, inside))
        unaware.append(_given_hit(ratio, CHANCE) / (1 + np.exp(-odds)))
        true.append(is_peak)
    error, before = (
        reliability(np.concatenate(p), np.concatenate(true)).error for p in (probability, unaware)
    )
    assert error < most
    assert low == 2 or error < 0.7 * before


def test_a_weak_candidate_beside_bright_peaks_is_doubted():
    """The same candidate, in frames of twelve other peaks that are bright, or as weak as itself."""
    ratio = np.append(np.full(12, 9.0), 1.5)
    odds = 20.0
    weak, bright = (strength_bins(-np.exp(np.array([x]))) for x in (3.5, 8.0))
    strengths = {"bright": bright, "weak": weak}
    beside = {
        name: peak_probabilities(
            ratio, AS_USUAL, odds, np.append(np.repeat(s, 12), weak), EVEN, all_over(13)
        )[-1]
        for name, s in strengths.items()
    }
    assert beside["bright"] < 0.6 < 0.8 < beside["weak"]


def placed_frame(rng, n_peaks):
    """Candidates of a frame whose peaks lie near the beam: ratios, places, truth."""
    ratio, true = mixture(rng, n_peaks)
    inside = np.where(true, rng.beta(2, 6, len(true)), rng.random(len(true)))
    return ratio, inside, true


def test_probabilities_follow_the_places_of_a_frame_s_peaks():
    """Where the sure peaks are, a doubtful one is likelier than where there are none."""
    rng = np.random.default_rng(3)
    log_loss, error = np.zeros((2, 400)), []
    for k in range(400):
        ratio, inside, true = placed_frame(rng, 20)
        strength, odds = np.arange(len(ratio)) % STRENGTHS.size, frame_evidence(ratio, CHANCE)
        told = peak_probabilities(ratio, AS_USUAL, odds, strength, EVEN, inside)
        anywhere = rng.permutation(all_over(len(ratio)))
        untold = peak_probabilities(ratio, AS_USUAL, odds, strength, EVEN, anywhere)
        for row, p in zip(log_loss, (told, untold), strict=True):
            row[k] = -np.log(np.where(true, p, 1 - p)).sum()
        error.append((told, true))
    assert log_loss[0].mean() < 0.85 * log_loss[1].mean()
    assert reliability(*(np.concatenate(part) for part in zip(*error, strict=True))).error < 0.03


def test_peaks_that_are_spread_as_chance_is_say_nothing_of_places():
    ratio, odds = np.append(np.full(200, 9.0), 1.5), 20.0
    inside = np.append(all_over(200), 0.5)
    given = [
        peak_probabilities(ratio, AS_USUAL, odds, np.full(201, 8), EVEN, places)[-1]
        for places in (inside, np.append(all_over(200), 0.99))
    ]
    assert given[0] == pytest.approx(given[1], abs=0.02)


def test_strengths_are_binned_and_what_was_not_proposed_is_weak():
    bins = strength_bins(np.array([-np.exp(STRENGTHS[5]), -1e30, -1.0, np.nan]))
    assert bins.tolist() == [5, STRENGTHS.size - 1, 0, 0]


def test_candidates_that_the_locator_doubts_count_as_chance():
    assert ChanceCandidates(70.0, 20.0, doubts(np.array([5.0, -1.0]))).n == 70.0
    many = np.full(500, -2.0)
    doubted = 500 / (1 + np.exp(-2))
    assert ChanceCandidates(70.0, 20.0, doubts(many)).n == pytest.approx(
        70 * doubted / 20, rel=1e-6
    )
    assert ChanceCandidates(0.0, 0.0, doubts(np.empty(0))).n > 0


def test_doubts_about_many_peaks_of_one_frame_are_no_chance():
    """Of 800 weak peaks the locator, which sees one at a time, doubts 240: more than chance gives.

    The frame is full of them all the same, so that each is nearly sure.
    """
    ratio = np.append(np.full(800, np.log(0.7 / 0.3)), np.full(20, -3.0))
    chance = ChanceCandidates(20.0, 20.0, doubts(ratio))
    assert chance.n > 200
    strength, inside = np.arange(820) % STRENGTHS.size, np.random.default_rng(4).random(820)
    told = peak_probabilities(ratio, chance, 20.0, strength, EVEN, inside)
    assert told[:800].mean() > 0.95
    assert 0.1 < told[800:].mean() < 0.8
    held = peak_probabilities(ratio, ChanceCandidates(chance.n, 20.0), 20.0, strength, EVEN, inside)
    assert held[:800].mean() < 0.9

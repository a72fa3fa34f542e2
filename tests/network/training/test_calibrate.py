import numpy as np
import pytest

pytest.importorskip("torch")

from hitfinder.network.training.calibrate import (
    HIT_EVIDENCE,
    LOG_BACKGROUND,
    log_counts_of,
    log_hit_odds_of,
    log_odds_in,
    peak_line,
)
from hitfinder.network.training.examples import FRAME_DTYPE


@pytest.mark.parametrize("kept", [1.0, 0.2])
def test_the_odds_in_logits_are_those_of_the_training(kept):
    """Candidates N(1, 1) and N(-1, 1), of which the training had as many; false ones lost since."""
    rng = np.random.default_rng(1)
    true, false = 1 + rng.standard_normal(20_000), -1 + rng.standard_normal(int(20_000 * kept))
    logit = 2 * np.concatenate([true, false])
    known = np.arange(len(logit)) < len(true)
    assert log_odds_in(logit, known) == pytest.approx(0.0, abs=0.05)
    assert log_odds_in(logit + 1.5, known) == pytest.approx(1.5, abs=0.05)


def test_odds_of_one_kind_alone_are_finite():
    assert np.isfinite(log_odds_in(np.zeros(3), np.zeros(3, bool)))
    assert np.isfinite(log_odds_in(np.empty(0), np.empty(0, bool)))


def test_counts_are_laid_to_background_roughness_and_size():
    rng = np.random.default_rng(2)
    frames = np.zeros(6000, FRAME_DTYPE)
    frames["n_read"] = np.exp(rng.uniform(np.log(1e5), np.log(5e6), len(frames)))
    frames["texture"] = np.where(rng.random(len(frames)) < 0.7, 0.0, 0.1)
    row = rng.integers(0, len(LOG_BACKGROUND), len(frames))
    rough = frames["texture"] > 0
    mean = (1 + row) * np.where(rough, 3.0, 1.0) * (frames["n_read"] / 1e6) ** 0.7
    log_count, power = log_counts_of(rng.poisson(mean), frames, row)
    assert power == pytest.approx(0.7, abs=0.02)
    rows = 1 + np.arange(len(LOG_BACKGROUND))
    assert np.exp(log_count[0]) == pytest.approx(rows, rel=0.1)
    assert np.exp(log_count[1]) == pytest.approx(3 * rows, rel=0.1)


def test_counts_of_rows_without_frames_are_finite():
    frames = np.zeros(50, FRAME_DTYPE)
    frames["n_read"] = 1_000_000
    log_count, _ = log_counts_of(np.full(50, 4), frames, np.zeros(50, int))
    assert np.isfinite(log_count).all()
    assert np.exp(log_count[0, 0]) == pytest.approx(4, rel=0.01)


def test_the_odds_of_hits_level_off_where_hits_show_nothing():
    """Blanks have evidence N(-2, 2); hits N(2, 2), whose log ratio it is, but for a tenth."""
    rng = np.random.default_rng(3)
    hit = rng.random(40_000) < 0.3
    unseen = rng.random(hit.size) < 0.1
    evidence = np.where(hit & ~unseen, 2.0, -2.0) + 2 * rng.standard_normal(hit.size)
    found = log_hit_odds_of(evidence, hit)
    assert (np.diff(found) > 0).all()
    known = HIT_EVIDENCE[:-1]  # the last stands for all beyond it
    assert found[:-1] == pytest.approx(np.log(0.1 + 0.9 * np.exp(known)), abs=0.25)


def test_the_line_of_peaks_is_found_again():
    rng = np.random.default_rng(4)
    value = 3 * rng.standard_normal(40_000)
    true = rng.random(value.size) < 1 / (1 + np.exp(-(0.8 * value + 0.5)))
    assert peak_line(value, true) == pytest.approx((0.8, 0.5), abs=0.06)

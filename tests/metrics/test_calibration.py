import numpy as np
import pytest

from hitfinder.metrics.calibration import precision_recall_curve, reliability


def test_honest_probabilities_are_reliable():
    rng = np.random.default_rng(0)
    p = rng.random(40_000)
    found = reliability(p, rng.random(len(p)) < p)
    assert found.error < 0.015
    assert np.all((found.low < found.predicted) & (found.predicted < found.high))
    assert found.count.sum() == len(p)


def test_overconfidence_shows():
    rng = np.random.default_rng(0)
    p = np.full(10_000, 0.95)
    found = reliability(p, rng.random(len(p)) < 0.7)
    assert found.error == pytest.approx(0.25, abs=0.02)
    assert np.isnan(found.predicted[:9]).all()


def test_right_predictions_are_off_by_chance():
    rng = np.random.default_rng(1)
    p = np.concatenate([rng.random(60) * 0.05, rng.random(90), 1 - rng.random(50) * 0.01])
    found = [reliability(p, rng.random(len(p)) < p) for _ in range(400)]
    assert np.mean([one.error for one in found]) == pytest.approx(found[0].by_chance, rel=0.05)
    assert reliability([0.3], [True]).by_chance == pytest.approx(2 * 0.3 * 0.7)


def test_certain_predictions_have_a_bin():
    found = reliability([0.0, 1.0], [False, True], n_bins=4)
    assert found.count.tolist() == [1, 0, 0, 1]
    assert found.error == found.by_chance == 0


@pytest.mark.parametrize(("p", "true"), [([0.5, 1.5], [0, 1]), ([0.5], [0, 1]), ([np.nan], [0])])
def test_reliability_refuses(p, true):
    with pytest.raises(ValueError):
        reliability(p, true)


def test_precision_and_recall_by_hand():
    precision, recall, cut = precision_recall_curve([0.9, 0.8, 0.8, 0.1], [1, 1, 0, 1])
    assert cut.tolist() == [0.9, 0.8, 0.1]
    assert precision == pytest.approx([1, 2 / 3, 3 / 4])
    assert recall == pytest.approx([1 / 3, 2 / 3, 1])
    with pytest.raises(ValueError, match="needs hits"):
        precision_recall_curve([0.5], [0])

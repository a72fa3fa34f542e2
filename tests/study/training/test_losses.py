import dataclasses

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from hitfinder.errors import ConfigError
from hitfinder.study.networks import attribute
from hitfinder.study.networks.recipe import BinaryLoss, ClassLoss, Loss
from hitfinder.study.training.losses import decide, loss_function, loss_weights

PEAK = attribute.packaged("peak")
ENERGY = attribute.packaged("photon_energy")
LOCATION = attribute.packaged("peak_location")


def test_hits_weigh_empties_over_peaks():
    assert loss_weights(PEAK, np.array([0, 0, 0, 1])).tolist() == [3]
    given = dataclasses.replace(PEAK, loss=Loss(binary=BinaryLoss(pos_weight=7.0)))
    assert loss_weights(given, np.array([0, 1])).tolist() == [7]


def test_classes_weigh_by_rarity_or_alike():
    targets = np.array([0, 0, 1, 2, 2, 2])
    assert loss_weights(ENERGY, targets) == pytest.approx([1, 2, 2 / 3])
    alike = dataclasses.replace(ENERGY, loss=Loss(classes=ClassLoss("none")))
    assert loss_weights(alike, targets).tolist() == [1, 1, 1]


def test_an_absent_class_is_named():
    with pytest.raises(ConfigError, match="no training frame is of class '8 keV'"):
        loss_weights(ENERGY, np.array([0, 1, 1]))
    with pytest.raises(ConfigError, match="no training frame is of class 'peak'"):
        loss_weights(PEAK, np.array([0, 0]))


def test_binary_loss_as_written_out():
    logits, target = torch.tensor([[2.0], [-1.0]]), torch.tensor([1, 0])
    found = loss_function(PEAK, torch.tensor([3.0]))(logits, target)
    hit, blank = 1 / (1 + np.exp(-2.0)), 1 / (1 + np.exp(1.0))
    assert float(found) == pytest.approx((-3 * np.log(hit) - np.log(1 - blank)) / 2)


def test_class_loss_as_written_out():
    logits, target = torch.tensor([[1.0, 0.0, 0.0], [0.0, 0.0, 2.0]]), torch.tensor([0, 1])
    weights = torch.tensor([1.0, 2.0, 1.0])
    found = loss_function(ENERGY, weights)(logits, target)
    first, second = np.log(np.e + 2) - 1, np.log(np.e**2 + 2)
    assert float(found) == pytest.approx((first + 2 * second) / 3, rel=1e-5)


def test_a_peak_pixel_weighs_a_hundred_thousand():
    weights = torch.from_numpy(loss_weights(LOCATION, None))
    logits, target = torch.zeros(1, 1, 2, 5), torch.zeros(1, 1, 2, 5, dtype=torch.uint8)
    target[0, 0, 1, 3] = 1
    found = float(loss_function(LOCATION, weights)(logits, target))
    assert found == pytest.approx(np.log(2) * (9 + 1e5) / 10)


def test_decisions():
    logits = torch.tensor([[0.1], [-0.1]])
    assert decide(PEAK, logits).tolist() == [1, 0]
    assert decide(PEAK, logits, threshold=0.6).tolist() == [0, 0]
    assert decide(ENERGY, torch.tensor([[0.0, 3.0, 1.0]])).tolist() == [1]
    assert decide(LOCATION, torch.tensor([[[[1.0, -1.0]]]])).tolist() == [[[[1, 0]]]]

"""The check of networks: ours keep the contract, and what does not keep it is told."""

import sys

import pytest

torch = pytest.importorskip("torch")

from torch import nn

from hitfinder.contracts import BrokenContractError
from hitfinder.errors import ConfigError
from hitfinder.study.networks import attribute
from hitfinder.study.networks.checking import check_network
from hitfinder.study.networks.registry import NETWORKS, network


class Sound(nn.Module):
    """Mean of the frame, times a weight. More is said here."""

    gives = "logits"

    def __init__(self, frame_shape, n_outputs):
        super().__init__()
        if min(frame_shape) < 8:
            raise ValueError("too small for this network")
        self.linear = nn.Linear(1, n_outputs)

    def forward(self, frame):
        return self.linear(frame.mean(dim=(1, 2, 3))[:, None])


class Mapped(Sound):
    gives = "map"

    def forward(self, frame):
        return super().forward(frame)[:, :, None, None] + 0 * frame


class SaysNothing(Sound):
    gives = None


class TakesLight(Sound):
    inputs = ("frame", "light")


class OfOneShape(Sound):
    gives = "map"


class Noisy(Sound):
    def forward(self, frame):
        return super().forward(frame) + torch.rand(1)


class Mixing(Sound):
    def forward(self, frame):
        return super().forward(frame) + frame.mean()


class Double(Sound):
    def forward(self, frame):
        return super().forward(frame).double()


class Infinite(Sound):
    def forward(self, frame):
        return super().forward(frame) / 0


class Detached(Sound):
    def __init__(self, frame_shape, n_outputs):
        super().__init__(frame_shape, n_outputs)
        self.unused = nn.Linear(1, 1)
        self.linear.requires_grad_(False)

    def forward(self, frame):
        return super().forward(frame) + 0 * self.unused.weight.sum()


class NothingToLearn(Sound):
    def __init__(self, frame_shape, n_outputs):
        super().__init__(frame_shape, n_outputs)
        self.linear.requires_grad_(False)


class Forgetful(Sound):
    """Keeps something that is not in its state."""

    def __init__(self, frame_shape, n_outputs):
        super().__init__(frame_shape, n_outputs)
        self.offset = torch.rand(1)

    def forward(self, frame):
        return super().forward(frame) + self.offset


class Changing(Sound):
    """Keeps something that is not in its state, wherever that is."""

    def forward(self, frame):
        if not hasattr(self, "offset"):
            self.offset = torch.rand(1)
        return super().forward(frame) + self.offset


class FailsWhenSmall(Sound):
    def __init__(self, frame_shape, n_outputs):
        if min(frame_shape) < 8:
            raise IndexError("no")
        super().__init__(frame_shape, n_outputs)


class NoModule:
    gives = "logits"

    def __init__(self, frame_shape, n_outputs):
        pass


@pytest.fixture(autouse=True)
def module(monkeypatch):
    monkeypatch.setitem(sys.modules, "networks_of_others", sys.modules[__name__])


@pytest.mark.parametrize("name", NETWORKS.built_in)
def test_our_networks_keep_the_contract(name):
    check_network(name)


@pytest.mark.parametrize("cls", [Sound, Mapped])
def test_sound_networks_of_others_pass(cls):
    check_network(f"networks_of_others:{cls.__name__}")


@pytest.mark.parametrize(
    ("cls", "message"),
    [
        (OfOneShape, r"map of 2 frames and 1 outputs must have shape \(2, 1, 40, 32\), got"),
        (Noisy, "in evaluation mode the same frames must give the same"),
        (Mixing, "a frame must give the same alone and among others"),
        (Double, "answers must be float32, got torch.float64"),
        (Infinite, "answers must be finite"),
        (Detached, "no gradient reaches a parameter"),
        (NothingToLearn, "no parameter takes a gradient"),
        (Forgetful, r"under torch.device\('meta'\) and filled from a state raises"),
        (Changing, "filled from another's state must give the same answers"),
        (FailsWhenSmall, "too small must raise ValueError, not: .*IndexError: no"),
        (NoModule, "a network is a torch.nn.Module"),
    ],
)
def test_broken_networks_are_told(cls, message):
    with pytest.raises(BrokenContractError, match=message):
        check_network(f"networks_of_others:{cls.__name__}")


@pytest.mark.parametrize(
    ("cls", "message"),
    [(SaysNothing, "'gives' must be one of logits, map, is None"), (TakesLight, "'inputs' must")],
)
def test_a_class_must_say_what_it_takes_and_gives(cls, message):
    with pytest.raises(ConfigError, match=message):
        network(f"networks_of_others:{cls.__name__}")


def test_a_class_is_described_by_itself():
    spec = network("networks_of_others:Sound")
    assert (spec.gives, spec.inputs) == ("logits", ("frame",))
    assert spec.about == "Mean of the frame, times a weight. More is said here"
    settings = attribute.packaged("peak")
    assert attribute.AttributeConfig(**{**vars(settings), "network": "networks_of_others:Sound"})
    with pytest.raises(ValueError, match="peak needs a network that gives logits"):
        attribute.AttributeConfig(**{**vars(settings), "network": "networks_of_others:Mapped"})

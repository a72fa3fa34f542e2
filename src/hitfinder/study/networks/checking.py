"""The check that a network keeps its contract, for ours and for those of others."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from hitfinder.contracts import require, requires
from hitfinder.errors import ConfigError
from hitfinder.study.networks.registry import NetworkSpec, network

SHAPES = ((40, 32), (33, 37))
"""Frames that every network must take."""

_FRAMES = 2
_TOLERANCE = 1e-4


def check_network(name: str, shapes: tuple[tuple[int, int], ...] = SHAPES) -> None:
    """Check that a network can be trained, saved and used by hitfinder.

    Parameters
    ----------
    name : str
        Name that it is registered under, or ``module:Class``.
    shapes : tuple of (int, int)
        Rows and columns of frames to try it on.

    Raises
    ------
    hitfinder.contracts.BrokenContractError
        If it does not keep `hitfinder.study.networks.registry.NetworkClass`, saying how.
    ConfigError
        If there is no such network, or it does not say what it takes and gives.
    """
    spec = network(name)
    for n_outputs, shape in enumerate(shapes, 1):
        model = _built(spec, shape, n_outputs)
        _check_answers(spec, model, shape, n_outputs)
        _check_saving(spec, model, shape, n_outputs)
    _check_learning(spec, model, shape)
    try:
        spec.build((1, 1), 1)
    except ConfigError as error:
        small = isinstance(error.__cause__, ValueError)
        require(small, f"a frame that is too small must raise ValueError, not: {error}")


def _built(spec: NetworkSpec, shape: tuple[int, int], n_outputs: int) -> nn.Module:
    with requires(f"building it for frames of {shape[0]} x {shape[1]} pixels"):
        made = spec.build(shape, n_outputs)
    require(isinstance(made, nn.Module), f"a network is a torch.nn.Module, got {type(made)}")
    return made.eval()


def _inputs(spec: NetworkSpec, shape: tuple[int, int]) -> list[Tensor]:
    """Return counts around two, and other values as they are in experiments."""
    random = torch.Generator().manual_seed(5)
    given = {
        "frame": torch.poisson(torch.full((_FRAMES, 1, *shape), 2.0), random),
        "signal": torch.poisson(torch.full((_FRAMES, 1, *shape), 0.1), random),
        "parameters": torch.tensor([[0.15, 6.0], [0.35, 8.0]]),
    }
    return [given[name] for name in spec.inputs]


def _check_answers(
    spec: NetworkSpec, model: nn.Module, shape: tuple[int, int], n_outputs: int
) -> None:
    inputs = _inputs(spec, shape)
    with torch.inference_mode(), requires(f"predicting frames of {shape[0]} x {shape[1]} pixels"):
        together, again = model(*inputs), model(*inputs)
        alone = model(*(x[1:] for x in inputs))
    wanted = (_FRAMES, n_outputs, *shape) if spec.gives == "map" else (_FRAMES, n_outputs)
    require(isinstance(together, Tensor), "forward must return a tensor")
    require(
        tuple(together.shape) == wanted,
        f"{spec.gives} of {_FRAMES} frames and {n_outputs} outputs must have shape {wanted}, "
        f"got {tuple(together.shape)}",
    )
    require(together.dtype == torch.float32, f"answers must be float32, got {together.dtype}")
    require(bool(torch.isfinite(together).all()), "answers must be finite")
    require(torch.equal(together, again), "in evaluation mode the same frames must give the same")
    alike = torch.allclose(together[1:], alone, rtol=_TOLERANCE, atol=_TOLERANCE)
    require(alike, "in evaluation mode a frame must give the same alone and among others")


def _check_learning(spec: NetworkSpec, model: nn.Module, shape: tuple[int, int]) -> None:
    learnt = [p for p in model.parameters() if p.requires_grad]
    require(learnt, "there is nothing to learn: no parameter takes a gradient")
    torch.manual_seed(3)
    with requires("a step of training"):
        answers = model.train()(*_inputs(spec, shape))
        # Random targets: a sum would leave layers before a normalisation without gradient.
        (answers * torch.randn_like(answers)).sum().backward()
    moved = any(p.grad is not None and bool(p.grad.any()) for p in learnt)
    require(moved, "no gradient reaches a parameter")


def _check_saving(
    spec: NetworkSpec, model: nn.Module, shape: tuple[int, int], n_outputs: int
) -> None:
    """Check that the state has everything: the network is built empty, then filled from it."""
    inputs = _inputs(spec, shape)
    with requires("a network that is built under torch.device('meta') and filled from a state"):
        with torch.device("meta"):
            other = spec.build(shape, n_outputs)
        other.load_state_dict(model.state_dict(), assign=True)
        with torch.inference_mode():
            first, second = model(*inputs), other.eval()(*inputs)
    alike = second.device == first.device and torch.equal(first, second)
    require(alike, "a network that is filled from another's state must give the same answers")

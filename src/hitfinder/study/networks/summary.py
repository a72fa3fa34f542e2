"""Parameters and memory of a network for a frame size, found without allocating any."""

from __future__ import annotations

import dataclasses

import torch
from torch import Tensor, nn

from hitfinder.study.networks.registry import network

BYTES = 4


@dataclasses.dataclass(frozen=True)
class Summary:
    """What a network needs, in single precision.

    Parameters
    ----------
    n_parameters : int
        Numbers that are learnt.
    weights_bytes : int
        Memory of those and of the normalisation statistics.
    activation_bytes : int
        Outputs of all layers for one frame, which training keeps until the backward pass.
    largest_layer_bytes : int
        Largest input and output of one layer for one frame, which prediction needs at once.
    """

    n_parameters: int
    weights_bytes: int
    activation_bytes: int
    largest_layer_bytes: int

    def training_bytes(self, batch_size: int, optimiser_states: int = 2) -> int:
        """Return the memory of training: weights, gradients, optimiser states, activations.

        Parameters
        ----------
        batch_size : int
            Frames per step.
        optimiser_states : int
            Numbers kept for each parameter: 2 for Adam, 0 for plain gradient descent.
        """
        # Activations are there twice during the backward pass, once as gradients.
        return (2 + optimiser_states) * self.weights_bytes + 2 * batch_size * self.activation_bytes

    def prediction_bytes(self, batch_size: int = 1) -> int:
        """Return the memory of prediction: weights and the largest layer."""
        return self.weights_bytes + batch_size * self.largest_layer_bytes


def summarise(name: str, frame_shape: tuple[int, int], n_outputs: int) -> Summary:
    """Measure a network on the meta device, where tensors have shapes but no memory.

    Parameters
    ----------
    name : str
        Network in the registry.
    frame_shape : tuple of int
        Rows and columns of a frame.
    n_outputs : int
        Logits, or maps, per frame.

    Raises
    ------
    ConfigError
        If the network is unknown or the frame too small for it.
    """
    spec = network(name)
    sizes: list[tuple[int, int]] = []

    def record(layer: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> None:
        sizes.append((BYTES * sum(x.numel() for x in inputs), BYTES * output.numel()))

    with torch.device("meta"):
        model = spec.build(frame_shape, n_outputs).eval()
        for layer in model.modules():
            if not list(layer.children()):
                layer.register_forward_hook(record)
        shapes = {"parameters": (1, 2)}
        model(*(torch.empty(shapes.get(i, (1, 1, *frame_shape))) for i in spec.inputs))
    stored = [*model.parameters(), *model.buffers()]
    return Summary(
        n_parameters=sum(p.numel() for p in model.parameters()),
        weights_bytes=sum(t.numel() * t.element_size() for t in stored),
        activation_bytes=sum(out for _, out in sizes),
        largest_layer_bytes=max(a + b for a, b in sizes),
    )

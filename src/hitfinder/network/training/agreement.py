"""Whether the two forms of a locator, PyTorch's and ONNX's, give the same numbers."""

from __future__ import annotations

import numpy as np

from hitfinder.errors import HitfinderError
from hitfinder.network.channels import CHANNELS, SIZE
from hitfinder.network.folder import ModelError
from hitfinder.network.model import PeakModel
from hitfinder.network.onnx import INPUT

_ALLOWED = 1e-4


def torch_locator(model: PeakModel):  # type: ignore[no-untyped-def]
    """Return the locator of a model as a PyTorch module, ready to predict.

    Raises
    ------
    ModelError
        If the weights are not those of this version's locator.
    """
    import torch

    from hitfinder.network.training.architecture import Locator

    network = Locator()
    given = {name: torch.from_numpy(value) for name, value in model.weights().items()}
    try:
        network.load_state_dict(given, strict=False)
        missing = [n for n in network.state_dict() if n not in given]
        missing = [n for n in missing if not n.endswith("num_batches_tracked")]
    except RuntimeError as error:
        raise ModelError(f"the weights do not fit the locator: {error}", model.name) from error
    if missing:
        raise ModelError(f"the weights lack {missing[0]!r}", model.name)
    return network.eval()


def largest_difference(model: PeakModel, n: int = 64) -> float:
    """Run both forms on the same random maps and return the largest difference of the answers.

    Raises
    ------
    HitfinderError
        If they differ by more than rounding explains.
    """
    import torch

    maps = np.random.default_rng(0).standard_normal((n, len(CHANNELS), SIZE, SIZE), np.float32)
    with torch.inference_mode():
        one = torch_locator(model)(torch.from_numpy(maps)).numpy()
    other = model.session().run(None, {INPUT: maps})[0]
    difference = float(np.abs(one - other).max())
    if not difference <= _ALLOWED * max(1.0, float(np.abs(one).max())):
        raise HitfinderError(
            f"PyTorch and ONNX differ by {difference:.3g}", model.name, "Train it again."
        )
    return difference

"""Checkpoints that hold numbers and text alone, so that reading one can run nothing.

Lightning's own are pickled. Here the tensors of a checkpoint go to a safetensors file, and the
tree of dictionaries and lists around them to JSON in that file's header.
"""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import torch
from lightning.pytorch.plugins.io import CheckpointIO
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file

from hitfinder.errors import ConfigError
from hitfinder.network.tensors import new_tensors

FORMAT = "hitfinder-checkpoint-2"
_TENSOR, _MAP, _TUPLE = "tensor", "map", "tuple"


class SafeCheckpointIO(CheckpointIO):
    """Writes and reads the checkpoints of a Lightning trainer, each whole or not at all."""

    def save_checkpoint(
        self, checkpoint: dict[str, Any], path: Any, storage_options: Any | None = None
    ) -> None:
        """Write a checkpoint."""
        tensors: dict[str, torch.Tensor] = {}
        tree = json.dumps(_pack(checkpoint, tensors))
        Path(path).parent.mkdir(parents=True, exist_ok=True)
        with new_tensors(Path(path)) as part:
            told = {"format": FORMAT, "tree": tree, "sha256": _digest(tree, tensors)}
            save_file(tensors, part, told)

    def load_checkpoint(
        self, path: Any, map_location: Any | None = None, weights_only: bool | None = None
    ) -> dict[str, Any]:
        """Read a checkpoint; `map_location` is not needed, as the trainer moves the tensors."""
        return read(path)

    def remove_checkpoint(self, path: Any) -> None:
        """Delete a checkpoint."""
        Path(path).unlink(missing_ok=True)


def read(path: str | Path) -> dict[str, Any]:
    """Read a checkpoint.

    Raises
    ------
    ConfigError
        If it is damaged or no checkpoint of this program.
    """
    try:
        with safe_open(path, "pt") as file:
            header = file.metadata() or {}
            if header.get("format") != FORMAT:
                raise ConfigError("this is no checkpoint that this program reads", str(path))
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
            if header["sha256"] != _digest(header["tree"], tensors):
                raise ValueError("it is not what was written")
            return _unpack(json.loads(header["tree"]), tensors)
    except (OSError, SafetensorError, ValueError, KeyError) as error:
        hint = "Train anew, into another folder."
        raise ConfigError(f"the checkpoint cannot be read: {error}", str(path), hint) from error


def _digest(tree: str, tensors: dict[str, torch.Tensor]) -> str:
    """Return the SHA-256 of all that a checkpoint holds: safetensors has no checksum of its own."""
    found = hashlib.sha256(tree.encode())
    for name in sorted(tensors):
        found.update(name.encode())
        found.update(tensors[name].reshape(-1).view(torch.uint8).numpy().data)
    return found.hexdigest()


def _pack(value: Any, tensors: dict[str, torch.Tensor]) -> Any:
    """Return `value` as JSON can hold it, its tensors put aside."""
    if isinstance(value, torch.Tensor):
        name = f"t{len(tensors)}"
        # A copy: tensors that share memory cannot be stored together.
        tensors[name] = value.detach().cpu().contiguous().clone()
        return {_TENSOR: name}
    if isinstance(value, dict):
        # Keys may be numbers, and dictionaries mean something above.
        return {_MAP: [[_pack(k, tensors), _pack(v, tensors)] for k, v in value.items()]}
    if isinstance(value, tuple):
        return {_TUPLE: [_pack(v, tensors) for v in value]}
    if isinstance(value, list):
        return [_pack(v, tensors) for v in value]
    if value is None or type(value) in (bool, int, float, str):
        return value
    raise TypeError(f"a checkpoint cannot hold a {type(value).__name__}")


def _unpack(value: Any, tensors: dict[str, torch.Tensor]) -> Any:
    if isinstance(value, list):
        return [_unpack(v, tensors) for v in value]
    if not isinstance(value, dict):
        return value
    ((kind, inner),) = value.items()
    if kind == _TENSOR:
        return tensors[inner]
    if kind == _TUPLE:
        return tuple(_unpack(v, tensors) for v in inner)
    return {_unpack(k, tensors): _unpack(v, tensors) for k, v in inner}

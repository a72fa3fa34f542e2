"""Weights in files: read and written with the same care for every kind of model."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from hitfinder.atomic import replacing
from hitfinder.errors import HitfinderError


@contextlib.contextmanager
def ordinary_mode(path: Path) -> Iterator[None]:
    """Give the file that the body writes the permissions a plain new file gets.

    The safetensors library makes files that only their owner can read.

    Parameters
    ----------
    path : Path
        File that is about to be written; it must not exist.
    """
    path.touch(exist_ok=False)
    mode = path.stat().st_mode
    yield
    path.chmod(mode & 0o777)


def check_finite(weights: Mapping[str, NDArray], where: str, error: type[HitfinderError]) -> None:
    """Raise `error` if a weight is not a finite number."""
    for name, value in weights.items():
        if value.dtype.kind == "f" and not np.isfinite(value).all():
            raise error(f"weight {name!r} holds numbers that are not finite", where)


def read_weights(path: Path, error: type[HitfinderError]) -> dict[str, NDArray]:
    """Read weights from a safetensors file.

    Parameters
    ----------
    path : Path
        The file.
    error : type
        What to raise if it is damaged or a weight is not a finite number.
    """
    from safetensors import SafetensorError
    from safetensors.numpy import load_file

    try:
        weights = load_file(path)
    except (OSError, SafetensorError) as cause:
        raise error(f"the weights cannot be read: {cause}", str(path)) from cause
    check_finite(weights, str(path), error)
    return weights


def write_weights(path: Path, weights: Mapping[str, NDArray]) -> None:
    """Write weights to a safetensors file, whole or not at all."""
    from safetensors.numpy import save_file

    with replacing(path) as part, ordinary_mode(part):
        save_file({k: np.asarray(v, order="C") for k, v in weights.items()}, part)

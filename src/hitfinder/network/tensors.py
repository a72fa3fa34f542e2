"""Weights in files: read and written with the same care for every kind of model."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from hitfinder.atomic import replacing
from hitfinder.errors import HitfinderError, OutputError


@contextlib.contextmanager
def new_tensors(path: Path) -> Iterator[Path]:
    """Give a name to write a safetensors file under, which is `path` when the body has ended well.

    The file gets the permissions of a plain new one; the safetensors library makes files that only
    their owner can read.

    Parameters
    ----------
    path : Path
        File to write.

    Yields
    ------
    Path
        Name to write under.

    Raises
    ------
    OutputError
        If it cannot be written.
    """
    from safetensors import SafetensorError

    with replacing(path) as part:
        part.touch(exist_ok=False)
        mode = part.stat().st_mode
        try:
            yield part
        except SafetensorError as error:
            reason = str(error).rpartition("error: ")[2].partition(" (os error")[0]
            raise OutputError.unwritable(reason, path) from error
        part.chmod(mode & 0o777)


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

    with new_tensors(path) as part:
        save_file({k: np.asarray(v, order="C") for k, v in weights.items()}, part)

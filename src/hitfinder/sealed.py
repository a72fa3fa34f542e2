"""Arrays in files that end with a checksum, so that a damaged file counts as missing."""

from __future__ import annotations

import hashlib
import io
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from hitfinder.atomic import replacing

_DIGEST = hashlib.sha256


def write_arrays(path: Path, arrays: Mapping[str, Any]) -> None:
    """Write arrays to a file, whole or not at all.

    Raises
    ------
    OutputError
        If it cannot be written.
    """
    buffer = io.BytesIO()
    np.savez(buffer, allow_pickle=False, **arrays)
    content = buffer.getvalue()
    with replacing(path) as part:
        part.write_bytes(content + _DIGEST(content).digest())


def read_arrays(path: Path) -> dict[str, Any] | None:
    """Return the arrays of a file; None if it is missing or damaged."""
    try:
        content = path.read_bytes()
    except OSError:
        return None
    length = len(content) - _DIGEST().digest_size
    if length <= 0 or _DIGEST(content[:length]).digest() != content[length:]:
        return None
    return dict(np.load(io.BytesIO(content[:length]), allow_pickle=False))

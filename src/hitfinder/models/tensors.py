"""Files of tensors with the permissions of any other file."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path


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

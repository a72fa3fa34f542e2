"""Keeping the memory of a training step for the next one."""

from __future__ import annotations

import contextlib
import ctypes
from collections.abc import Iterator

M_TRIM_THRESHOLD, M_MMAP_MAX = -1, -4
"""Settings of glibc's ``mallopt``: free memory from which some is given back, and how many arrays
may have memory of their own, which is given back with them."""

USUAL = {M_TRIM_THRESHOLD: 128 << 10, M_MMAP_MAX: 65536}
"""What glibc does by itself (``malloc/malloc.c``)."""

KEPT = {M_TRIM_THRESHOLD: -1, M_MMAP_MAX: 0}


@contextlib.contextmanager
def memory_kept() -> Iterator[None]:
    """Keep what is freed within the block for what is needed next; where there is no glibc, don't.

    The maps between the layers take hundreds of MB at full size. glibc gives each back to the
    kernel and gets the next one page by page, which takes longer than most of the arithmetic.
    """
    try:
        library = ctypes.CDLL(None)
        option, trim = library.mallopt, library.malloc_trim
    except (OSError, TypeError, AttributeError):
        yield
        return
    for setting, value in KEPT.items():
        option(setting, value)
    try:
        yield
    finally:
        for setting, value in USUAL.items():
            option(setting, value)
        trim(0)

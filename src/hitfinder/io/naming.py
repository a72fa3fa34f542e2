"""The order of names with numbers in them."""

from __future__ import annotations

import re
from collections.abc import Iterable

_MOST_DIGITS = 1000


def natural_order(names: Iterable[str]) -> list[str]:
    """Sort names so that numbers in them count as numbers: ``run2`` before ``run10``."""

    def key(name: str) -> list[tuple[int, int, str]]:
        pieces = re.split(r"(\d+)", name)
        return [(0, int(p), p) if _is_number(p) else (1, 0, p) for p in pieces]

    return sorted(names, key=key)


def _is_number(piece: str) -> bool:
    return piece.isdigit() and piece.isascii() and len(piece) < _MOST_DIGITS

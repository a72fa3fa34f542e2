"""Files of a store: the results of chunks, and what they add to the totals."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from hitfinder.results.chunk import ChunkResult

TOTALS = "totals"


def chunk_name(home: int) -> str:
    """Return the name of the file of a chunk."""
    return f"chunk-{home:09d}"


def totals_name(home: int, number: int) -> str:
    """Return the name of what a chunk added to the totals, for the so manieth time."""
    return f"{TOTALS}-{home:09d}-{number}"


def joined(loaded: Mapping[str, Any]) -> list[int]:
    """Return the chunks that a file holds, by their first frames; none if it holds one."""
    return loaded["joined"].tolist() if "joined" in loaded else []


def joined_name(homes: Sequence[int]) -> str:
    """Return the name by which joined chunks are known to the totals."""
    return f"joined-{homes[0]:09d}-{homes[-1]:09d}"


def names_of(home: int, loaded: Mapping[str, Any], merged: set[str]) -> list[str]:
    """Return the names by which what a file adds is known to the totals."""
    if not (homes := joined(loaded)):
        return [totals_name(home, number) for number in range(int(loaded["added"]))]
    own = joined_name(homes)
    return [own] if own in merged else loaded["in_totals"].tolist()


def arrays_of(chunk: ChunkResult) -> dict[str, Any]:
    """Return what a file of a store holds of a chunk, for `chunk_of`."""
    arrays = {name: getattr(chunk, name) for name in ("frames", "rows", "peaks")}
    return {**arrays, "problems": np.frombuffer(json.dumps(chunk.problems).encode(), np.uint8)}


def chunk_of(loaded: Mapping[str, Any]) -> ChunkResult:
    """Return the chunk that a file of a store holds, without its totals."""
    problems = json.loads(loaded["problems"].tobytes())
    return ChunkResult(
        loaded["frames"],
        loaded["rows"],
        loaded["peaks"],
        {int(frame): text for frame, text in problems.items()},
    )

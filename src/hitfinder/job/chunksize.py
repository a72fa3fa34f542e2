"""How many frames are processed together."""

from __future__ import annotations

import numpy as np

SMALLEST_CHUNK, LARGEST_CHUNK, CHUNKS = 8, 256, 512
"""Frames in a chunk, within limits such that a job has about so many chunks."""


def chunk_size(n_frames: int) -> int:
    """Return how many frames a chunk has in a run of so many.

    Small chunks lose little when a job is killed; large ones keep the number of files down.
    """
    return int(np.clip(n_frames // CHUNKS, SMALLEST_CHUNK, LARGEST_CHUNK))

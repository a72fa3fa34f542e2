"""Random numbers for compiled loops: xoshiro256++, seeded frame by frame.

Generator of Blackman & Vigna, ACM Trans. Math. Softw. 47, 36 (2021). The state is an array of four
64-bit words, so that a kernel takes it, advances it and leaves it for the next kernel. Each frame
and purpose gets its own state from one seed, which makes a frame independent of the others, of the
order they are made in, and of the number of workers.
"""

from __future__ import annotations

import zlib
from collections.abc import Mapping

import numba
import numpy as np
from numpy.typing import NDArray

SERIES_KEY = 2**32 - 1
"""Stands for the frame's number where something is drawn for a whole series."""

_TO_UNIT = 1.0 / 9007199254740992.0  # 2**-53


def frame_seed(seed: int, *key: int) -> np.random.SeedSequence:
    """Return the seed sequence of a frame (first key) and a purpose (further keys).

    Equal to spawning from ``SeedSequence(seed)`` that many times, without doing so.
    """
    return np.random.SeedSequence(seed, spawn_key=key)


def random_state(seed: int | np.random.SeedSequence, *key: int) -> NDArray[np.uint64]:
    """Return a generator state for compiled kernels, shape (4,).

    Parameters
    ----------
    seed : int or SeedSequence
        The one seed, or a sequence derived from it.
    *key : int
        Frame number and purpose, when `seed` is an integer.
    """
    if not isinstance(seed, np.random.SeedSequence):
        seed = frame_seed(seed, *key)
    return np.asarray(seed.generate_state(4, np.uint64), np.uint64)


PURPOSES: Mapping[str, int] = {
    "shot": 0,
    "background": 1,
    "bragg": 1,
    "detector": 1,
    "spectrum": 2,
}
"""Last key of the seed for each purpose; purposes of one number share a stream."""


class FrameRandom:
    """The random numbers of one frame: a stream for each purpose.

    Each stream depends on seed, key and purpose alone: not on other frames, nor on what was drawn
    for other purposes, unless they share a number. A purpose of another name than those of
    `purposes` gets a stream of its own.

    Parameters
    ----------
    seed : int
        The one seed.
    *key : int
        What tells the frame from all others: its number, or that of its series and its own.
    purposes : mapping
        Number of each purpose.
    """

    def __init__(self, seed: int, *key: int, purposes: Mapping[str, int] = PURPOSES) -> None:
        self._seed, self._key, self._purposes = seed, key, purposes
        self._generators: dict[int, np.random.Generator] = {}
        self._states: dict[int, NDArray[np.uint64]] = {}

    def _number(self, purpose: str) -> int:
        named = self._purposes.get(purpose)
        return (1 << 32) + zlib.crc32(purpose.encode()) if named is None else named

    def generator(self, purpose: str) -> np.random.Generator:
        """Return NumPy's generator for a purpose, the same one whenever it is asked for."""
        number = self._number(purpose)
        if number not in self._generators:
            seed = frame_seed(self._seed, *self._key, number)
            self._generators[number] = np.random.default_rng(seed)
        return self._generators[number]

    def state(self, purpose: str) -> NDArray[np.uint64]:
        """Return the state that compiled kernels take and advance, shape (4,)."""
        number = self._number(purpose)
        if number not in self._states:
            self._states[number] = random_state(self._seed, *self._key, number)
        return self._states[number]


@numba.njit(cache=True, nogil=True, inline="always")
def next_u64(state):  # type: ignore[no-untyped-def]
    """Advance the state and return 64 random bits."""
    s0, s1, s2, s3 = state[0], state[1], state[2], state[3]
    total = s0 + s3
    result = ((total << np.uint64(23)) | (total >> np.uint64(41))) + s0
    shifted = s1 << np.uint64(17)
    s2 ^= s0
    s3 ^= s1
    s1 ^= s2
    s0 ^= s3
    s2 ^= shifted
    s3 = (s3 << np.uint64(45)) | (s3 >> np.uint64(19))
    state[0], state[1], state[2], state[3] = s0, s1, s2, s3
    return result


@numba.njit(cache=True, nogil=True, inline="always")
def uniform(state):  # type: ignore[no-untyped-def]
    """Return a number in (0, 1), both ends excluded."""
    return (np.float64(next_u64(state) >> np.uint64(11)) + 0.5) * _TO_UNIT

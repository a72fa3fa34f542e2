"""Random numbers for compiled loops: xoshiro256++, seeded frame by frame.

Generator of Blackman & Vigna, ACM Trans. Math. Softw. 47, 36 (2021). The state is an array of four
64-bit words, so that a kernel takes it, advances it and leaves it for the next kernel. Each frame
and purpose gets its own state from one seed, which makes a frame independent of the others, of the
order they are made in, and of the number of workers.
"""

from __future__ import annotations

import math

import numba
import numpy as np
from numpy.typing import NDArray

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


@numba.njit(cache=True, nogil=True)
def normal_pair(state):  # type: ignore[no-untyped-def]
    """Return two independent standard normal numbers (Marsaglia's polar method)."""
    while True:
        a = 2.0 * uniform(state) - 1.0
        b = 2.0 * uniform(state) - 1.0
        r2 = a * a + b * b
        if 0.0 < r2 < 1.0:
            factor = math.sqrt(-2.0 * math.log(r2) / r2)
            return a * factor, b * factor

"""Pairs of places that are close to one another."""

from __future__ import annotations

import numpy as np
from numba import njit
from numpy.typing import NDArray

_ROOM = 4
"""Pairs to a place for which there is room at first."""


def close_pairs(
    fs: NDArray[np.float64], ss: NDArray[np.float64], reach_px: float
) -> NDArray[np.int64]:
    """List the pairs of places that are no farther apart than `reach_px`.

    A tree of the places would take more time to build than the pairs of a frame take to find.

    Parameters
    ----------
    fs, ss : ndarray, shape (n,)
        Places, in pixels.
    reach_px : float
        Largest distance, in pixels.

    Returns
    -------
    ndarray, shape (n_pairs, 2)
        The numbers of both, the lower one first.
    """
    places = np.stack([fs, ss])
    # Numba takes a second to compile what sorts.
    order = np.argsort(ss, kind="stable")
    pairs = np.empty((_ROOM * len(order), 2), np.int64)
    while (n := _list_pairs(order, places, reach_px, pairs)) > len(pairs):
        pairs = np.empty((n, 2), np.int64)
    return pairs[:n]


@njit(cache=True, nogil=True)
def _list_pairs(order, places, reach, pairs):  # type: ignore[no-untyped-def]
    """Write the pairs as far as there is room for them, and return how many there are.

    `places` are fs and ss, shape (2, n), and `order` are their numbers, ss rising.
    """
    n = 0
    for a in range(order.size):
        p = order[a]
        for b in range(a + 1, order.size):
            q = order[b]
            along, down = places[0, q] - places[0, p], places[1, q] - places[1, p]
            if down > reach:
                break
            if along * along + down * down <= reach * reach:
                if n < pairs.shape[0]:
                    pairs[n, 0], pairs[n, 1] = min(p, q), max(p, q)
                n += 1
    return n

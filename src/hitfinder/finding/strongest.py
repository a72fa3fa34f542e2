"""The stronger half of a list of candidates, for which alone there is room."""

from __future__ import annotations

import numpy as np
from numba import njit


@njit(cache=True, nogil=True)
def drop_weaker_half(found, strength, count):
    """Keep the stronger half of some candidates, in their order.

    Parameters
    ----------
    found : ndarray of int32, shape (n, 2)
        Places of the candidates; written.
    strength : ndarray of float32, shape (n,)
        How strong each is; written.
    count : int
        Candidates there are.

    Returns
    -------
    kept : int
        Candidates kept.
    least : float
        Strength of the strongest of those that were dropped, or of some as strong that were kept.
    """
    most = count // 2
    least = _in_order(strength[:count].copy(), most)
    # Of those that are as strong as one another there may be more than half.
    ties = most
    for c in range(count):
        ties -= np.int64(strength[c] > least)
    kept = 0
    for c in range(count):
        tied = strength[c] == least
        if strength[c] > least or (tied and ties > 0):
            found[kept, 0], found[kept, 1] = found[c, 0], found[c, 1]
            strength[kept] = strength[c]
            kept, ties = kept + 1, ties - np.int64(tied)
    return kept, least


@njit(cache=True, nogil=True)
def _in_order(values, k):
    """Return the k-th smallest value, from 0; reorders the values.

    What NumPy does for it is slow to compile (C. A. R. Hoare, Commun. ACM 4, 321, 1961).
    """
    low, high = 0, values.size - 1
    while low < high:
        pivot, i, j = values[(low + high) // 2], low, high
        while i <= j:
            while values[i] < pivot:
                i += 1
            while values[j] > pivot:
                j -= 1
            if i <= j:
                values[i], values[j] = values[j], values[i]
                i, j = i + 1, j - 1
        if k <= j:
            high = j
        elif k >= i:
            low = i
        else:
            break
    return values[k]

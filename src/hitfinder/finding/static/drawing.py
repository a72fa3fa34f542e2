"""The hypergeometric law: how many marked ones are among those that are drawn."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray


def chance_between(
    least: NDArray[np.number] | float,
    most: NDArray[np.number] | float,
    n: int,
    marked: NDArray[np.number] | float,
    drawn: NDArray[np.number] | float,
) -> NDArray[np.float64]:
    """Return the chance that from `least` to `most` marked ones are among those drawn.

    `scipy.stats` has the law too, but takes longer to be imported than a run to learn what is
    static in it.

    Parameters
    ----------
    least, most : array of numbers
        How many marked ones, both ends included.
    n : int
        How many there are to draw from.
    marked, drawn : array of whole numbers, from 0 to `n`
        How many are marked, and how many are drawn.

    Returns
    -------
    ndarray
        The chance, for each of the numbers given.
    """
    given = np.broadcast_arrays(*(np.asarray(v, np.float64) for v in (least, most, marked, drawn)))
    least, most, marked, drawn = given
    whole_marked, whole_drawn = marked.astype(np.intp), drawn.astype(np.intp)
    log_factorial = np.concatenate([[0.0], np.cumsum(np.log(np.arange(1, n + 1)))])

    def log_ways(of: NDArray[np.intp], taken: NDArray[np.intp]) -> NDArray[np.float64]:
        possible = (taken >= 0) & (taken <= of)
        taken = np.where(possible, taken, 0)
        ways = log_factorial[of] - log_factorial[taken] - log_factorial[of - taken]
        return np.where(possible, ways, -np.inf)

    everywhere = np.full(whole_drawn.shape, n)
    log_all = log_ways(everywhere, whole_drawn)
    chance = np.zeros(whole_drawn.shape)
    for k in range(int(whole_drawn.max(initial=0)) + 1):
        both = np.full(whole_drawn.shape, k)
        log_one = log_ways(whole_marked, both) + log_ways(
            everywhere - whole_marked, whole_drawn - both
        )
        chance += np.where((least <= k) & (k <= most), np.exp(log_one - log_all), 0.0)
    return chance

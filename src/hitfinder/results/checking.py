"""The check that results keep the contract of `Mergeable`, for ours and for those of others."""

from __future__ import annotations

import copy
import itertools
from collections.abc import Callable, Sequence
from typing import TypeVar

from hitfinder.contracts import require, requires
from hitfinder.results.contract import Mergeable

MergeableT = TypeVar("MergeableT", bound=Mergeable)

_MOST_ORDERS = 24


def check_mergeable(
    nothing: Callable[[], MergeableT],
    results: Sequence[MergeableT],
    content: Callable[[MergeableT], object],
) -> None:
    """Check that results of some frames merge as the contract says.

    Parameters
    ----------
    nothing : callable
        Makes a result of no frame.
    results : sequence
        Results of different frames of one run, three or more.
    content : callable
        Returns all that a result holds, as what ``==`` compares: bytes, numbers, tuples of them.

    Raises
    ------
    hitfinder.contracts.BrokenContractError
        If a rule of `Mergeable` is broken, saying which.
    """
    before = [content(result) for result in results]
    whole = _merged(nothing, results)
    for order in itertools.islice(itertools.permutations(results), _MOST_ORDERS):
        same = content(_merged(nothing, order)) == content(whole)
        require(same, "merging in another order must give the same")
    for cut in range(1, len(results)):
        rest = _merged(nothing, results[cut:])
        with requires("merging two merged results"):
            rest.merge(_merged(nothing, results[:cut]))
        require(content(rest) == content(whole), "merging in other groups must give the same")
    for result, told in zip(results, before, strict=True):
        alone = copy.deepcopy(result)
        with requires("merging a result of nothing"):
            alone.merge(nothing())
        require(content(alone) == told, "merging nothing must change nothing")
        same = content(_merged(nothing, [result])) == told
        require(same, "a result merged into nothing must be that result")
        require(content(result) == told, "merging must not change what is merged into another")


def _merged(nothing: Callable[[], MergeableT], results: Sequence[MergeableT]) -> MergeableT:
    merged = nothing()
    for result in results:
        with requires("merging"):
            merged.merge(result)
    return merged

"""The contract of results that merge."""

from __future__ import annotations

from typing import Protocol, Self


class Mergeable(Protocol):
    """What some of the frames of a run gave, and can be joined with what others gave.

    Any number of processes, or machines, each gather results of their own frames; merged, they are
    what one process would have gathered of all. So merging keeps three rules, bit for bit:

    - the order does not matter: a with b is b with a;
    - nor does the grouping: a with b and c joined is a and b joined with c;
    - nothing with a is a, where nothing is a result that has just been made.

    Floating-point numbers keep the rules only if they are added up as a
    `hitfinder.sums.ExactSum`. `hitfinder.results.checking.check_mergeable` tries the rules on any
    class.
    """

    def merge(self, other: Self) -> None:
        """Take in what another result has, which stays as it is.

        Raises
        ------
        ValueError
            If the two cannot belong to one run.
        """

"""Tasks on their way through an executor: waiting, in hand, tried again, done or lost."""

from __future__ import annotations

import collections
import dataclasses
from collections.abc import Iterable, Iterator
from typing import Any

from hitfinder.executors.contract import Done, Lost

TRIES = 2
"""How many workers a task may end before it is given up."""

LONGEST_S = 600.0
"""Time that any task is given: a worker that is at one for longer, and for `TIMES_SLOWEST` times as
long as the slowest that was finished, is taken to work without end."""

TIMES_SLOWEST = 20.0
FIRST_S = 6 * LONGEST_S
"""Time that a task is given before any was finished."""


@dataclasses.dataclass(eq=False)
class Ticket:
    """A task, its number in line, and how many workers it has ended."""

    number: int
    task: Any
    ended: int = 0


class TaskQueue:
    """The tasks of one run.

    Parameters
    ----------
    tasks : iterable
        The tasks; None stands for "none at the moment".
    window : int, optional
        Give outcomes in the order of the tasks, of which no more than so many are out at a time;
        by default outcomes come as they are.
    """

    def __init__(self, tasks: Iterable[Any], window: int | None = None) -> None:
        self._tasks, self._window = iter(tasks), window
        self._again: collections.deque[Ticket] = collections.deque()
        self._finished: dict[int, Done | Lost] = {}
        self._taken, self._given = 0, 0
        self._is_exhausted = False
        self.is_waiting = False
        """Whether the tasks said that there is none at the moment."""
        self._slowest_s: float | None = None

    @property
    def is_finished(self) -> bool:
        """Whether every task has its outcome, and it was given out."""
        return self._is_exhausted and self._given == self._taken

    @property
    def limit_s(self) -> float:
        """Time after which a task is taken never to end."""
        if self._slowest_s is None:
            return FIRST_S
        return max(LONGEST_S, TIMES_SLOWEST * self._slowest_s)

    def next(self) -> Ticket | None:
        """Return the next task to be done, if there is one now."""
        if self._again:
            return self._again.popleft()
        self.is_waiting = False
        is_full = self._window is not None and self._taken - self._given >= self._window
        if self._is_exhausted or is_full:
            return None
        try:
            task = next(self._tasks)
        except StopIteration:
            self._is_exhausted = True
            return None
        if task is None:
            self.is_waiting = True
            return None
        self._taken += 1
        return Ticket(self._taken - 1, task)

    def put_back(self, ticket: Ticket) -> None:
        """Put a task first in line that no worker began."""
        self._again.appendleft(ticket)

    def done(self, ticket: Ticket, result: Any, took_s: float) -> None:
        """Take in a result, and how long it took."""
        self._slowest_s = max(self._slowest_s or 0.0, took_s)
        self._finished[ticket.number] = Done(ticket.task, result)

    def failed(self, ticket: Ticket, why: str, hung: bool) -> bool:
        """Take note that a task ended its worker; return whether it is tried again."""
        ticket.ended += 1
        if ticket.ended < TRIES:
            self._again.append(ticket)
            return True
        self._finished[ticket.number] = Lost(ticket.task, why, hung)
        return False

    def outcomes(self) -> Iterator[Done | Lost]:
        """Yield the outcomes that can be given out now."""
        while self._finished:
            number = self._given if self._window is not None else next(iter(self._finished))
            if number not in self._finished:
                return
            outcome = self._finished.pop(number)
            self._given += 1
            yield outcome

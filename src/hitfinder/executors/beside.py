"""Calls that workers make while this process does something else."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Callable, Iterator
from typing import Any, TypeVar

from hitfinder.errors import HitfinderError
from hitfinder.executors.contract import Done
from hitfinder.executors.processes import Processes

log = logging.getLogger(__name__)

NamedCall = tuple[str, Callable[[], Any]]
ResultT = TypeVar("ResultT")


class CallWork:
    """The work of making calls; see `hitfinder.executors.contract.Work`."""

    @contextlib.contextmanager
    def opened(self) -> Iterator[Callable[[NamedCall], Any]]:
        """Return a function that makes a call."""
        yield lambda named: named[1]()


class Beside:
    """Calls that are made beside this process, or in it where nobody else can make them.

    Parameters
    ----------
    executor : Processes, optional
        Has the calls made. Without it this process makes each when its result is asked for.
    """

    def __init__(self, executor: Processes | None = None) -> None:
        self._executor = executor
        self._calls: list[NamedCall] = []
        self._results: dict[str, Any] = {}
        self._outcomes: Iterator[Any] = iter(())

    def add(self, name: str, call: Callable[[], object]) -> None:
        """Have a call made beside, which can be pickled and changes nothing; before `start`."""
        self._calls.append((name, call))

    def start(self) -> None:
        """Begin with the calls, in the order in which they were added."""
        if self._executor is not None and self._calls:
            self._outcomes = self._executor.run(CallWork(), self._calls)
            self._executor.send()

    def result(self, name: str, call: Callable[[], ResultT]) -> ResultT:
        """Return what a call gives.

        Parameters
        ----------
        name : str
            As it was added, if it was.
        call : callable
            The call, which is made here unless a worker has made it.
        """
        try:
            while name not in self._results:
                outcome = next(self._outcomes, None)
                if outcome is None:
                    break
                if isinstance(outcome, Done):
                    self._results[outcome.task[0]] = outcome.result
        except HitfinderError:
            # If it is no fault of the workers, it comes again.
            log.debug("calls beside", exc_info=True)
        return self._results.pop(name) if name in self._results else call()

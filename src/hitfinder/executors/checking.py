"""The check that an executor keeps its contract, for ours and for those of others."""

from __future__ import annotations

import contextlib
import dataclasses
import itertools
import os
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hitfinder.contracts import BrokenContractError, require, requires
from hitfinder.errors import HitfinderError
from hitfinder.executors.contract import Done, Executor, Lost

MOST_AHEAD = 16
"""Tasks, besides one for each worker, that may be taken before results are asked for."""

_LARGE, _MOST_WAITS = 500_000, 1_000_000


@dataclasses.dataclass(frozen=True)
class Squares:
    """Work for the check: the square of a number, in an array of some size.

    Attributes
    ----------
    fails : str
        ``opening`` or ``working``, if it is to.
    """

    fails: str = ""

    @contextlib.contextmanager
    def opened(self) -> Iterator[Callable[[int], NDArray[np.int64]]]:
        """Return the function that does the work; a negative number ends its process."""
        if self.fails == "opening":
            raise HitfinderError("the trial cannot be opened")
        yield self._square

    def _square(self, number: int) -> NDArray[np.int64]:
        if number < 0:
            os._exit(1)
        if self.fails == "working" and number == 3:
            raise HitfinderError("the trial cannot work on 3")
        return np.full(_LARGE if number == 2 else 1, number**2)


def check_executor(build: Callable[[], Executor], *, has_processes: bool = True) -> None:
    """Check that an executor can do the work of a run.

    Parameters
    ----------
    build : callable
        Makes an executor; called several times.
    has_processes : bool
        Whether its workers are processes of their own, which may die.

    Raises
    ------
    hitfinder.contracts.BrokenContractError
        If it does not keep `hitfinder.executors.contract.Executor`, saying how.
    """
    with requires("making the executor"), build() as executor:
        n_workers = executor.n_workers
        require(
            isinstance(n_workers, int) and n_workers > 0,
            f"n_workers must be 1 or more, {n_workers}",
        )
        _check_results(executor)
        _check_flow(executor)
        _check_errors(executor)
        require(_squares(executor, [5]) == {5: 25}, "it must serve another run after an error")
    if has_processes:
        with requires("a worker that dies"), build() as executor:
            _check_losses(executor)


def _value(outcome: Done | Lost) -> Any:
    require(isinstance(outcome, (Done, Lost)), f"run yields Done or Lost, got {type(outcome)}")
    if isinstance(outcome, Lost):
        return None
    values = np.unique(outcome.result)
    return int(values[0]) if len(values) == 1 else values


def _squares(executor: Executor, numbers: list[int]) -> dict[int, Any]:
    return {outcome.task: _value(outcome) for outcome in executor.run(Squares(), numbers)}


def _check_results(executor: Executor) -> None:
    found = list(executor.run(Squares(), range(9)))
    tasks = sorted(outcome.task for outcome in found)
    require(tasks == list(range(9)), f"each task must have one outcome, got those of {tasks}")
    right = all(_value(outcome) == outcome.task**2 for outcome in found)
    require(right, "each outcome must be that of its task")
    whole = [outcome for outcome in found if outcome.task == 2]
    size = isinstance(whole[0], Done) and whole[0].result.shape == (_LARGE,)
    require(size, "a result must come as it was given")
    in_order = [outcome.task for outcome in executor.run(Squares(), range(9), ordered=True)]
    require(in_order == list(range(9)), "with ordered=True outcomes must come in order")
    require(not list(executor.run(Squares(), [])), "without a task there must be no outcome")


def _check_flow(executor: Executor) -> None:
    """Check that tasks are taken as they are needed, and that None is none at the moment."""
    most = executor.n_workers + MOST_AHEAD
    for ordered in (False, True):
        taken = itertools.count(1)

        def endless(taken: Iterator[int] = taken) -> Iterator[int]:
            while (number := next(taken)) <= most + 3:
                yield number
            raise BrokenContractError("tasks must be taken only when there is room for them")

        outcomes = executor.run(Squares(), endless(), ordered=ordered)
        for _ in range(3):
            next(iter(outcomes))
        close = getattr(outcomes, "close", None)
        require(close is not None, "run must be a generator, which can be closed before its end")
        if close is not None:
            close()
    seen: list[int] = []

    def stream() -> Iterator[int | None]:
        yield 1
        yield None
        for _ in range(_MOST_WAITS):
            if 1 in seen:
                break
            yield None
        require(1 in seen, "what is done must be given out while there is no task")
        yield 4

    for outcome in executor.run(Squares(), stream()):
        require(outcome.task is not None, "None is no task")
        seen.append(outcome.task)
    require(seen == [1, 4], f"None must not end a run, whose outcomes were those of {seen}")


def _check_errors(executor: Executor) -> None:
    for fails, told in (("opening", "cannot be opened"), ("working", "cannot work on 3")):
        try:
            with requires(f"an error in {fails}", HitfinderError):
                list(executor.run(Squares(fails), range(6)))
        except HitfinderError as error:
            require(told in str(error), f"an error in {fails} must reach the caller, not: {error}")
        else:
            raise BrokenContractError(f"an error in {fails} must reach the caller")


def _check_losses(executor: Executor) -> None:
    found = list(executor.run(Squares(), [0, 1, -1, 4, 5]))
    lost = [outcome.task for outcome in found if isinstance(outcome, Lost)]
    require(lost == [-1], f"a task that ends its workers must be lost, and no other; lost {lost}")
    tasks = sorted(outcome.task for outcome in found)
    require(tasks == [-1, 0, 1, 4, 5], "a worker that dies must cost no other task")

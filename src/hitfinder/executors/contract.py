"""The contract between work to be done and the executor that has it done.

A `Work` says what is done with a task, an `Executor` where and by how many processes. Neither knows
the other, and the results are the same whatever the executor and the number of its workers.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager
from typing import Generic, Protocol, Self, TypeVar

from hitfinder.errors import HitfinderError

TaskT = TypeVar("TaskT")
ResultT = TypeVar("ResultT")
TaskT_contra = TypeVar("TaskT_contra", contravariant=True)
ResultT_co = TypeVar("ResultT_co", covariant=True)


class Work(Protocol[TaskT_contra, ResultT_co]):
    """What is done with every task.

    It is pickled and sent to every worker once, so it holds settings and not what they lead to:
    `opened` makes that, in the process that uses it. Work must not depend on the order of the
    tasks, nor on which of them a worker is given.
    """

    def opened(self) -> AbstractContextManager[Callable[[TaskT_contra], ResultT_co]]:
        """Make ready to work, and return the function that turns a task into its result.

        The block is left when there is no more to do. It is also left by an exception when the
        work is cut short, so that the function can drop a file that it has half written.
        """


@dataclasses.dataclass(frozen=True)
class Done(Generic[TaskT, ResultT]):
    """A task that is done.

    Attributes
    ----------
    task : object
        The task.
    result : object
        What came of it.
    """

    task: TaskT
    result: ResultT


@dataclasses.dataclass(frozen=True)
class Lost(Generic[TaskT]):
    """A task that ended its worker each time it was tried.

    Attributes
    ----------
    task : object
        The task.
    why : str
        How the last worker ended, for people.
    hung : bool
        Whether that worker did nothing any more, instead of dying.
    """

    task: TaskT
    why: str
    hung: bool = False


class Executor(Protocol):
    """Has work done for tasks; a context manager, which ends its workers when it is left."""

    @property
    def n_workers(self) -> int:
        """Tasks that are worked on at a time, at most."""

    def run(
        self,
        work: Work[TaskT, ResultT],
        tasks: Iterable[TaskT | None],
        *,
        ordered: bool = False,
    ) -> Iterator[Done[TaskT, ResultT] | Lost[TaskT]]:
        """Have the work done for every task; it may begin before outcomes are asked for.

        Parameters
        ----------
        work : Work
            What to do.
        tasks : iterable
            The tasks, taken one by one when a worker has room for the next, so that there may be
            any number. None stands for "none at the moment": what is finished meanwhile is given
            out, and the iterator is asked again soon.
        ordered : bool
            Give the outcomes in the order of the tasks, instead of that in which they are done.

        Yields
        ------
        Done or Lost
            One for each task. A worker that dies costs nothing: its task goes to another one, and
            is lost only if it ends that one too.

        Raises
        ------
        HitfinderError
            If no worker can work, or from the work.
        """

    def __enter__(self) -> Self: ...

    def __exit__(self, *exc_info: object) -> None: ...


def results(outcomes: Iterable[Done[TaskT, ResultT] | Lost[TaskT]]) -> Iterator[ResultT]:
    """Yield the results of tasks of which none may be lost.

    Raises
    ------
    HitfinderError
        If one is.
    """
    for outcome in outcomes:
        if isinstance(outcome, Lost):
            raise HitfinderError(
                f"a worker process ended before its work was done ({outcome.why}), "
                "and so did the one that tried again",
                hint="It may have run out of memory: try fewer --workers.",
            )
        yield outcome.result

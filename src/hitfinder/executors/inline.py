"""The executor without workers: everything is done in this process."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Self

from hitfinder.executors.contract import Done, ResultT, TaskT, Work


class Inline:
    """Does the work in this process, task by task; what kills it kills everything."""

    n_workers = 1

    def start(self, n_workers: int, modules: Sequence[str] = ()) -> None:
        """Do nothing: there is nothing to start; see `hitfinder.executors.processes.Processes`."""

    def run(
        self,
        work: Work[TaskT, ResultT],
        tasks: Iterable[TaskT | None],
        *,
        ordered: bool = False,
    ) -> Iterator[Done[TaskT, ResultT]]:
        """Have the work done for every task, in their order; see `Executor.run`."""
        with work.opened() as do:
            for task in tasks:
                if task is not None:
                    yield Done(task, do(task))

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc_info: object) -> None:
        pass

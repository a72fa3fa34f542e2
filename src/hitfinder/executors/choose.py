"""The executor for a number of workers."""

from __future__ import annotations

from hitfinder.executors.contract import Executor
from hitfinder.executors.inline import Inline
from hitfinder.executors.processes import Processes


def executor_for(workers: int) -> Executor:
    """Return an executor of so many workers, a single one being this process.

    Raises
    ------
    ValueError
        If there is no worker.
    """
    return Inline() if workers == 1 else Processes(workers)

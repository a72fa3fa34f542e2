"""The check of executors: ours keep the contract, and what does not keep it is told."""

import itertools

import pytest

from hitfinder.contracts import BrokenContractError
from hitfinder.errors import HitfinderError
from hitfinder.executors.checking import check_executor
from hitfinder.executors.contract import Done
from hitfinder.executors.inline import Inline
from hitfinder.executors.processes import Processes


def test_our_executors_keep_the_contract():
    check_executor(Inline, has_processes=False)
    check_executor(lambda: Processes(2))


class NoWorkers(Inline):
    n_workers = 0


class Eager(Inline):
    def run(self, work, tasks, *, ordered=False):
        return super().run(work, list(tasks), ordered=ordered)


class Reversed(Inline):
    def run(self, work, tasks, *, ordered=False):
        with work.opened() as do:
            tasks = iter(tasks)
            while batch := list(itertools.islice(tasks, 3)):
                for task in reversed(batch):
                    if task is not None:
                        yield Done(task, do(task))


class Forgetful(Inline):
    def run(self, work, tasks, *, ordered=False):
        return super().run(work, itertools.islice(tasks, 5), ordered=ordered)


class Mixed(Inline):
    def run(self, work, tasks, *, ordered=False):
        for outcome in super().run(work, tasks):
            yield Done(outcome.task, outcome.result + 1)


class Plain(Inline):
    def run(self, work, tasks, *, ordered=False):
        for outcome in super().run(work, tasks):
            yield outcome.result


class Impatient(Inline):
    def run(self, work, tasks, *, ordered=False):
        return super().run(work, itertools.takewhile(lambda t: t is not None, tasks))


class NoneIsATask(Inline):
    def run(self, work, tasks, *, ordered=False):
        with work.opened() as do:
            for task in tasks:
                yield Done(task, do(task or 0))


class Silent(Inline):
    def run(self, work, tasks, *, ordered=False):
        try:
            yield from super().run(work, tasks)
        except HitfinderError:
            return


class Vague(Inline):
    def run(self, work, tasks, *, ordered=False):
        try:
            yield from super().run(work, tasks)
        except HitfinderError:
            raise HitfinderError("something went wrong") from None


class Raw(Inline):
    def run(self, work, tasks, *, ordered=False):
        try:
            yield from super().run(work, tasks)
        except HitfinderError:
            raise RuntimeError("worker") from None


class Once(Inline):
    failed = False

    def run(self, work, tasks, *, ordered=False):
        if self.failed:
            raise HitfinderError("no longer")
        try:
            yield from super().run(work, tasks)
        except HitfinderError as error:
            self.failed = "working" in str(work)
            raise error


class Waits(Inline):
    """Gives out what is done when the next task is there, and not before."""

    def run(self, work, tasks, *, ordered=False):
        with work.opened() as do:
            waiting = None
            for task in tasks:
                if task is not None:
                    if waiting is not None:
                        yield waiting
                    waiting = Done(task, do(task))
            if waiting is not None:
                yield waiting


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (lambda: 1 / 0, "making the executor raises ZeroDivisionError"),
        (NoWorkers, "n_workers must be 1 or more"),
        (Eager, "tasks must be taken only when there is room"),
        (Reversed, "with ordered=True outcomes must come in order"),
        (Forgetful, "each task must have one outcome"),
        (Mixed, "each outcome must be that of its task"),
        (Plain, "making the executor raises AttributeError|run yields Done or Lost"),
        (Impatient, "None must not end a run"),
        (NoneIsATask, "None is no task"),
        (Waits, "what is done must be given out while there is no task"),
        (Silent, "an error in opening must reach the caller"),
        (Vague, "an error in opening must reach the caller, not: something went wrong"),
        (Raw, "an error in opening raises RuntimeError"),
        (Once, "making the executor raises HitfinderError: no longer"),
    ],
)
def test_broken_executors_are_told(build, message):
    with pytest.raises(BrokenContractError, match=message):
        check_executor(build, has_processes=False)

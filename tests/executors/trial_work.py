"""Work for the tests of executors; workers import this module by name."""

import contextlib
import dataclasses
import os
import signal
import sys
import time
import weakref
from pathlib import Path

import numpy as np

from hitfinder.errors import ConfigError, OutputError


@dataclasses.dataclass(frozen=True)
class Trial:
    """Does what a task says: a word, and a number that comes back squared.

    `ballast` makes the work larger than what a pipe or socket takes at once.
    """

    folder: Path
    ballast: bytes = b""
    opens: str = ""

    @contextlib.contextmanager
    def opened(self):
        note(self.folder, "opened")
        if self.opens == "badly":
            raise OutputError("cannot be opened", "trial")
        if self.opens == "once" and not (self.folder / "died").exists():
            (self.folder / "died").touch()
            os.kill(os.getpid(), signal.SIGKILL)
        if self.opens == "never":
            os.kill(os.getpid(), signal.SIGKILL)
        try:
            yield self.do
        finally:
            note(self.folder, "left")

    def do(self, task):
        word, number = task
        note(self.folder, f"began-{number}")
        once = self.folder / f"once-{number}"
        if word == "die" or (word == "die once" and not once.exists()):
            once.touch()
            os.kill(os.getpid(), signal.SIGKILL)
        if word == "hang" or (word == "hang once" and not once.exists()):
            once.touch()
            os.kill(os.getpid(), signal.SIGSTOP)
        if word == "spin" or (word == "spin once" and not once.exists()):
            once.touch()
            while True:
                pass
        if word == "fail":
            raise OutputError("has failed", "trial")
        if word == "grow":
            np.empty(1 << 60, np.uint8)
        if word == "odd":
            raise OddError(lambda: number)
        if word == "sleep" or (word == "sleep once" and not once.exists()):
            if word == "sleep once":
                once.touch()
            try:
                time.sleep(600)  # until it is interrupted
            finally:
                time.sleep(0.5)
                note(self.folder, f"cleaned-{number}")
        if word == "wait":
            time.sleep(0.05 * (number % 3))
        if word == "large":
            return np.full(3_000_000, number)
        return number**2


class OddError(Exception):
    """An error that cannot be pickled."""


def note(folder, what):
    (folder / f"{what}.{os.getpid()}").touch()


def noted(folder, what):
    """Return the processes that noted something."""
    return sorted(int(path.suffix[1:]) for path in folder.glob(f"{what}.*"))


class Imported:
    """Says who works, and whether a module was there already."""

    def __init__(self, name):
        self.name = name

    @contextlib.contextmanager
    def opened(self):
        yield lambda task: (time.sleep(0.2), (os.getpid(), self.name in sys.modules))[1]


_held = weakref.WeakSet()
"""Buffers of works that this process has opened and not freed."""


class Circle:
    """A buffer that holds itself, as those of frames may."""

    def __init__(self):
        self.own = self


@dataclasses.dataclass(frozen=True)
class Holding:
    """Tells how many buffers of works before it its process still holds as it is opened."""

    @contextlib.contextmanager
    def opened(self):
        left, buffer = len(_held), Circle()
        _held.add(buffer)
        yield lambda task: (left, buffer)[0]


@dataclasses.dataclass(frozen=True)
class NotedCall:
    """A call that leaves a file and returns the number of its process; it may fail, or die."""

    path: Path
    ballast: bytes = b""
    fails: bool = False
    dies: bool = False

    def __call__(self):
        self.path.touch()
        if self.fails:
            raise ConfigError("no such call")
        if self.dies:
            os.kill(os.getpid(), signal.SIGKILL)
        return os.getpid()

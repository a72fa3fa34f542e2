"""What the program says on standard error while it works."""

from __future__ import annotations

import logging
import sys
from collections.abc import Sequence
from typing import TextIO

from hitfinder.errors import harmless


class _StandardError(logging.StreamHandler):
    """Write to whatever `sys.stderr` is at the time, so that a progress bar can stand below."""

    def __init__(self) -> None:
        logging.Handler.__init__(self)

    @property
    def stream(self) -> TextIO:
        return sys.stderr


class _MessageFormat(logging.Formatter):
    def __init__(self, detailed: bool) -> None:
        super().__init__("%(asctime)s %(name)s: %(message)s" if detailed else "%(message)s")

    def format(self, record: logging.LogRecord) -> str:
        text = harmless(super().format(record), kept="\n")
        if record.levelno >= logging.WARNING:
            return f"hitfinder: {record.levelname.lower()}: {text}"
        return text


def level(verbosity: int) -> int:
    """Return the logging level for a count of ``-v`` less a count of ``-q``."""
    if verbosity >= 1:
        return logging.DEBUG
    return {0: logging.INFO, -1: logging.WARNING}.get(verbosity, logging.ERROR)


def configure(verbosity: int = 0) -> None:
    """Send the package's log messages to standard error.

    Parameters
    ----------
    verbosity : int
        -2 or less: errors only; -1: warnings too; 0: what is being done; 1 and more: details,
        with times.
    """
    logger = logging.getLogger("hitfinder")
    logger.handlers[:] = [_StandardError()]
    logger.handlers[0].setFormatter(_MessageFormat(detailed=verbosity >= 1))
    logger.setLevel(level(verbosity))
    logger.propagate = False


def warn_of_first(log: logging.Logger, told: Sequence[object], what: str, most: int = 5) -> None:
    """Warn of the first few of many things, and of how many more there are.

    Parameters
    ----------
    log : logging.Logger
        Where to.
    told : sequence
        What to say, a line each.
    what : str
        What the others are, for people.
    most : int
        Lines at most.
    """
    for one in told[:most]:
        log.warning("%s", one)
    if len(told) > most:
        log.warning("and %d more %s", len(told) - most, what)

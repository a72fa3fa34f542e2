"""From one frame of a run to another."""

from __future__ import annotations

import random
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hitfinder.errors import ConfigError
from hitfinder.monitor.frame_rows import FrameRows

GOALS = ("next-hit", "previous-hit", "best", "better", "worse", "random", "random-hit", "latest")
"""Where the page can go from a frame; ``better`` and ``worse`` by score."""


def goal_frame(goal: str, number: int, table: FrameRows, hit: NDArray[np.bool_]) -> int | None:
    """Return the frame to go to from a frame; None if there is none.

    Parameters
    ----------
    goal : str
        One of `GOALS`.
    number : int
        The frame to go from.
    table : FrameRows
        The frames.
    hit : ndarray of bool
        Which of them are hits.

    Raises
    ------
    ConfigError
        If there is no such goal.
    """
    ok = table.ok
    hits, done = np.flatnonzero(hit), np.flatnonzero(ok)
    score = np.where(ok, np.nan_to_num(table.rows["score"], nan=-np.inf), -np.inf)
    ranked = done[np.argsort(-score[done], kind="stable")]
    rank = int(np.flatnonzero(ranked == number)[0]) if number in ranked else -1
    found: Any
    if goal == "next-hit":
        found = hits[hits > number][:1]
    elif goal == "previous-hit":
        found = hits[hits < number][-1:]
    elif goal == "best":
        found = ranked[:1]
    elif goal == "better":
        found = ranked[rank - 1 : rank] if rank > 0 else []
    elif goal == "worse":
        found = ranked[rank + 1 : rank + 2]
    elif goal in ("random", "random-hit"):
        among = hits if goal == "random-hit" else done
        found = [random.choice(among)] if len(among) else []
    elif goal == "latest":
        found = done[-1:]
    else:
        raise ConfigError(f"unknown goal {goal!r}", hint=f"Use one of {', '.join(GOALS)}.")
    return int(found[0]) if len(found) else None

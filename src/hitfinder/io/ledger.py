"""What became of the frames of a stream, counted so that nothing can get lost unseen."""

from __future__ import annotations

import dataclasses
from typing import Any


@dataclasses.dataclass
class FrameLedger:
    """Frames of a series by what became of them.

    Attributes
    ----------
    expected : int, optional
        Frames that were announced; None if it was not said.
    received : int
        Frames that came with a number.
    duplicates : int
        Of these, how many had come before.
    passed_over : int
        How many were not processed, since newer ones had come.
    damaged : int
        How many could not be unpacked.
    waiting : int
        How many are not settled yet.
    processed : int
        How many have results.
    failed : int
        How many were unpacked and have none.
    written : int
        How many have their row on disk.
    gaps : int
        Numbers that did not come, though a later one was worked on.
    slowest_s : float
        Longest time from a frame's message to its result, in s.
    """

    expected: int | None = None
    received: int = 0
    duplicates: int = 0
    passed_over: int = 0
    damaged: int = 0
    waiting: int = 0
    processed: int = 0
    failed: int = 0
    written: int = 0
    gaps: int = 0
    slowest_s: float = 0.0

    @property
    def decoded(self) -> int:
        """Frames that could be unpacked."""
        return self.processed + self.failed

    @property
    def not_received(self) -> int:
        """Frames that are missing, or still to come if it is known how many there are."""
        if self.expected is None:
            return self.gaps
        return self.expected - (self.received - self.duplicates)

    def told(self) -> dict[str, Any]:
        """Return what ``live.json`` and ``run.json`` say of it."""
        told = dataclasses.asdict(self) | {"decoded": self.decoded}
        told["slowest_s"] = round(self.slowest_s, 3)
        del told["gaps"]
        return told | {"not_received": self.not_received}


def open_ends(told: dict[str, Any]) -> list[str]:
    """Say which sums of a ledger do not close; none if it is right.

    Parameters
    ----------
    told : dict
        As `FrameLedger.told` gives it, or a file holds it.
    """
    settled = ("duplicates", "passed_over", "damaged", "waiting", "processed", "failed")
    sums = {
        "received": sum(told[name] for name in settled),
        "decoded": told["processed"] + told["failed"],
        "written": told["damaged"] + told["processed"] + told["failed"],
    }
    if told["expected"] is not None:
        sums["expected"] = told["received"] - told["duplicates"] + told["not_received"]
    wrong = [f"{name} is {told[name]}, not {n}" for name, n in sums.items() if told[name] != n]
    counts = {k: v for k, v in told.items() if k not in ("expected", "slowest_s")}
    return wrong + [f"{name} is {n}" for name, n in counts.items() if n < 0]

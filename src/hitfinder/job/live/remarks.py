"""What an operator is told of a series that has ended, beside what was found in it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from hitfinder.io.simplon.intake import END

ODD_MESSAGES = {
    "stale": "of a series that was over (as when two are sent at once)",
    "malformed": "that are none of a detector",
    "other_protocol": "of the other protocol",
    "implausible": "with an impossible number",
    "after_end": "after the end of their series",
    "lone_images": "that came alone of a series of their own (as if their series were damaged)",
}
"""Messages that were not used, and what they are, by the names they are counted under."""


def remarks(ledger: Mapping[str, Any], ended: str, messages: Mapping[str, int]) -> Iterator[str]:
    """Yield what is worth a warning.

    Parameters
    ----------
    ledger : mapping
        Of the frames, as it is told.
    ended : str
        Why no more frames came.
    messages : mapping of str to int
        Messages that came with the series, by what they were.
    """
    missing, expected = ledger["not_received"], ledger["expected"]
    if missing:
        of = "" if expected is None else f" of {expected}"
        why = f" ({ended})" if ended not in ("", END) else ""
        yield f"{missing}{of} frames did not come{why}"
    if ledger["passed_over"]:
        n, of = ledger["passed_over"], ledger["received"]
        yield (
            f"{n} of {of} frames that came were not processed: they were passed over for newer"
            " ones, or waited when the run ended"
        )
    for kind, words in ODD_MESSAGES.items():
        if messages.get(kind):
            yield f"{messages[kind]} messages {words} were not used"

"""What is special of a live run."""

from __future__ import annotations

import dataclasses


@dataclasses.dataclass(frozen=True)
class LiveSettings:
    """What is special of a live run.

    Parameters
    ----------
    longest_wait_s : float
        Frames that wait longer to be processed are passed over for newer ones.
    timeout_s : float, optional
        A series ends if no message comes for so long; never if None.
    """

    longest_wait_s: float = 2.0
    timeout_s: float | None = None

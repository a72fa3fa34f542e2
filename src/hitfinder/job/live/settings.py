"""What is special of a live run."""

from __future__ import annotations

import dataclasses

from hitfinder.crystal.lattice import Lattice
from hitfinder.indexing.indexer import USUAL_BANDWIDTH, WIDEST_BANDWIDTH
from hitfinder.job.live.handing import HitSender


@dataclasses.dataclass(frozen=True)
class LiveSettings:
    """What is special of a live run.

    Parameters
    ----------
    longest_wait_s : float
        Frames that wait longer to be processed are passed over for newer ones.
    timeout_s : float, optional
        A series ends if no message comes for so long; never if None.
    lattice : Lattice, optional
        Of the crystals, if hits are to be indexed on the way.
    bandwidth : float
        Relative bandwidth of the beam, full width, by which they are indexed.
    index_workers : int
        Processes that index them.
    senders : tuple of HitSender
        Hand on the hits.
    """

    longest_wait_s: float = 2.0
    timeout_s: float | None = None
    lattice: Lattice | None = None
    bandwidth: float = USUAL_BANDWIDTH
    index_workers: int = 1
    senders: tuple[HitSender, ...] = ()

    def __post_init__(self) -> None:
        if self.index_workers < 1:
            raise ValueError(f"index_workers must be at least 1, got {self.index_workers}")
        if not 0 <= self.bandwidth <= WIDEST_BANDWIDTH:
            raise ValueError(f"bandwidth must be in 0 to {WIDEST_BANDWIDTH}, got {self.bandwidth}")

"""Which frames are hits: as the run decided, or by another threshold on the stored scores."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hitfinder.errors import ConfigError
from hitfinder.monitor.frame_rows import FrameRows


@dataclasses.dataclass(frozen=True)
class Decision:
    """What a frame needs to be a hit.

    Attributes
    ----------
    threshold : float
        Least score.
    min_peaks : int
        Least number of peaks.
    false_hits : float, optional
        Share of frames without a crystal that reach the score; None if nobody knows.
    as_run : bool
        Whether this is how the run decided.
    """

    threshold: float
    min_peaks: int
    false_hits: float | None
    as_run: bool = True

    @staticmethod
    def of_run(about: Mapping[str, Any]) -> Decision:
        """Return how a run decided, from what ``run.json`` says."""
        told = about["hits_from"]
        least = int(about["settings"].get("finder.min_peaks", 0))
        return Decision(float(told["score"]), least, told["false_hits"])

    def at(self, threshold: float | None, min_peaks: int | None) -> Decision:
        """Return the decision by other limits, where they are given.

        Raises
        ------
        ConfigError
            If a limit is impossible.
        """
        score = self.threshold if threshold is None else threshold
        least = self.min_peaks if min_peaks is None else min_peaks
        if not math.isfinite(score):
            raise ConfigError(f"a score must be finite, got {score}")
        if least < 0:
            raise ConfigError(f"a number of peaks must not be negative, got {least}")
        if (score, least) == (self.threshold, self.min_peaks):
            return self
        # A score is minus the logarithm of the share of blank frames, if the run says so.
        false = None if self.false_hits is None else min(1.0, 10**-score)
        return Decision(score, least, false, as_run=False)

    def hits(self, table: FrameRows) -> NDArray[np.bool_]:
        """Return which frames are hits."""
        rows = table.rows
        if self.as_run:
            return rows["hit"]
        # A frame without a pixel to read has no background, and is never a hit.
        known = table.ok & ~np.isnan(rows["background_per_pixel"])
        enough = (rows["score"] >= self.threshold) & (rows["n_peaks"] >= self.min_peaks)
        return known & enough

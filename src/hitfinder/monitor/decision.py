"""Which frames are hits: as the run decided, or by another threshold on the stored scores."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import numpy as np

from hitfinder.errors import ConfigError
from hitfinder.monitor.frame_rows import DecidedFrames, FrameRows
from hitfinder.results.chunk import FRAME_DTYPE, ChunkResult
from hitfinder.results.doubts import Doubts, decide_by_score
from hitfinder.results.static_hits import Places


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

    def decided(
        self, table: FrameRows, n_pixels: int, peaks: Callable[[], Places]
    ) -> DecidedFrames:
        """Decide which frames are hits, as `hitfinder run` does at its end.

        Parameters
        ----------
        table : FrameRows
            The frames.
        n_pixels : int
            Pixels of a frame that are not masked.
        peaks : callable
            Returns the peaks of all frames, as for `hitfinder.results.doubts.Doubts.of`.
        """
        if self.as_run and table.decided is not None:
            return table.decided

        def chunks() -> Iterator[ChunkResult]:
            for chunk in table.chunks():
                if not self.as_run:
                    decide_by_score(chunk.rows, self.threshold, self.min_peaks)
                yield chunk

        # Scores of a finder of another kind tell nothing of blank frames.
        known = self.false_hits is not None
        doubts = Doubts.of(chunks, self.threshold, n_pixels, peaks) if known else Doubts(0.0)
        rows = [doubts.decided(chunk).rows[["hit", "doubt"]] for chunk in chunks()]
        whole = np.concatenate([np.empty(0, FRAME_DTYPE)[["hit", "doubt"]], *rows])
        return DecidedFrames(whole["hit"].copy(), whole["doubt"].copy())

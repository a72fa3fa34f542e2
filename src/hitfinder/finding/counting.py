"""A frame to the counts and the background that everything else is found with."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from hitfinder.finding.noisy import final_counts, true_means
from hitfinder.finding.rates import RingRates
from hitfinder.finding.readings import FrameReader, Readings
from hitfinder.finding.rings import Rings
from hitfinder.geometry.detector import Detector
from hitfinder.io.shuffled import Frame


class FrameCounter:
    """Counts the frames of one geometry. Not to be shared between threads.

    Parameters
    ----------
    rings : Rings
        Rings of the geometry.
    detector : Detector
        Its panels, and the counts at which it stops counting.
    """

    def __init__(self, rings: Rings, detector: Detector) -> None:
        self._rings = rings
        self._reader, self._rates = FrameReader(rings, detector), RingRates(rings)

    def note(self, boxes: NDArray[np.int64]) -> None:
        """Take note of where the boxes of peaks are to be; see `FrameReader.note`."""
        self._reader.note(boxes)

    def count(
        self, frame: Frame, mask: NDArray[np.bool_] | None = None
    ) -> tuple[Readings, NDArray[np.float64]]:
        """Return the counts of a frame and the background of its rings.

        Parameters
        ----------
        frame, mask
            As for `hitfinder.finding.likelihood.LikelihoodFinder`.

        Returns
        -------
        read : Readings
            The counts.
        rate : ndarray, shape (n_rings,)
            Background per pixel at weight 1 (`Rings.weight`), in photons.
        """
        read = self._reader.read(frame, mask)
        rate = self._rates.of(read)
        if read.analog is None or not read.n_read:
            return read, rate
        rate = true_means(rate, read.analog.usual_sigma)
        maps = self._rings.position, self._rings.weight
        for block, sigma in zip(read.analog.blocks, read.analog.sigma, strict=True):
            position, weight = (values[block] for values in maps)
            final_counts(
                read.analog.values[block],
                float(sigma),
                self._reader.limit,
                position,
                weight,
                rate,
                read.counts[block],
            )
        read = self._reader.again(read)
        return read, self._rates.of(read)

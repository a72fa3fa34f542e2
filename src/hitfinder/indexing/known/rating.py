"""How likely orientations are if bright spots may be none of the crystal's."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from hitfinder.indexing.known.crystal import KnownCrystal
from hitfinder.indexing.known.predict import (
    BLUR_PX,
    MOST_PREDICTED,
    N_COLUMNS,
    SHARP_BLUR_PX,
    footprint_ratio,
    predict,
)
from hitfinder.indexing.known.search import Hypothesis

MOST_OF_ONE = 9.0
"""What a reflection may add to the log likelihood ratio by which orientations are judged, less than
in the search. Some of the many orientations that are tried have reflections at two bright spots,
whatever these are; a third one is then there by chance if it is one of e^9 = 8,000 places. So many
places of nine pixels there are for each of seven false spots in half a million pixels."""


def rated(
    crystal: KnownCrystal,
    counts: NDArray[np.int32],
    background: NDArray[np.float32],
    found: Sequence[Hypothesis],
) -> list[Hypothesis]:
    """Return orientations with the log likelihood ratios by which they are judged, the best first.

    Parameters
    ----------
    crystal : KnownCrystal
        The crystal, the detector and the beam.
    counts : ndarray of int32, shape of a frame
        Counts, negative where there is no reading.
    background : ndarray of float32, shape of a frame
        Expected background of each pixel, in photons.
    found : sequence of Hypothesis
        Orientations from `hitfinder.indexing.known.search.search`.
    """
    beam = crystal.judging, crystal.geometry.polarisation, crystal.detector
    nodes = crystal.expected.nodes, crystal.expected.weights
    predicted, ratio = np.empty((MOST_PREDICTED, N_COLUMNS)), np.empty(1)
    again = []
    for one in found:
        n, best = predict(one.turn, *beam, predicted), -np.inf
        frame = counts, background, np.array([one.photons])
        for blur in (BLUR_PX, SHARP_BLUR_PX):
            footprint_ratio(predicted, n, blur, *frame, *nodes, ratio, MOST_OF_ONE)
            best = max(best, float(ratio[0]))
        again.append(dataclasses.replace(one, log_ratio=best))
    return sorted(again, key=lambda one: -one.log_ratio)

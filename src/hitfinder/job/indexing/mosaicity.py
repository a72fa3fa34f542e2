"""The mosaicity of a run's crystals, by what makes the pixels of its surest frames likeliest."""

from __future__ import annotations

import logging

import numpy as np
from numpy.typing import NDArray

from hitfinder.job.indexing.pixels import PixelSearch
from hitfinder.results.run import Run

log = logging.getLogger(__name__)

MOSAICITIES_DEG = (0.0, 0.05, 0.1, 0.2, 0.4)
"""Standard deviations of the turns of mosaic blocks, to choose from for a run. Spots that lie a few
pixels apart do not tell finer steps, and half or twice the true one does nearly as well."""

MOST_FRAMES, LEAST_FRAMES = 12, 3
"""Frames that it is chosen by, those with the most peaks, and how many of them must be sure."""

SURE_RATIO = 30.0
"""Log likelihood ratio from which an orientation is sure whatever the frame: chance reaches 15 to
25, and a unit more in a third as many frames."""


def with_likeliest_mosaicity(search: PixelSearch, rows: NDArray[np.intp]) -> PixelSearch:
    """Return a search that knows the mosaicity with which most frames are likeliest.

    The least mosaicity is taken from which the next one makes no more than half of the sure frames
    likelier: where only an orientation is wrong, or a frame has two crystals, mosaicity may make
    up for it. Where fewer frames than `LEAST_FRAMES` are sure with any, it is none: too large a
    mosaicity hides more crystals than too small a one.

    Parameters
    ----------
    search : PixelSearch
        Of the run's frames.
    rows : ndarray of int
        The frames that are to be searched.
    """
    best = _brightest(search.run, rows)
    if len(best) < LEAST_FRAMES:
        return search
    chosen, ratios = MOSAICITIES_DEG[0], search.best_ratios(best, MOSAICITIES_DEG[0])
    for mosaicity_deg in MOSAICITIES_DEG[1:]:
        wider = search.best_ratios(best, mosaicity_deg)
        gains = [
            wider[row] - ratios[row]
            for row in ratios.keys() & wider.keys()
            if max(ratios[row], wider[row]) >= SURE_RATIO
        ]
        if len(gains) < LEAST_FRAMES:
            continue
        if np.median(gains) <= 0:
            break
        chosen, ratios = mosaicity_deg, wider
    if chosen > 0:
        log.info("crystals are searched with a mosaicity of %g°, which fits their pixels", chosen)
    return search.of_mosaicity(chosen)


def _brightest(run: Run, rows: NDArray[np.intp]) -> NDArray[np.intp]:
    """Return the hits with the most peaks among frames, rising."""
    table = run.frames
    hits = rows[table["hit"].to_numpy(zero_copy_only=False)[rows]]
    n_peaks = table["n_peaks"].to_numpy()[hits]
    return np.sort(hits[np.argsort(-n_peaks, kind="stable")[:MOST_FRAMES]])

"""Prepare the peaks of a run's hits for indexing, and see whether the given cell is theirs."""

from __future__ import annotations

import dataclasses
import logging
from collections.abc import Sequence

import numpy as np

from hitfinder.crystal.lattice import Lattice
from hitfinder.errors import ConfigError
from hitfinder.geometry.geometry import Geometry
from hitfinder.indexing.batch import FramePeaks
from hitfinder.indexing.cellfit import FittedCell, fitted_cell
from hitfinder.indexing.indexer import Indexer
from hitfinder.results.run import Run, RunHits

log = logging.getLogger(__name__)


@dataclasses.dataclass(frozen=True, eq=False)
class HitPeaks:
    """The peaks of a run's hits in reciprocal space.

    Attributes
    ----------
    frames : list of FramePeaks
        Of each hit.
    n_peaks : list of int
        Peaks of each hit, those on no panel too.
    geometries : sequence of Geometry
        Of each hit.
    longest : float
        Longest scattering vector, in Å⁻¹.
    pixel : float
        What a pixel spans in reciprocal space at most, in Å⁻¹.
    """

    frames: list[FramePeaks]
    n_peaks: list[int]
    geometries: Sequence[Geometry]
    longest: float
    pixel: float

    @staticmethod
    def of(hits: RunHits) -> HitPeaks:
        """Compute them by each hit's own geometry."""
        frames, n_peaks, longest, pixel = [], [], 0.0, 0.0
        geometries = hits.geometries()
        for number, geometry in enumerate(geometries):
            fs, ss, probability = hits.peaks(number).T
            q = geometry.scattering_vectors(fs, ss)
            n_peaks.append(len(fs))
            known = np.isfinite(q).all(axis=1) & q.any(axis=1)
            frames.append(FramePeaks(int(hits.rows[number]), q[known], probability[known]))
            longest = max(longest, float(np.linalg.norm(q[known], axis=1).max(initial=0)))
            pixel = max(pixel, geometry.pixel_inv_a)
        return HitPeaks(frames, n_peaks, geometries, longest, pixel)

    def indexer(self, lattice: Lattice, bandwidth: float) -> Indexer:
        """Return an indexer for these peaks."""
        return Indexer(lattice, self.longest, self.pixel, bandwidth)


def peaks_of(run: Run) -> HitPeaks | None:
    """Return the peaks of a run's hits; None of one without hits, whose pixels are searched."""
    try:
        return HitPeaks.of(run.hits())
    except ConfigError:
        return None


def fit_cell(peaks: HitPeaks, lattice: Lattice, bandwidth: float) -> FittedCell | None:
    """Fit the cell to the hits with the most peaks, and warn if the given one is another.

    Returns
    -------
    FittedCell or None
        None where no cell near the given one indexes them.
    """
    fit = fitted_cell(lattice, peaks.frames, lambda tried: peaks.indexer(tried, bandwidth))
    if fit is not None and fit.is_given_one_wrong:
        log.warning("%s", told(fit))
    return fit


def told(fit: FittedCell) -> str:
    """Say that another cell fits better, and what may be the cause."""
    size = f"{100 * abs(fit.larger_by):.1f} % {'larger' if fit.larger_by > 0 else 'smaller'}"
    return (
        f"the peaks fit a cell that is {size} than the given one: {fit.fitted}. Of the "
        f"{fit.frames} hits with the most peaks it indexes {fit.indexed_fitted}, the given one "
        f"{fit.indexed_given}. Use --refine-cell if the cell is not known that well; else the "
        "photon energy or the camera length is off by as much."
    )

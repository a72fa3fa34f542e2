"""See whether the beam centre of a run is where the peaks of its hits have it."""

from __future__ import annotations

import dataclasses
import logging
import math

import numpy as np

from hitfinder.crystal.lattice import Lattice
from hitfinder.geometry.geometry import Geometry
from hitfinder.indexing.centerfit import NOTABLE_PX, NOTABLE_SIGMAS, FittedStep, fitted_step
from hitfinder.job.indexing.cell import HitPeaks

log = logging.getLogger(__name__)


@dataclasses.dataclass(frozen=True)
class FittedCenter:
    """The beam centre that a run's peaks ask for.

    Attributes
    ----------
    given, fitted : tuple of float
        That of the geometry, and the one that fits best: (fs, ss) in pixels, corner convention.
    sigma_px : float
        Standard deviation of the distance between them.
    indexed_given, indexed_fitted, frames : int
        Frames that are indexed with either, and those that were tried.
    """

    given: tuple[float, float]
    fitted: tuple[float, float]
    sigma_px: float
    indexed_given: int
    indexed_fitted: int
    frames: int

    @property
    def is_given_one_wrong(self) -> bool:
        """Whether the two differ by more than matters, and than chance makes them."""
        return math.dist(self.given, self.fitted) > max(NOTABLE_PX, NOTABLE_SIGMAS * self.sigma_px)


def fit_center(peaks: HitPeaks, lattice: Lattice, bandwidth: float) -> FittedCenter | None:
    """Fit the beam centre to the hits with the most peaks, and warn if it is another.

    Returns
    -------
    FittedCenter or None
        None if too few of the hits are indexed, or all panels are parallel to the beam.
    """
    geometry = peaks.geometries[0]
    given = geometry.detector.beam_center
    if given is None:
        return None
    index = peaks.indexer(lattice, bandwidth)
    step = fitted_step(peaks.frames, index, geometry.wavelength_a, _pixel_rad(geometry))
    if step is None:
        return None
    fit = on_detector(step, given, geometry)
    if fit.is_given_one_wrong:
        log.warning("%s", told(fit))
    return fit


def _pixel_rad(geometry: Geometry) -> float:
    """Angle of a pixel seen from the sample."""
    return geometry.detector.panels[0].pixel_size_m / geometry.camera_length_m


def on_detector(step: FittedStep, given: tuple[float, float], geometry: Geometry) -> FittedCenter:
    """Say by how many pixels of the stored frame the beam centre is off for a step to be seen."""
    panel = min(geometry.detector, key=lambda p: (not p.contains(*given), p.distance_px(*given)))
    fs, ss = given[0] + np.array([0.0, 1.0, 0.0]), given[1] + np.array([0.0, 0.0, 1.0])
    x, y, _ = panel.positions(fs, ss, geometry.camera_length_m)
    # A centre that is too small by d puts all pixels farther out by d, as the step is seen.
    per_pixel = np.array([x[1:] - x[0], y[1:] - y[0]])
    off = np.linalg.solve(per_pixel, np.array(step.step) * geometry.camera_length_m)
    return FittedCenter(
        given,
        (float(given[0] + off[0]), float(given[1] + off[1])),
        step.sigma / _pixel_rad(geometry),
        step.indexed_given,
        step.indexed_fitted,
        step.frames,
    )


def told(fit: FittedCenter) -> str:
    """Say that another beam centre fits better."""
    return (
        f"the peaks fit a beam centre of {fit.fitted[0]:.1f}, {fit.fitted[1]:.1f} (fs, ss), "
        f"± {max(fit.sigma_px, 0.1):.1f} pixels, and the run has {fit.given[0]:.1f}, "
        f"{fit.given[1]:.1f}. Of the {fit.frames} hits with the most peaks it indexes "
        f"{fit.indexed_fitted}, the given one {fit.indexed_given}. Run hitfinder with "
        f"--beam-center {fit.fitted[0]:.1f} {fit.fitted[1]:.1f} if the detector is right otherwise."
    )

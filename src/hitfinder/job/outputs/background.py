"""What the background of all frames together says of beam and detector."""

from __future__ import annotations

import dataclasses
import json
from typing import TYPE_CHECKING, Any

from numpy.typing import NDArray

from hitfinder.estimate.beam_center import RingCenter, ring_center
from hitfinder.estimate.estimator import GeometryEstimator
from hitfinder.estimate.ranges import ENERGY_RANGE_EV
from hitfinder.estimate.run import RunSums
from hitfinder.estimate.temperature import fit_temperature
from hitfinder.finding.squares import bin_side
from hitfinder.geometry.geometry import Geometry

if TYPE_CHECKING:
    # Workers that make the call do without: it is slow to import.
    from hitfinder.job.outputs.findings import Findings

BACKGROUND = "background"
"""Name of the call among those that are made beside."""

_TEMPERATURE_SIGMA_C = 5.0
"""How well the temperature of the water is taken to be known beforehand, around 25 °C."""


@dataclasses.dataclass(frozen=True, eq=False)
class BackgroundCall:
    """The call that looks at the background.

    Attributes
    ----------
    geometry : Geometry
        Geometry with every mask.
    image : ndarray or None
        Photons of all frames in squares of pixels; None if they do not tell of rings.
    sums : RunSums or None
        What photon energy and camera length are estimated from.
    n_frames : int or None
        Frames of the run; None if nobody knows how many there are.
    estimate : bool
        Whether to estimate photon energy and camera length.
    """

    geometry: Geometry
    image: NDArray | None
    sums: RunSums | None
    n_frames: int | None
    estimate: bool

    @classmethod
    def of(cls, found: Findings, estimate: bool) -> BackgroundCall:
        """Return the call for what was found."""
        experiment, image = found.experiment, found.totals.image.image
        if experiment.masks is not None or experiment.noise is not None:
            # Of frames with masks of their own nobody knows how often each pixel was looked at.
            image = None
        return cls(found.geometry, image, found.totals.geometry, found.n_frames, estimate)

    def __call__(self) -> tuple[dict[str, Any] | None, RingCenter | None]:
        """Return photon energy and camera length as ``run.json`` tells them, and the rings."""
        rings = None
        if self.image is not None:
            rings = ring_center(self.image, bin_side(self.geometry.shape), self.geometry)
        return self._estimated() if self.estimate else None, rings

    def _estimated(self) -> dict[str, Any] | None:
        """Return photon energy and camera length; None if every pixel is masked."""
        if self.geometry.detector.full_mask.all():
            return None
        estimator = GeometryEstimator(self.geometry)
        total = self.sums or RunSums.of(estimator)
        result = total.result(estimator, self.n_frames)
        told = dataclasses.asdict(result.estimate) | {"frames": result.n_frames}
        if result.estimate.flag == "ok":
            fitted = fit_temperature(estimator, total.total, _TEMPERATURE_SIGMA_C)
            told["with_temperature"] = dataclasses.asdict(fitted)
        told["with_photon_energy"] = self._with_energy(total)
        told["drift"] = dataclasses.asdict(result.drift) | {"drifts": result.drift.drifts}
        return json.loads(json.dumps(told), parse_constant=lambda _: None)

    def _with_energy(self, total: RunSums) -> dict[str, Any] | None:
        """Return the camera length if the photon energy is what was used; None out of range."""
        energy, (least, most) = self.geometry.photon_energy_ev, ENERGY_RANGE_EV
        if not least <= energy <= most:
            return None
        estimator = GeometryEstimator(self.geometry, photon_energy_ev=energy)
        return dataclasses.asdict(estimator.estimate_sums(total.total))

"""Frames, where their pixels are, and how it is known."""

from __future__ import annotations

import dataclasses
import logging

import numpy as np

from hitfinder.experiment.beam import (
    FROM_FILE,
    GIVEN,
    IN_PYTHON,
    Values,
    warn_if_they_differ,
    warn_of_another_energy,
)
from hitfinder.experiment.noise import DetectorNoise, log_noise
from hitfinder.experiment.reach import doubt
from hitfinder.geometry.crystfel import Directives
from hitfinder.geometry.detector import Detector
from hitfinder.geometry.geometry import Geometry
from hitfinder.io.framemasks import FrameMasks
from hitfinder.io.source import FrameSource

log = logging.getLogger(__name__)


@dataclasses.dataclass(frozen=True, eq=False)
class Experiment:
    """Where the pixels are, and how it is known.

    Attributes
    ----------
    geometry : Geometry
        Detector with its mask, camera length and beam.
    origin : dict
        For each property of the geometry, where its value was taken from.
    source : FrameSource
        The frames, in photons.
    stored : FrameSource
        The frames, as they are stored.
    adu_per_photon : float
        Stored value of one photon.
    photon_energies_ev, camera_lengths_m : ndarray, shape (n_frames,), optional
        Those of each frame, NaN where its file says nothing; None if the geometry's hold for all.
    directives : Directives
        What CrystFEL is to be told besides the geometry, for frames as they are stored.
    masks : FrameMasks, optional
        Masks of frames beyond the geometry's; `source` has them in its counts already.
    noise : DetectorNoise, optional
        Noise of a detector that does not count; `source` has its offsets taken away.
    """

    geometry: Geometry
    origin: dict[str, str]
    source: FrameSource
    stored: FrameSource
    adu_per_photon: float = 1.0
    photon_energies_ev: Values | None = None
    camera_lengths_m: Values | None = None
    directives: Directives = dataclasses.field(default_factory=Directives)
    masks: FrameMasks | None = None
    noise: DetectorNoise | None = None

    def with_detector(self, detector: Detector, **origin: str) -> Experiment:
        """Return this experiment with another detector, and where that is taken from."""
        geometry = dataclasses.replace(self.geometry, detector=detector)
        return dataclasses.replace(self, geometry=geometry, origin={**self.origin, **origin})

    def of_frame(self, index: int) -> tuple[float, float]:
        """Return the photon energy (eV) and camera length (m) of a frame."""
        return (
            _own(self.photon_energies_ev, index, self.geometry.photon_energy_ev),
            _own(self.camera_lengths_m, index, self.geometry.camera_length_m),
        )

    def log(self) -> None:
        """Say what is used and where it comes from."""
        geometry = self.geometry
        log.info(
            "%s, %d x %d pixels (%s); %.6g eV (%s); camera length %.6g mm (%s)",
            geometry.detector.name,
            *geometry.shape,
            self.origin["detector"],
            geometry.photon_energy_ev,
            self.origin["photon_energy_ev"],
            1e3 * geometry.camera_length_m,
            self.origin["camera_length_m"],
        )
        if self.origin.get("beam_center") == "assumed":
            log.warning("beam centre unknown, taken as the detector's middle; give --beam-center")
        unlikely = doubt(geometry)
        if unlikely:
            log.warning("%s: %s", self.placed, f"{unlikely}; is that right?")
        if self.masks is not None:
            log.info("frames have different masks, each its own: %s", self.masks.summary)
        log_noise(
            *(self.noise, self.source, geometry.detector),
            *(self.adu_per_photon, self.origin.get("adu_per_photon", "assumed")),
        )
        energy, length = geometry.photon_energy_ev, geometry.camera_length_m
        if self.origin["photon_energy_ev"] not in (GIVEN, FROM_FILE, IN_PYTHON):
            warn_of_another_energy(energy, self.origin["photon_energy_ev"], self.stored)
        warn_if_they_differ(self.photon_energies_ev, energy, "photon energy", "eV")
        warn_if_they_differ(self.camera_lengths_m, length, "camera length", "m")

    @property
    def placed(self) -> str:
        """Camera length and photon energy, and where they are taken from, in words."""
        return (
            f"camera length {1e3 * self.geometry.camera_length_m:.6g} mm "
            f"({self.origin['camera_length_m']}), {self.geometry.photon_energy_ev:.6g} eV "
            f"({self.origin['photon_energy_ev']})"
        )


def _own(values: Values | None, index: int, common: float) -> float:
    return common if values is None or np.isnan(values[index]) else float(values[index])

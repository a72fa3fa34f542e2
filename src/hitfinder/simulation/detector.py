"""Detector: where it stands in a shot, and what it makes of the photons."""

from __future__ import annotations

import dataclasses

import numpy as np
from numpy.typing import NDArray

from hitfinder.errors import ConfigError, HitfinderError
from hitfinder.geometry.crystfel import read_geom
from hitfinder.geometry.detector import Detector
from hitfinder.geometry.geometry import Geometry
from hitfinder.geometry.named import named_detector
from hitfinder.simulation.analog import ChargeReadOut
from hitfinder.simulation.effects import BeamStop, DetectorEffects
from hitfinder.simulation.exposure import Exposure
from hitfinder.simulation.panels import PanelArrays
from hitfinder.simulation.rng import SERIES_KEY, frame_seed
from hitfinder.simulation.settings import SimulationSettings
from hitfinder.simulation.shot import Shot


class Placement:
    """The stage that puts the detector where it stands in the shot."""

    def __call__(self, exposure: Exposure) -> None:
        """Set the geometry of the shot."""
        exposure.geometry = shot_geometry(exposure.geometry, exposure.shot)


class ReadOut:
    """The stage of the read-out: what a counting detector makes of the photons of a frame.

    Parameters
    ----------
    effects : DetectorEffects
        Its imperfections.
    active : ndarray of bool, shape of a frame
        Pixels that are not masked, of which some may be dead or hot.
    seed : int
        Fixes which.
    """

    def __init__(self, effects: DetectorEffects, active: NDArray[np.bool_], seed: int) -> None:
        rng = np.random.default_rng(frame_seed(seed, SERIES_KEY, 0))
        self.effects, self._bad = effects, effects.pixels(active, rng)

    def __call__(self, exposure: Exposure) -> None:
        """Change the counts of the frame; draws under the purpose ``detector``."""
        state = exposure.random.state("detector")
        pulses = max(round(exposure.pulses), 1)
        self.effects.apply(exposure.counts, self._bad, state, pulses)


def named_or_read(name: str) -> Detector:
    """Return a known detector, or the one a CrystFEL geometry file describes."""
    if not name.endswith(".geom"):
        return named_detector(name)
    try:
        return read_geom(name).detector()
    except OSError as error:
        raise HitfinderError(error.strerror or str(error), name) from error


def described(
    settings: SimulationSettings, detector: Detector
) -> tuple[Geometry, NDArray[np.bool_], DetectorEffects]:
    """Return the nominal geometry, the beam stop's shadow, and the detector's effects."""
    own = settings.detector
    if own.beam_center is not None:
        detector = detector.with_beam_center(*own.beam_center)
    effects = DetectorEffects(
        own.bits, own.dead_fraction, own.hot_fraction, own.hot_counts, own.most_counts,
        own.one_count_per_pulse,
    )  # fmt: skip
    stop = BeamStop(own.beam_stop_mm, own.beam_stop_arm_mm, own.beam_stop_arm_deg)
    geometry = Geometry(
        detector,
        own.camera_length_m.nominal,
        settings.beam.photon_energy_ev.nominal,
        1.0 if settings.polarisation is None else settings.polarisation,
    )
    PanelArrays.of(geometry)
    return geometry, stop.shadow(geometry), effects


def read_noise_of(settings: SimulationSettings) -> ChargeReadOut:
    """Return how the detector of a simulation reads photons out.

    Raises
    ------
    ConfigError
        If it is impossible.
    """
    own = settings.detector
    try:
        return ChargeReadOut(
            own.read_noise, own.common_mode, own.shared_fraction, own.adu_per_photon, own.whole_adu
        )
    except ValueError as error:
        raise ConfigError(str(error)) from error


def shot_geometry(nominal: Geometry, shot: Shot) -> Geometry:
    """Return the geometry of a shot: camera length, photon energy and beam position."""
    return dataclasses.replace(
        nominal,
        detector=shifted(nominal.detector, shot.shift_fs_px, shot.shift_ss_px),
        camera_length_m=shot.camera_length_m,
        photon_energy_ev=shot.photon_energy_ev,
    )


def shifted(detector: Detector, fs: float, ss: float) -> Detector:
    """Return the detector with the beam axis moved by (fs, ss) pixels of its first panel."""
    if fs == ss == 0:
        return detector
    first = detector.panels[0]
    dx = (fs * first.fs_vector[0] + ss * first.ss_vector[0]) * first.pixel_size_m
    dy = (fs * first.fs_vector[1] + ss * first.ss_vector[1]) * first.pixel_size_m
    panels = tuple(
        dataclasses.replace(
            panel,
            corner_x=panel.corner_x - dx / panel.pixel_size_m,
            corner_y=panel.corner_y - dy / panel.pixel_size_m,
        )
        for panel in detector
    )
    return dataclasses.replace(detector, panels=panels)

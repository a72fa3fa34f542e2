"""What the settings of a simulation name: structure factors, detector, spectrum."""

from __future__ import annotations

import dataclasses
import functools
from pathlib import Path

import numpy as np

from hitfinder.crystal.cell import Cell
from hitfinder.crystal.compute import random_structure_factors
from hitfinder.crystal.reflections import StructureFactors
from hitfinder.crystal.tables import load_structure_factors
from hitfinder.errors import ConfigError, HitfinderError
from hitfinder.geometry.crystfel import read_geom
from hitfinder.geometry.detector import Detector
from hitfinder.geometry.named import named_detector
from hitfinder.simulate import spectrum
from hitfinder.simulate.rng import frame_seed
from hitfinder.simulate.settings import SimulationSettings
from hitfinder.simulate.shot import Shot

SERIES_KEY = 2**32 - 1
"""Stands for the frame's number where something is drawn for a whole series."""


def shot_spectrum(settings: SimulationSettings, shot: Shot) -> spectrum.Spectrum:
    """Return the spectrum of a shot; a SASE pulse has its own spikes.

    Raises
    ------
    ConfigError
        If the settings name no known spectrum and no file.
    """
    beam = settings.beam
    energy, bandwidth = shot.photon_energy_ev, shot.bandwidth
    if beam.spectrum == "tophat":
        return spectrum.tophat(energy, bandwidth)
    if beam.spectrum == "gaussian":
        return spectrum.gaussian(energy, bandwidth)
    if beam.spectrum == "two-colour":
        return spectrum.two_colour(energy, bandwidth, beam.separation)
    if beam.spectrum == "sase":
        rng = np.random.default_rng(frame_seed(settings.seed, shot.frame, 2))
        return spectrum.sase(energy, bandwidth, rng, beam.modes)
    if beam.spectrum == "inverse-compton":
        return spectrum.inverse_compton(energy, bandwidth, beam.tail)
    return _measured(beam.spectrum, energy)


@functools.lru_cache(maxsize=4)
def _measured_once(path: str) -> spectrum.Spectrum:
    return spectrum.from_file(path)


def _measured(path: str, energy: float) -> spectrum.Spectrum:
    if not Path(path).exists():
        names = "tophat, gaussian, two-colour, sase, inverse-compton"
        raise ConfigError(f"no spectrum {path!r}", "beam.spectrum", f"Known: {names}, or a file.")
    return _measured_once(path).moved_to(energy)


def structure_factors(settings: SimulationSettings) -> StructureFactors:
    """Read, compute or draw the structure factors that the settings name."""
    own = settings.crystal
    try:
        cell = Cell.parse(own.cell) if own.cell else None
        if own.structure == "random":
            assert cell is not None
            rng = np.random.default_rng(frame_seed(settings.seed, SERIES_KEY, 1))
            return random_structure_factors(cell, own.space_group, rng, own.d_min_a)
        return load_structure_factors(
            own.structure,
            d_min_a=own.d_min_a,
            column=own.column or None,
            cell=cell,
            space_group_name=own.space_group or None,
        )
    except ValueError as error:
        raise ConfigError(str(error), "crystal") from error


def named_or_read(name: str) -> Detector:
    """Return a known detector, or the one a CrystFEL geometry file describes."""
    if not name.endswith(".geom"):
        return named_detector(name)
    try:
        return read_geom(name).detector()
    except OSError as error:
        raise HitfinderError(error.strerror or str(error), name) from error


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

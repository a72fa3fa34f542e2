"""Source: the pulse of a shot, and everything else that is drawn for it."""

from __future__ import annotations

import functools
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from hitfinder.errors import ConfigError
from hitfinder.simulation import spectrum
from hitfinder.simulation.beam import Beam
from hitfinder.simulation.exposure import Exposure
from hitfinder.simulation.settings import POLARISATIONS, BeamSettings, SimulationSettings
from hitfinder.simulation.shot import Shot, draw_shot


class DrawnShot:
    """The first stage of a simulation from settings: draws the numbers of the shot.

    Parameters
    ----------
    settings : SimulationSettings
        What to draw from.
    reciprocal : ndarray, shape (3, 3)
        Columns a*, b*, c* of the unturned crystal, in Å⁻¹.
    orientations : ndarray, shape (n, 3, 3), optional
        Reciprocal axes to use in turn instead of random ones.
    """

    def __init__(
        self,
        settings: SimulationSettings,
        reciprocal: NDArray[np.float64],
        orientations: NDArray[np.float64] | None = None,
    ) -> None:
        self.settings = settings
        self.reciprocal, self.orientations = reciprocal, orientations

    def __call__(self, exposure: Exposure) -> None:
        """Draw the shot, under the purpose ``shot``."""
        rng = exposure.random.generator("shot")
        exposure.drawn = draw_shot(
            self.settings, exposure.number, rng, self.reciprocal, self.orientations
        )


class Source:
    """The stage of the pulse that a simulation's settings describe.

    Parameters
    ----------
    settings : BeamSettings
        The beam.
    """

    def __init__(self, settings: BeamSettings) -> None:
        self.settings = settings

    def __call__(self, exposure: Exposure) -> None:
        """Set the pulse of the shot; a SASE pulse draws its spikes under ``spectrum``."""
        shot = exposure.shot
        exposure.photons, exposure.pulses = shot.flux, shot.shots
        exposure.pulse = Beam(
            shot_spectrum(self.settings, shot, exposure.random.generator("spectrum")),
            shot.axis_fluence_m2(self.settings.profile),
            POLARISATIONS[self.settings.polarisation],
            shot.divergence_mrad * 1e-3,
        )


class SteadySource:
    """A stage: the same pulse in every shot.

    Parameters
    ----------
    beam : Beam
        The pulse on its axis.
    photons : float
        Photons in it.
    """

    def __init__(self, beam: Beam, photons: float = 0.0) -> None:
        self.beam, self.photons = beam, photons

    def __call__(self, exposure: Exposure) -> None:
        """Set the pulse."""
        exposure.pulse, exposure.photons = self.beam, self.photons


def shot_spectrum(beam: BeamSettings, shot: Shot, rng: np.random.Generator) -> spectrum.Spectrum:
    """Return the spectrum of a shot.

    Parameters
    ----------
    beam : BeamSettings
        Kind of the spectrum.
    shot : Shot
        Energy and bandwidth.
    rng : numpy.random.Generator
        Source of the spikes of a SASE pulse.

    Raises
    ------
    ConfigError
        If the settings name no known spectrum and no file.
    """
    energy, bandwidth = shot.photon_energy_ev, shot.bandwidth
    if beam.spectrum == "tophat":
        return spectrum.tophat(energy, bandwidth)
    if beam.spectrum == "gaussian":
        return spectrum.gaussian(energy, bandwidth)
    if beam.spectrum == "two-colour":
        return spectrum.two_colour(energy, bandwidth, beam.separation)
    if beam.spectrum == "sase":
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

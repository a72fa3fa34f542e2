"""Background: everything that scatters around the crystal."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hitfinder.geometry.geometry import Geometry
from hitfinder.simulation.exposure import Exposure
from hitfinder.simulation.light import ImageLight, RadialLight
from hitfinder.simulation.radial import RadialProfile, expected_image, radial_profile
from hitfinder.simulation.scatterers import (
    air_profile,
    ice_cross_section_per_m3,
    protein_cross_section_per_m3,
)
from hitfinder.simulation.settings import BackgroundSettings
from hitfinder.simulation.shot import Shot
from hitfinder.simulation.water import WaterScattering, water_profile


def background_profile(
    settings: BackgroundSettings, shot: Shot, geometry: Geometry
) -> RadialProfile:
    """Return photons per steradian of all pulses of a frame, uniform level left out.

    Parameters
    ----------
    settings : BackgroundSettings
        What does not vary from shot to shot.
    shot : Shot
        Thicknesses, temperature, flux and number of pulses.
    geometry : Geometry
        Of the shot.
    """
    photons = shot.flux * shot.shots

    def at_sample(q: NDArray[np.float64]) -> NDArray[np.float64]:
        total = np.zeros_like(q)
        if shot.water_um:
            total += shot.water_um * WaterScattering(shot.temperature_c).cross_section_per_m3(q)
            if shot.protein_mg_ml:
                total += shot.water_um * protein_cross_section_per_m3(
                    q, shot.protein_mg_ml, settings.protein_kda
                )
        if shot.ice_um:
            # A top-hat's standard deviation; the shape of the band hardly matters for a ring.
            spread = shot.bandwidth / math.sqrt(12)
            width = settings.ice_width_inv_a
            total += shot.ice_um * ice_cross_section_per_m3(q, width, spread)
        return photons * 1e-6 * total

    profile = radial_profile(geometry, at_sample)
    if shot.air_m:
        profile = profile + air_profile(geometry, photons, shot.air_m)
    return profile


class Background:
    """The stage of the background that a simulation's settings describe.

    Parameters
    ----------
    settings : BackgroundSettings
        What does not vary from shot to shot.
    """

    def __init__(self, settings: BackgroundSettings) -> None:
        self.settings = settings
        self._scratch = np.empty((0, 0), np.float32)

    def __call__(self, exposure: Exposure) -> None:
        """Add what scatters in all pulses of the frame."""
        shot, geometry = exposure.shot, exposure.geometry
        # Large fresh arrays cost as much as filling them: one is kept.
        if self._scratch.shape != geometry.shape:
            self._scratch = np.empty(geometry.shape, np.float32)
        profile = background_profile(self.settings, shot, geometry)
        uniform = shot.uniform * shot.shots
        polarisation = exposure.beam.polarisation
        light = RadialLight(geometry, profile, polarisation, uniform, self._scratch)
        exposure.background.append(light)

    def __getstate__(self) -> dict[str, Any]:
        return {"settings": self.settings, "_scratch": np.empty((0, 0), np.float32)}


class WaterLayer:
    """A stage: liquid water alone, counted pixel by pixel where pixels count.

    Parameters
    ----------
    thickness_m : float, optional
        Path of the beam in water, in m; that of the note ``water_thickness_m`` if not given.
    """

    def __init__(self, thickness_m: float | None = None) -> None:
        self.thickness_m = thickness_m

    def __call__(self, exposure: Exposure) -> None:
        """Add the water that all pulses of the frame see."""
        thickness = self.thickness_m
        if thickness is None:
            thickness = exposure.notes["water_thickness_m"]
        photons, geometry = exposure.photons * exposure.pulses, exposure.geometry
        profile = water_profile(geometry, photons, thickness)
        image = expected_image(geometry, profile, exposure.beam.polarisation)
        image[~exposure.active] = 0
        exposure.background.append(ImageLight(image))


class FixedBackground:
    """A stage: the same expected image in every frame, once for each pulse.

    Parameters
    ----------
    image : ndarray, shape of a frame
        Expected photons of one pulse: computed, or measured.
    """

    def __init__(self, image: NDArray[np.floating]) -> None:
        self.image = image

    def __call__(self, exposure: Exposure) -> None:
        """Add the image."""
        exposure.background.append(ImageLight(self.image, exposure.pulses))

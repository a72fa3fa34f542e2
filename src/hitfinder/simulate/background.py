"""Everything that scatters around the crystal, as one radial profile."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from hitfinder.geometry.geometry import Geometry
from hitfinder.simulate.radial import RadialProfile, radial_profile
from hitfinder.simulate.scatterers import (
    air_profile,
    ice_cross_section_per_m3,
    protein_cross_section_per_m3,
)
from hitfinder.simulate.settings import BackgroundSettings
from hitfinder.simulate.shot import Shot
from hitfinder.simulate.water import WaterScattering


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


def expected_total(profile: RadialProfile) -> float:
    """Return the photons of a profile in all directions it covers, polarisation left out."""
    t2 = profile.t**2
    middle = (profile.total[1:] + profile.total[:-1]) / 2
    return float(4 * math.pi * (middle * np.diff(t2)).sum())

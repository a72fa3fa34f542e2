"""Radial background drawn photon by photon: exact, and fast where photons are rare."""

from __future__ import annotations

import math

import numba
import numpy as np
from numpy.typing import NDArray

from hitfinder.geometry.geometry import Geometry
from hitfinder.simulation.noise import poisson
from hitfinder.simulation.panels import PanelArrays, locate
from hitfinder.simulation.radial import RadialProfile, polarisation_weights
from hitfinder.simulation.rng import uniform


def add_sparse_photons(
    geometry: Geometry,
    profile: RadialProfile,
    polarisation: float | None,
    state: NDArray[np.uint64],
    counts: NDArray[np.unsignedinteger],
    uniform_level: float = 0.0,
) -> int:
    """Add the photons of one Poisson draw of a radial profile to `counts`.

    Same distribution as `hitfinder.simulation.noise.poisson_frame` of
    `hitfinder.simulation.radial.expected_image`, at a cost that grows with the number of photons
    instead of pixels: photons are drawn in angle, kept with the probability of their
    polarisation factor, and put where they hit a panel.

    Parameters
    ----------
    geometry, profile, polarisation
        As for `hitfinder.simulation.radial.expected_image`.
    state : ndarray of uint64, shape (4,)
        Generator state; advanced.
    counts : ndarray of unsigned int, shape of a frame
        Added to; a full pixel stays at the largest value of its type.
    uniform_level : float
        Photons per pixel of a uniform background on the panels.

    Returns
    -------
    int
        Photons added.
    """
    panels = PanelArrays.of(geometry)
    px, py = polarisation_weights(polarisation)
    lateral = 4 * profile.t**2 * (1 - profile.t**2)  # sin² of the scattering angle
    if np.any(profile.polarised * lateral * max(px, py) > profile.total * (1 + 1e-9)):
        raise ValueError("the polarised part of a profile exceeds the whole")
    limit = np.iinfo(counts.dtype).max
    arrays = (panels.inverse, panels.extent)
    added = _add_radial(
        *arrays, profile.total, profile.polarised, profile.t_max, px, py, state, counts, limit
    )
    if uniform_level > 0:
        added += _add_uniform(panels.extent, uniform_level * panels.n_pixels, state, counts, limit)
    return added


@numba.njit(cache=True, nogil=True, error_model="numpy")
def _add_radial(inverse, extent, total, polarised, t_max, px, py, state, counts, limit):  # type: ignore[no-untyped-def]
    """Draw photons interval by interval of the table; rejection makes the draw exact within one."""
    step = t_max / (len(total) - 1)
    added = 0
    for row in range(len(total) - 1):
        bound = max(total[row], total[row + 1])
        # sin²(2θ/2) = t² is uniform in solid angle: dΩ = 4π d(t²).
        low, high = (row * step) ** 2, ((row + 1) * step) ** 2
        for _ in range(poisson(4.0 * math.pi * (high - low) * bound, state)):
            t2 = low + (high - low) * uniform(state)
            part = math.sqrt(t2) / step - row
            density = total[row] + part * (total[row + 1] - total[row])
            radius = 2.0 * math.sqrt(t2 * (1.0 - t2))
            angle = 2.0 * math.pi * uniform(state)
            ux, uy, uz = radius * math.cos(angle), radius * math.sin(angle), 1.0 - 2.0 * t2
            density -= (polarised[row] + part * (polarised[row + 1] - polarised[row])) * (
                px * ux * ux + py * uy * uy
            )
            if uniform(state) * bound >= density:
                continue
            panel, fs, ss = locate(inverse, extent, ux, uy, uz)
            if panel < 0:
                continue
            i, j = extent[panel, 0] + int(fs), extent[panel, 1] + int(ss)
            counts[j, i] = min(counts[j, i] + 1, limit)
            added += 1
    return added


@numba.njit(cache=True, nogil=True, error_model="numpy")
def _add_uniform(extent, expected, state, counts, limit):  # type: ignore[no-untyped-def]
    n_pixels = 0
    for n in range(len(extent)):
        n_pixels += extent[n, 2] * extent[n, 3]
    added = poisson(expected, state)
    for _ in range(added):
        pixel = int(uniform(state) * n_pixels)
        n = 0
        while pixel >= extent[n, 2] * extent[n, 3]:
            pixel -= extent[n, 2] * extent[n, 3]
            n += 1
        i, j = extent[n, 0] + pixel % extent[n, 2], extent[n, 1] + pixel // extent[n, 2]
        counts[j, i] = min(counts[j, i] + 1, limit)
    return added

"""Rings of ice in the background of a run."""

from __future__ import annotations

import dataclasses

import numpy as np
from numpy.typing import NDArray

from hitfinder.crystal.ice import ICE_A, half_width_inv_a

_FROM, _TO = 1.4, 2.4
"""Where the background beside a ring is looked at, in units of its half width."""

_LEAST_SHARE, _LEAST_SIGMAS = 0.05, 6.0
"""A ring is told if it is so much brighter than what is beside it, and so sure."""


@dataclasses.dataclass(frozen=True)
class IceRing:
    """A ring of ice.

    Attributes
    ----------
    resolution_a : float
        Where, in Å.
    excess : float
        Its brightness above the background beside it, as a share of that.
    """

    resolution_a: float
    excess: float


def ice_rings(
    q: NDArray[np.float64], mean: NDArray[np.float64], n_readings: NDArray[np.int64]
) -> list[IceRing] | None:
    """Find the rings of ice in a mean radial profile.

    Parameters
    ----------
    q : ndarray, shape (n,)
        Scattering vector of each bin, 2π/d, in Å⁻¹.
    mean : ndarray, shape (n,)
        Mean photons per pixel and frame; NaN where there are none.
    n_readings : ndarray, shape (n,)
        Pixels of each bin times frames.

    Returns
    -------
    list of IceRing or None
        Those that stand out; None if no ring of ice could be seen in so few photons, or at all.
    """
    found, could_be_seen = [], False
    for resolution in ICE_A:
        centre = 2 * np.pi / resolution
        half = half_width_inv_a(resolution)
        away = (q - centre) / half
        ring = _level(mean, n_readings, np.abs(away) <= 1)
        sides = [_level(mean, n_readings, (way >= _FROM) & (way <= _TO)) for way in (away, -away)]
        if ring is None or sides[0] is None or sides[1] is None:
            continue
        beside = (sides[0][0] + sides[1][0]) / 2
        sigma = np.sqrt(ring[1] + (sides[0][1] + sides[1][1]) / 4)
        if not beside > 0:
            continue
        could_be_seen |= bool(_LEAST_SIGMAS * sigma < beside)
        excess = ring[0] - beside
        if excess > _LEAST_SHARE * beside and excess > _LEAST_SIGMAS * sigma:
            found.append(IceRing(resolution, float(excess / beside)))
    return found if could_be_seen else None


def _level(
    mean: NDArray[np.float64], n_readings: NDArray[np.int64], where: NDArray[np.bool_]
) -> tuple[float, float] | None:
    """Return photons per pixel and frame in some bins, and their variance by counting."""
    where = where & np.isfinite(mean) & (n_readings > 0)
    n = int(n_readings[where].sum())
    if not n:
        return None
    level = float((mean[where] * n_readings[where]).sum() / n)
    return level, level / n

"""Where the powder rings of ice are."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

ICE_A = (3.897, 3.669, 3.441, 2.671, 2.249, 2.072, 1.948, 1.918, 1.883, 1.721)
"""Resolutions of the strongest powder rings of hexagonal ice, in Å: 100, 002, 101, 102, 110, 103,
200, 112, 201 and 202 of its cell, a = 4.50 Å and c = 7.34 Å (Blackman and Lisgarten, Proc. R. Soc.
A 239 (1957) 93). The three at 3.9 to 3.4 Å are the brightest."""

_HALF_INV_A, _HALF_SHARE = 0.015, 0.005
"""Half of the width of a ring, 2π/d: of small crystals, and of 1 % bandwidth."""

_APART = slice(0, 6)
"""Rings of `ICE_A` between which there is room for as much as they cover themselves."""

_MANY_BEYOND_A = 1.74
"""Resolution, in Å, beyond which rings of ice follow one another so closely that they cover most
of it."""


def half_width_inv_a(resolution_a: float) -> float:
    """Return half of the width of the ring at a resolution (Å), in 2π/d, Å⁻¹."""
    return _HALF_INV_A + _HALF_SHARE * 2 * np.pi / resolution_a


def on_and_beside_rings(
    resolution_a: NDArray[np.floating],
) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    """Say which peaks are on rings of ice, and which beside one.

    What is beside a ring covers as much of 2π/d as the ring: peaks of other crystals are as many
    here as there. Rings that are close to others are left out.

    Parameters
    ----------
    resolution_a : ndarray, shape (n,)
        Resolution of each peak, in Å.

    Returns
    -------
    on, beside : ndarray of bool, shape (n,)
        No peak is both.
    """
    nearest = _half_widths_away(resolution_a, np.array(ICE_A)[_APART])
    return nearest <= 1, (nearest > 1) & (nearest <= 2)


def is_on_any_ring(resolution_a: NDArray[np.floating]) -> NDArray[np.bool_]:
    """Say which peaks may be of ice: on any of its rings, or where these lie close together.

    Parameters
    ----------
    resolution_a : ndarray, shape (n,)
        Resolution of each peak, in Å.
    """
    return (_half_widths_away(resolution_a, np.array(ICE_A)) <= 1) | (
        resolution_a <= _MANY_BEYOND_A
    )


def _half_widths_away(
    resolution_a: NDArray[np.floating], rings_a: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Return how far the nearest of some rings is from each resolution, in half of its width."""
    half = np.array([half_width_inv_a(ring) for ring in rings_a])
    q = 2 * np.pi / np.asarray(resolution_a, np.float64)
    away = np.abs(q[:, np.newaxis] - 2 * np.pi / rings_a) / half
    return np.asarray(away.min(axis=1, initial=np.inf))

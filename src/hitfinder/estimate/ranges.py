"""What photon energies and camera lengths are possible."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from hitfinder.estimate.grid import SEARCHED_ENERGY_EV, SEARCHED_LENGTH_M

ENERGY_RANGE_EV = (4500.0, 14500.0)
"""Half a keV more than the settings in use, as a mean cannot lie beyond a value at the end."""

LENGTH_RANGE_M = (0.08, 0.60)


def limits_of(
    name: str, unit: str, value: float | None, limits: tuple[float, float], searched: int
) -> tuple[float, float]:
    """Return the limits of a quantity, which are equal where it is known.

    Raises
    ------
    ValueError
        If they are not within what is searched, or in the wrong order.
    """
    low, high = limits if value is None else (value, value)
    least, most = (SEARCHED_ENERGY_EV, SEARCHED_LENGTH_M)[searched]
    if not (least <= low and high <= most and (low < high or value is not None)):
        raise ValueError(
            f"{name} must be in {least:g} to {most:g} {unit}, got {low:g} to {high:g} {unit}"
        )
    return low, high


def prior_sigma(box: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the spread of E, uniform, and of D, uniform in its logarithm, in eV and m."""
    (e_low, e_high), (d_low, d_high) = np.exp(box)
    span = math.log(d_high / d_low) or 1.0
    mean = (d_high - d_low) / span
    square = (d_high**2 - d_low**2) / (2 * span)
    return np.array([(e_high - e_low) / math.sqrt(12), math.sqrt(max(square - mean**2, 0))])

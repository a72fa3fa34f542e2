"""How photon energy and camera length differ between two sets of frames."""

from __future__ import annotations

import dataclasses
import math

import numpy as np
from scipy import special

from hitfinder.estimate.result import GeometryEstimate


@dataclasses.dataclass(frozen=True)
class Change:
    """A change of photon energy and camera length.

    Attributes
    ----------
    energy_ev, length_m : float
        Later less earlier; NaN where either is not known.
    energy_sigma_ev, length_sigma_m : float
        Their standard deviations.
    p : float
        Chance of such a change, of both together, where nothing changes.
    """

    energy_ev: float
    energy_sigma_ev: float
    length_m: float
    length_sigma_m: float
    p: float

    @staticmethod
    def between(first: GeometryEstimate, last: GeometryEstimate, excess: float = 1.0) -> Change:
        """Compare two estimates of different frames.

        Parameters
        ----------
        first, last : GeometryEstimate
            The earlier and the later one.
        excess : float
            Variance of what frames tell over what it is by their photons alone, as where the
            energy varies from pulse to pulse.
        """
        if first.flag != "ok" or last.flag != "ok":
            return Change(*(math.nan,) * 5)
        change = last.values - first.values
        covariance = (first.covariance + last.covariance) * excess
        sigma = np.sqrt(np.diag(covariance))
        free = sigma > 0
        inverse = np.linalg.inv(covariance[np.ix_(free, free)])
        p = float(special.chdtrc(free.sum(), change[free] @ inverse @ change[free]))
        return Change(float(change[0]), float(sigma[0]), float(change[1]), float(sigma[1]), p)

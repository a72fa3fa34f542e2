"""What is known of a photon energy and a camera length, and how it is judged."""

from __future__ import annotations

import dataclasses
import math
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import special

Flag = Literal["ok", "few-photons", "outside", "not-water"]


@dataclasses.dataclass(frozen=True)
class GeometryEstimate:
    """Photon energy and camera length with their joint uncertainty.

    Attributes
    ----------
    photon_energy_ev, camera_length_m : float
        Posterior means, in eV and m; NaN where the flag is ``outside`` or ``not-water``.
    photon_energy_sigma_ev, camera_length_sigma_m : float
        Posterior standard deviations; 0 where a value was given.
    photon_energy_low_ev, photon_energy_high_ev, camera_length_low_m, camera_length_high_m : float
        Ends of the 68 % intervals, which hold the truth as often wherever it lies; at an end of
        the range where photons tell no less.
    correlation : float
        Correlation of the two.
    flag : str
        ``ok``; ``few-photons``: one of them is hardly better known than the range that was
        searched; ``outside``: they are outside that range; ``not-water``: the frame is not
        scattered as water scatters.
    deviance_p : float
        Chance of a fit as bad as this one; NaN where photons are too few to judge.
    photons : float
        Photons that were used.
    """

    photon_energy_ev: float
    photon_energy_sigma_ev: float
    photon_energy_low_ev: float
    photon_energy_high_ev: float
    camera_length_m: float
    camera_length_sigma_m: float
    camera_length_low_m: float
    camera_length_high_m: float
    correlation: float
    flag: Flag
    deviance_p: float
    photons: float

    @property
    def values(self) -> NDArray[np.float64]:
        """Photon energy in eV and camera length in m."""
        return np.array([self.photon_energy_ev, self.camera_length_m])

    @property
    def covariance(self) -> NDArray[np.float64]:
        """Covariance of (photon energy, camera length), in eV², eV m and m²."""
        sigma = np.array([self.photon_energy_sigma_ev, self.camera_length_sigma_m])
        correlation = np.array([[1.0, self.correlation], [self.correlation, 1.0]])
        return correlation * np.outer(sigma, sigma)

    def nearest(self, energies_ev: ArrayLike, lengths_m: ArrayLike) -> tuple[float, float, float]:
        """Choose the most probable of given settings, both values together.

        Energy and camera length are strongly correlated, so that where the energy can only be one
        of a few the camera length is known much better than its own standard deviation says.

        Parameters
        ----------
        energies_ev, lengths_m : array-like
            Values that are possible; every pair of them is a setting.

        Returns
        -------
        photon_energy_ev, camera_length_m : float
            Of the most probable setting; NaN if the estimate is.
        probability : float
            Of that setting among all, taken as equally probable beforehand.
        """
        energies = np.atleast_1d(np.asarray(energies_ev, float))
        lengths = np.atleast_1d(np.asarray(lengths_m, float))
        if not (energies.size and lengths.size):
            raise ValueError("no photon energies or no camera lengths to choose from")
        if not np.isfinite(self.photon_energy_ev):
            return math.nan, math.nan, math.nan
        away = np.stack(np.meshgrid(energies, lengths, indexing="ij"), axis=-1)
        away = away - (self.photon_energy_ev, self.camera_length_m)
        # A value that was given has no variance; any small one serves as its scale.
        least = np.diag([1.0, 1e-10])
        inverse = np.linalg.inv(self.covariance + least)
        logs = -0.5 * np.einsum("edi,ij,edj->ed", away, inverse, away)
        best = np.unravel_index(int(np.argmax(logs)), logs.shape)
        probability = math.exp(logs[best] - float(special.logsumexp(logs)))
        return float(energies[best[0]]), float(lengths[best[1]]), probability


@dataclasses.dataclass(frozen=True)
class GoodnessOfFit:
    """How well expected photons fit those counted.

    Attributes
    ----------
    p : float
        Chance of a fit as bad, where the model may be wrong by the tolerance; NaN if unknown.
    excess : float
        Variance of the counts over Poisson's, at least 1: 1 unless it is beyond chance.
    """

    p: float
    excess: float


_TOLERANCE = 0.02
_PER_GROUP = 10.0
_LEAST_GROUPS = 5
_SIGNIFICANT = 1e-3


def goodness_of_fit(
    counts: NDArray[np.float64], expected: NDArray[np.float64], n_fitted: int
) -> GoodnessOfFit:
    """Compare the photons of rings, neighbours joined up to ten expected photons.

    Pearson's χ² twice: as it is, for the excess; and with a relative error of 2 % added in each
    group, which is what published water curves and detectors are good for, for p.

    Parameters
    ----------
    counts, expected : ndarray, shape (n_rings,)
        Photons, of the same sum.
    n_fitted : int
        Parameters fitted, the scale included.
    """
    group = np.minimum(
        (np.cumsum(expected) - expected / 2) // _PER_GROUP, max(expected.sum() // _PER_GROUP - 1, 0)
    ).astype(np.int64)
    # Groups are numbered one behind the other, as they never fall from ring to ring.
    group[1:] = np.cumsum(np.diff(group) > 0)
    group[:1] = 0
    seen, model = np.bincount(group, counts), np.bincount(group, expected)
    seen, model = seen[model > 0], model[model > 0]
    freedom = len(model) - n_fitted
    if len(model) < _LEAST_GROUPS:
        return GoodnessOfFit(math.nan, 1.0)
    squares = (seen - model) ** 2
    pure = float((squares / model).sum())
    tolerant = float((squares / (model + (_TOLERANCE * model) ** 2)).sum())
    significant = special.chdtrc(freedom, pure) < _SIGNIFICANT
    return GoodnessOfFit(
        float(special.chdtrc(freedom, tolerant)), max(1.0, pure / freedom) if significant else 1.0
    )

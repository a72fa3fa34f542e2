"""Photon energy and camera length where the water's temperature is not known exactly.

Water's ring moves with the temperature, as it does with the energy. With many photons the shape of
the curve tells the three apart.
"""

from __future__ import annotations

import dataclasses
import math

import numpy as np
from numpy.typing import NDArray

from hitfinder.estimate import posterior
from hitfinder.estimate.estimator import GeometryEstimator
from hitfinder.estimate.gather import BinSums
from hitfinder.estimate.model import WaterModel
from hitfinder.estimate.result import GeometryEstimate, goodness_of_fit

_TABLE_C = (1.0, 77.0)
_SIGMAS = 4.0
_STEP_C = 1.5
_BAD_FIT = 1e-4


@dataclasses.dataclass(frozen=True)
class WithTemperature:
    """An estimate with the temperature fitted.

    Attributes
    ----------
    estimate : GeometryEstimate
        Its uncertainty includes that of the temperature.
    temperature_c, temperature_sigma_c : float
        Temperature of the water and its standard deviation, in °C.
    """

    estimate: GeometryEstimate
    temperature_c: float
    temperature_sigma_c: float


def fit_temperature(
    estimator: GeometryEstimator, sums: BinSums, temperature_sigma_c: float
) -> WithTemperature:
    """Estimate energy and camera length from bright frames or runs, and the temperature too.

    The temperature is normal around that of the estimator beforehand. Maximum of the posterior,
    with the covariance of a normal distribution there (Laplace's approximation; Gelman et al.,
    Bayesian Data Analysis, 3rd ed., section 4.1).

    Parameters
    ----------
    estimator : GeometryEstimator
        Of the detector; gives the mean temperature.
    sums : BinSums
        Of a frame or a run.
    temperature_sigma_c : float
        Standard deviation of the temperature beforehand, in °C.

    Raises
    ------
    ValueError
        If the standard deviation is not positive.
    """
    # Slow to import, and few callers need it.
    from scipy import optimize

    if not temperature_sigma_c > 0:
        raise ValueError(f"temperature sigma must be positive, got {temperature_sigma_c} °C")
    start = estimator.estimate_sums(sums)
    middle = estimator.temperature_c
    reach = _SIGMAS * temperature_sigma_c
    ends = max(_TABLE_C[0], middle - reach), min(_TABLE_C[1], middle + reach)
    fits = _Fits(estimator, sums, middle, temperature_sigma_c)
    best = optimize.minimize_scalar(
        lambda t: -fits.at(float(t)).log_posterior, bounds=ends, options={"xatol": 1e-3}
    )
    at = float(best.x)
    low, high = max(at - _STEP_C, _TABLE_C[0]), min(at + _STEP_C, _TABLE_C[1])
    points = [fits.at(t) for t in (low, (low + high) / 2, high)]
    half = (high - low) / 2
    logs = [point.log_posterior for point in points]
    bend = max((2 * logs[1] - logs[0] - logs[2]) / half**2, 1 / temperature_sigma_c**2)
    moves = (np.exp(points[2].x) - np.exp(points[0].x)) / (2 * half)
    peak = fits.at(at)
    free = np.ix_(estimator.free, estimator.free)
    covariance = np.zeros((2, 2))
    covariance[free] = np.linalg.inv(peak.information[free])
    scale = np.exp(peak.x)
    covariance = covariance * np.outer(scale, scale) + np.outer(moves, moves) / bend
    fit = goodness_of_fit(*peak.rings(sums), 2 + int(estimator.free.sum()))
    covariance *= fit.excess
    sigma = np.sqrt(np.diag(covariance))
    both = float(np.prod(sigma))
    estimate = dataclasses.replace(
        start,
        photon_energy_ev=float(scale[0]),
        photon_energy_sigma_ev=float(sigma[0]),
        photon_energy_low_ev=float(scale[0] - sigma[0]),
        photon_energy_high_ev=float(scale[0] + sigma[0]),
        camera_length_m=float(scale[1]),
        camera_length_sigma_m=float(sigma[1]),
        camera_length_low_m=float(scale[1] - sigma[1]),
        camera_length_high_m=float(scale[1] + sigma[1]),
        correlation=float(covariance[0, 1] / both) if both > 0 else 0.0,
        flag="not-water" if fit.p < _BAD_FIT else "ok",
        deviance_p=fit.p,
    )
    return WithTemperature(estimate, at, math.sqrt(fit.excess / bend))


@dataclasses.dataclass(frozen=True, eq=False)
class _Point:
    """The maximum of the likelihood at one temperature."""

    model: WaterModel
    x: NDArray[np.float64]
    information: NDArray[np.float64]
    log_posterior: float

    def rings(self, sums: BinSums) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Return photons counted and expected in the rings."""
        expected = (self.model.per_pixel(*np.exp(self.x)) * sums.exposure).sum(1)
        seen = sums.counts.sum(1)
        return seen, expected * (seen.sum() / max(expected.sum(), 1e-300))


class _Fits:
    """Fits at single temperatures, each started from the one before."""

    def __init__(
        self, estimator: GeometryEstimator, sums: BinSums, middle: float, sigma: float
    ) -> None:
        self._estimator, self._sums = estimator, sums
        self._middle, self._sigma = middle, sigma
        self._x = estimator.maximum(sums)

    def at(self, temperature_c: float) -> _Point:
        model = WaterModel.of(self._estimator.bins, temperature_c)
        x, information = self._x.copy(), np.empty((2, 2))
        data = (self._sums.counts, self._sums.exposure, model.rings, model.cells, model.water)
        value = posterior.climb(x, self._estimator.box, data, information)
        value -= 0.5 * ((temperature_c - self._middle) / self._sigma) ** 2
        return _Point(model, x, information, value)

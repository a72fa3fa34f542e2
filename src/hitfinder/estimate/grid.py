"""The likelihood on a coarse grid of photon energies and camera lengths, to start from."""

from __future__ import annotations

import dataclasses
import math

import numpy as np
from numpy.typing import NDArray

from hitfinder.estimate.model import WaterModel, fill_model
from hitfinder.units import HC_EV_ANGSTROM

RING_Q = 2.0
"""Scattering vector of water's ring, in Å⁻¹: photons tell its radius first of all."""

SEARCHED_ENERGY_EV = (3000.0, 30000.0)
SEARCHED_LENGTH_M = (0.04, 1.5)
"""What is searched, wider than what is estimated, so that what lies outside shows."""

_STEP = 0.05
_N_LENGTHS = 48


def ring_angle_tangent(photon_energy_ev: float | NDArray) -> NDArray[np.float64]:
    """Return the radius of water's ring over the camera length, tan 2θ at q = 2 Å⁻¹."""
    sine = RING_Q * HC_EV_ANGSTROM / (4 * math.pi * np.asarray(photon_energy_ev, float))
    return np.tan(2 * np.arcsin(sine))


@dataclasses.dataclass(frozen=True, eq=False)
class Grid:
    """Points of energy and ring radius, evenly spaced in their logarithms.

    The radius of water's ring on the detector takes the place of the camera length, so that the
    well and the badly determined combination lie along the axes. The azimuth enters the water's
    part through its mean alone, and the polarisation's through a table over camera lengths, which
    keeps the tables small.

    Attributes
    ----------
    log_energy, log_length : ndarray, shape (n_energies, n_radii)
        Points, in ln eV and ln m.
    valid : ndarray of bool, shape (n_energies, n_radii)
        Whether a point is within what is searched; the tables hold those points alone.
    log_water, water, polarised : ndarray of float32, shape (n_points, n_rings)
        Logarithm of the expected photons without polarisation, the photons, and their part that
        polarisation takes away where `PolarBins.polarised` is 1.
    log_polarisation : ndarray, shape (n_lengths, n_rings * n_azimuths)
        Logarithm of the polarisation factor at a row of camera lengths.
    polarised_part : ndarray, shape (n_rings, n_azimuths)
        See `PolarBins.polarised`.
    before, beyond : ndarray, shape (n_points,)
        Which of these camera lengths is before each point's, and how far this is on the way to the
        next one.
    """

    log_energy: NDArray[np.float64]
    log_length: NDArray[np.float64]
    valid: NDArray[np.bool_]
    log_water: NDArray[np.float32]
    water: NDArray[np.float32]
    polarised: NDArray[np.float32]
    log_polarisation: NDArray[np.float64]
    polarised_part: NDArray[np.float64]
    before: NDArray[np.intp]
    beyond: NDArray[np.float64]

    @staticmethod
    def of(model: WaterModel) -> Grid:
        """Compute the tables for a model."""
        v = np.arange(math.log(SEARCHED_ENERGY_EV[0]), math.log(SEARCHED_ENERGY_EV[1]), _STEP)
        tangent = np.log(ring_angle_tangent(np.exp(v)))
        low, high = np.log(SEARCHED_LENGTH_M)
        u = np.arange(low + tangent.min(), high + tangent.max(), _STEP)
        energy, radius = np.meshgrid(v, u, indexing="ij")
        length = radius - tangent[:, None]
        valid = (length >= low) & (length <= high)
        n_rings = model.rings.shape[1]
        # One azimuth bin at the ring's mean radius, once without and once with full polarisation.
        ends = np.zeros((2, n_rings, 2))
        ends[1, :, 1] = 1.0
        both = np.empty((int(valid.sum()), n_rings, 2))
        for point, (e, d) in enumerate(zip(energy[valid], length[valid], strict=True)):
            fill_model(math.exp(e), math.exp(d), model.rings, ends, model.water, both[point])
        both /= both.max(axis=(1, 2), keepdims=True)
        lengths = np.linspace(low, high, _N_LENGTHS)
        z2 = (np.exp(lengths)[:, None] + model.rings[2]) ** 2
        sin2 = model.rings[0] ** 2 / (model.rings[0] ** 2 + z2)
        factor = 1 - sin2[:, :, None] * model.cells[1]
        place = (length[valid] - low) / (lengths[1] - low)
        before = np.clip(place.astype(np.intp), 0, _N_LENGTHS - 2)
        return Grid(
            log_energy=energy,
            log_length=length,
            valid=valid,
            log_water=np.log(np.maximum(both[..., 0], 1e-30)).astype(np.float32),
            water=both[..., 0].astype(np.float32),
            polarised=(both[..., 0] - both[..., 1]).astype(np.float32),
            log_polarisation=np.log(np.maximum(factor, 1e-6)).reshape(_N_LENGTHS, -1),
            polarised_part=model.cells[1],
            before=before,
            beyond=place - before,
        )

    def log_likelihood(
        self, counts: NDArray[np.float64], exposure: NDArray[np.float64]
    ) -> NDArray[np.float64]:
        """Return log L at the grid points, shape (n_energies, n_radii); -inf where not valid."""
        of_rings = counts.sum(1).astype(np.float32)
        whole = exposure.sum(1).astype(np.float32)
        part = (exposure * self.polarised_part).sum(1).astype(np.float32)
        total = self.water @ whole - self.polarised @ part
        logs = self.log_water @ of_rings - counts.sum() * np.log(np.maximum(total, 1e-30))
        polarisation = self.log_polarisation @ counts.ravel()
        logs = logs + polarisation[self.before] + self.beyond * np.diff(polarisation)[self.before]
        out = np.full(self.valid.shape, -np.inf)
        out[self.valid] = logs
        return out

    def distance(self, box: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return how far, in ln E or ln D, each point is from a box; 0 inside."""
        away = [
            np.maximum(box[i, 0] - values, values - box[i, 1])
            for i, values in enumerate((self.log_energy, self.log_length))
        ]
        return np.maximum(np.maximum(away[0], away[1]), 0)

    def nodes(self, box: NDArray[np.float64], logs: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return the cells of the grid that lie in a box, for integrating over it.

        Parameters
        ----------
        box : ndarray, shape (2, 2)
            Limits of ln E and ln D.
        logs : ndarray, shape (n_energies, n_radii)
            Values at the points.

        Returns
        -------
        ndarray, shape (n, 4)
            ln E, ln D, value and weight: the area of E and ln D that a cell and the box share.
        """
        inside = self.valid & (self.distance(box) < _STEP / 2)
        points = np.stack([self.log_energy[inside], self.log_length[inside]], 1)
        low = np.maximum(points - _STEP / 2, box[:, 0])
        high = np.minimum(points + _STEP / 2, box[:, 1])
        middle = (low + high) / 2
        weight = np.prod(high - low, axis=1) * np.exp(middle[:, 0])
        return np.column_stack([middle, logs[inside], weight])

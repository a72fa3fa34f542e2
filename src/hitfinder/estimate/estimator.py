"""Photon energy and camera length of a frame from the scattering of the water in it."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from hitfinder.estimate import posterior
from hitfinder.estimate.bins import PolarBins
from hitfinder.estimate.gather import BinSums, Gatherer
from hitfinder.estimate.grid import SEARCHED_ENERGY_EV, SEARCHED_LENGTH_M, Grid
from hitfinder.estimate.intervals import likelihood_intervals, moments
from hitfinder.estimate.model import WaterModel
from hitfinder.estimate.ranges import ENERGY_RANGE_EV, LENGTH_RANGE_M, limits_of, prior_sigma
from hitfinder.estimate.result import Flag, GeometryEstimate, GoodnessOfFit, goodness_of_fit
from hitfinder.finding.lit import Lit
from hitfinder.finding.squares import SquareSums
from hitfinder.geometry.geometry import Geometry

_SEARCHED = np.log(np.array([SEARCHED_ENERGY_EV, SEARCHED_LENGTH_M]))
_WIDE = 0.06
_SLICE_SIGMAS = 4.5
_SLICES = 11
_LEAST_SLICES = 4
_ROUNDS = 5
_GROWTH = 0.6
_SLIGHT = 6.0
_STEP = 0.05
_OUTSIDE = 6.0
_BAD_FIT = 1e-4
_AS_WIDE = 0.8
_DARK = 0.7
_DARK_SIGMAS = 4.0
_SHADOW_M = 0.012


class GeometryEstimator:
    """Estimates photon energy and camera length of frames of one detector.

    Not to be shared between threads.

    Parameters
    ----------
    geometry : Geometry
        Detector, mask, beam axis and polarisation. Its photon energy and camera length are not
        used.
    photon_energy_ev, camera_length_m : float, optional
        Values that are known; the other one is then estimated alone.
    energy_range_ev, length_range_m : tuple of float
        What is possible, all photon energies and all logarithms of camera lengths alike.
    temperature_c : float
        Temperature of the water, in °C.

    Raises
    ------
    ValueError
        If a value or a range is impossible, or the detector is wholly masked.
    """

    def __init__(
        self,
        geometry: Geometry,
        *,
        photon_energy_ev: float | None = None,
        camera_length_m: float | None = None,
        energy_range_ev: tuple[float, float] = ENERGY_RANGE_EV,
        length_range_m: tuple[float, float] = LENGTH_RANGE_M,
        temperature_c: float = 25.0,
    ) -> None:
        self.shape, self.temperature_c = geometry.shape, temperature_c
        self._range = np.array(
            [
                limits_of("photon energy", "eV", photon_energy_ev, energy_range_ev, 0),
                limits_of("camera length", "m", camera_length_m, length_range_m, 1),
            ]
        )
        self.box = np.log(self._range)
        self.bins = PolarBins.of(geometry)
        self.model = WaterModel.of(self.bins, temperature_c)
        self._gatherer = Gatherer(self.bins)
        self._grid = Grid.of(self.model)
        self._points: dict[bytes, NDArray[np.bool_]] = {}
        self._nodes = posterior.empty_nodes()
        self._known = self.box[:, 0] == self.box[:, 1]
        self._prior_sigma = prior_sigma(self.box)

    @property
    def free(self) -> NDArray[np.bool_]:
        """Whether energy and camera length are estimated, shape (2,)."""
        return ~self._known

    def sums(
        self,
        counts: NDArray[np.int32],
        lit: Lit | None = None,
        squares: Sequence[SquareSums] = (),
    ) -> BinSums:
        """Gather one frame; all that an estimate needs of it.

        Parameters
        ----------
        counts : ndarray of int32, shape of a frame
            Photons, -1 where there is no reading; the finder's own copy of a frame serves, before
            and after it has looked for peaks.
        lit : Lit, optional
            The pixels that hold photons, as the finder lists them if they are few.
        squares : sequence of SquareSums, optional
            The counts in squares, as the finder sums them if they are many.

        Raises
        ------
        ValueError
            If the shape or the type is another.
        """
        if counts.shape != self.shape or counts.dtype != np.int32:
            raise ValueError(
                f"counts must be int32 of shape {self.shape}, got {counts.dtype} of {counts.shape}"
            )
        return self._gatherer.gather(counts, lit, squares)

    def estimate(self, counts: NDArray[np.int32]) -> GeometryEstimate:
        """Estimate the photon energy and camera length of one frame; see `sums`."""
        return self.estimate_sums(self.sums(counts))

    def estimate_sums(self, sums: BinSums) -> GeometryEstimate:
        """Estimate photon energy and camera length from photons in the bins.

        Parameters
        ----------
        sums : BinSums
            Of one frame, or of several added up.
        """
        peak = self._maximum(sums, _SEARCHED)
        rings = self._rings(sums, peak.x)
        shadow = self._shadowed(*rings)
        if shadow:
            sums = BinSums(sums.counts.copy(), sums.exposure.copy())
            sums.counts[:shadow] = 0
            sums.exposure[:shadow] = 0
            peak = self._maximum(sums, _SEARCHED)
            rings = self._rings(sums, peak.x)
        fit = goodness_of_fit(*rings, 3 - int(self._known.sum()))
        nodes = self._posterior(sums, peak)
        outside = not len(nodes) or peak.log_likelihood - nodes[:, 2].max() > _OUTSIDE
        return self._result(None if outside else nodes, fit, float(sums.counts.sum()))

    def maximum(self, sums: BinSums) -> NDArray[np.float64]:
        """Return where the likelihood is largest within the range: ln E (eV) and ln D (m)."""
        return self._maximum(sums, self.box).x

    def bound(
        self, photon_energy_ev: float, camera_length_m: float, sums: BinSums
    ) -> NDArray[np.float64]:
        """Return the Cramér-Rao bound of the covariance for as many photons as `sums` has.

        Parameters
        ----------
        photon_energy_ev, camera_length_m : float
            True values.
        sums : BinSums
            Gives the number of photons and the exposure.

        Returns
        -------
        ndarray, shape (2, 2)
            In eV², eV m and m²; the thickness is unknown, photon energy and camera length too.
        """
        x = np.log([photon_energy_ev, camera_length_m])
        information, score = np.empty((2, 2)), np.empty(2)
        buffers = np.empty((5, *sums.counts.shape))
        posterior.score_and_information(x, self._data(sums), buffers, score, information)
        scale = np.array([photon_energy_ev, camera_length_m])
        return np.asarray(np.linalg.inv(information) * np.outer(scale, scale), np.float64)

    def _data(self, sums: BinSums) -> tuple[NDArray[np.float64], ...]:
        model = self.model
        return sums.counts, sums.exposure, model.rings, model.cells, model.water

    def _maximum(self, sums: BinSums, box: NDArray[np.float64]) -> _Peak:
        """Find the maximum of the likelihood within a box; what is known stays fixed."""
        box = np.where(self._known[:, None], self.box, box)
        grid = self._grid
        all_logs = grid.log_likelihood(sums.counts, sums.exposure)
        logs = np.where(self._points_in(box), all_logs, -np.inf)
        best = np.unravel_index(int(np.argmax(logs)), logs.shape)
        x = np.array([grid.log_energy[best], grid.log_length[best]])
        information = np.empty((2, 2))
        value = posterior.climb(x, box, self._data(sums), information)
        return _Peak(x, value, information, all_logs)

    def _points_in(self, box: NDArray[np.float64]) -> NDArray[np.bool_]:
        """Say which points of the grid are in a box, or the nearest ones where it is narrow."""
        key = box.tobytes()
        if key not in self._points:
            distance = np.where(self._grid.valid, self._grid.distance(box), np.inf)
            self._points[key] = distance <= max(distance.min(), _STEP)
        return self._points[key]

    def _posterior(self, sums: BinSums, peak: _Peak) -> NDArray[np.float64]:
        """Return nodes of the posterior in the box: ln E, ln D, log L and weight."""
        if not ((peak.x >= self.box[:, 0]) & (peak.x <= self.box[:, 1])).all():
            peak = self._maximum(sums, self.box)
        # Water's ring itself is badly known: there may be several maxima, all of them wide.
        if not self._known.any() and peak.information[1, 1] * _WIDE**2 < 1:
            return self._grid.nodes(self.box, peak.grid)
        reach = _SLICE_SIGMAS * self._energy_sigma(peak.information)
        low, high = np.clip((peak.x[0] - reach, peak.x[0] + reach), *self.box[0])
        n_slices = _SLICES
        for _ in range(_ROUNDS):
            n = posterior.integrate(
                peak.x, low, high, n_slices, self.box, peak.information, self._data(sums),
                self._nodes,
            )  # fmt: skip
            nodes = self._nodes[:n]
            ends = self._ends(nodes, low, high, (high - low) / (n_slices - 1))
            if ends == (low, high):
                break
            (low, high), n_slices = ends, posterior.MOST_SLICES
        return nodes

    def _ends(
        self, nodes: NDArray[np.float64], low: float, high: float, step: float
    ) -> tuple[float, float]:
        """Return where slices should end: farther out, where they end too early, or nearer.

        The likelihood has tails, mostly to high energies, where the information is less than at
        its maximum; and in a corner of the box the posterior is narrower than the likelihood.
        """
        logs = nodes[:, 2] - nodes[:, 2].max(initial=-np.inf)
        seen = nodes[logs > -_SLIGHT, 0]
        if low >= high or not len(seen):
            return low, high
        first, last = seen.min(), seen.max()
        if last - first < (_LEAST_SLICES - 1.5) * step:
            ends = (max(low, first - step), min(high, last + step))
        else:
            ends = (
                low - _GROWTH * (high - low) if first <= low else low,
                high + _GROWTH * (high - low) if last >= high else high,
            )
        return max(ends[0], float(self.box[0, 0])), min(ends[1], float(self.box[0, 1]))

    def _energy_sigma(self, information: NDArray[np.float64]) -> float:
        """Return the standard deviation of ln E, the camera length unknown unless given."""
        value = information[0, 0]
        if not self._known[1]:
            value -= information[0, 1] ** 2 / max(information[1, 1], 1e-12)
        return 1 / math.sqrt(max(value, 1e-12))

    def _shadowed(self, seen: NDArray[np.float64], expected: NDArray[np.float64]) -> int:
        """Return how many of the innermost rings are in the shadow of a beam stop."""
        inner = self.bins.radius_m < _SHADOW_M
        dark = (seen < _DARK * expected) & (expected - seen > _DARK_SIGMAS * np.sqrt(expected))
        at = np.flatnonzero(dark & inner)
        return int(at[-1]) + 2 if len(at) else 0

    def _rings(
        self, sums: BinSums, x: NDArray[np.float64]
    ) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Return photons counted and expected in the rings, the same in total."""
        expected = (self.model.per_pixel(*np.exp(x)) * sums.exposure).sum(1)
        seen = sums.counts.sum(1)
        return seen, expected * (seen.sum() / max(expected.sum(), 1e-300))

    def _result(
        self, nodes: NDArray[np.float64] | None, fit: GoodnessOfFit, photons: float
    ) -> GeometryEstimate:
        """Put an estimate together; without nodes, the values are outside the range."""
        if fit.p < _BAD_FIT or nodes is None:
            flag: Flag = "not-water" if fit.p < _BAD_FIT else "outside"
            return GeometryEstimate(*(math.nan,) * 9, flag, fit.p, photons)
        mean, covariance = moments(nodes)
        mean = np.where(self._known, self._range[:, 0], mean)
        logs = likelihood_intervals(nodes, self.box, fit.excess)
        # The range's own ends, free of rounding: a value on them is within the interval.
        ends = np.where(logs == self.box, self._range, np.exp(logs))
        sigma = np.sqrt(np.maximum(np.diag(covariance), 0) * fit.excess) * ~self._known
        wide = (sigma > _AS_WIDE * self._prior_sigma) & ~self._known
        both = float(np.prod(sigma))
        correlation = float(covariance[0, 1] * fit.excess / both) if both > 0 else 0.0
        energy, length = np.column_stack([mean, sigma, ends]).tolist()
        return GeometryEstimate(
            energy[0], energy[1], energy[2], energy[3], length[0], length[1], length[2], length[3],
            correlation, "few-photons" if wide.any() else "ok", fit.p, photons,
        )  # fmt: skip


@dataclasses.dataclass(frozen=True, eq=False)
class _Peak:
    """A maximum of the likelihood.

    x = (ln E, ln D), log L and the Fisher information there, and log L on the whole grid.
    """

    x: NDArray[np.float64]
    log_likelihood: float
    information: NDArray[np.float64]
    grid: NDArray[np.float64]

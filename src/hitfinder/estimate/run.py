"""Photon energy and camera length of a whole run, and whether they drift."""

from __future__ import annotations

import dataclasses
import math

import numpy as np
from numpy.typing import NDArray
from scipy import special

from hitfinder.estimate.bins import N_AZIMUTHS
from hitfinder.estimate.change import Change
from hitfinder.estimate.estimator import GeometryEstimator
from hitfinder.estimate.gather import BinSums
from hitfinder.estimate.result import GeometryEstimate
from hitfinder.sums import ExactSum

N_PARTS = 16
"""Parts into which a run is cut, to see a drift."""

_MOST_BLOCKS = 128
"""Blocks of frames that are kept apart; enough for the parts of a run of any length."""

_N_OWN = 8
"""Numbers kept of a part besides its bins: frames, frames that are well known, and of the latter
the sums of C⁻¹ (3), C⁻¹ θ (2) and θᵀ C⁻¹ θ for values θ with covariance C."""

_THIRD = 5
_WELL_KNOWN = 0.1
_MOST_FRAMES = 0.5
_P_DRIFT = 1e-3


@dataclasses.dataclass(frozen=True)
class Drift:
    """How photon energy and camera length change in the course of a run.

    Attributes
    ----------
    energy_change_ev, length_change_m : float
        Last third less first third; NaN where either is not known.
    energy_change_sigma_ev, length_change_sigma_m : float
        Their standard deviations.
    change_p : float
        Chance of such a change, of both together, in a steady run.
    parts_chi2 : float
        χ² of the parts of the run against the whole run.
    parts_freedom : int
        Its degrees of freedom.
    parts_p : float
        Chance of such a χ² in a steady run; NaN without parts that can be compared.
    frames_chi2 : float
        χ² of single frames that are well known against the whole run.
    frames_freedom : int
        Its degrees of freedom.
    """

    energy_change_ev: float
    energy_change_sigma_ev: float
    length_change_m: float
    length_change_sigma_m: float
    change_p: float
    parts_chi2: float
    parts_freedom: int
    parts_p: float
    frames_chi2: float
    frames_freedom: int

    @property
    def drifts(self) -> bool:
        """Whether either change is beyond chance, less than one in a thousand."""
        return self.change_p < _P_DRIFT or self.parts_p < _P_DRIFT


@dataclasses.dataclass(frozen=True)
class RunGeometry:
    """Photon energy and camera length of a run.

    Attributes
    ----------
    estimate : GeometryEstimate
        From all frames together.
    n_frames : int
        Frames used: those that look like water.
    drift : Drift
        Whether it changed.
    """

    estimate: GeometryEstimate
    n_frames: int
    drift: Drift


class RunSums:
    """What the frames of a run have in the bins, added up by blocks of frame numbers.

    Adding is exact (the likelihood of frames is the product of theirs, and their unknown scales
    drop out), so sums of processes merge in any order. How many frames there will be need not be
    known: blocks join in pairs when there are too many of them.

    Parameters
    ----------
    n_rings : int
        Rings of the estimator's bins.
    """

    def __init__(self, n_rings: int) -> None:
        if n_rings < 1:
            raise ValueError(f"a run needs rings, got {n_rings}")
        self.n_rings = n_rings
        self._width = 1
        self._blocks: dict[int, ExactSum] = {}

    @staticmethod
    def of(estimator: GeometryEstimator) -> RunSums:
        """Start a run of frames of an estimator's detector."""
        return RunSums(estimator.bins.n_rings)

    def add(self, frame: int, sums: BinSums, estimate: GeometryEstimate) -> None:
        """Add one frame, unless it is not scattered as water scatters.

        Parameters
        ----------
        frame : int
            Number of the frame in the run.
        sums : BinSums
            Of the frame.
        estimate : GeometryEstimate
            Of the frame.
        """
        if frame < 0:
            raise ValueError(f"frame must not be negative, got {frame}")
        photons = sums.counts.sum()
        if estimate.flag == "not-water" or photons == 0:
            return
        row = np.zeros(self._length)
        row[0] = 1
        row[_N_OWN:] = np.concatenate([sums.counts.ravel(), photons * sums.exposure.ravel()])
        _add_well_known(row, estimate)
        self._widen(frame)
        self._block(frame // self._width).add(row)

    def merge(self, other: RunSums) -> None:
        """Add what another process has added of the same run.

        Raises
        ------
        ValueError
            If it is another detector's.
        """
        if other.n_rings != self.n_rings:
            raise ValueError("sums of different detectors cannot be added up")
        while self._width < other._width:
            self._join_pairs()
        for block, row in other._blocks.items():
            self._block(block * other._width // self._width).merge(row)

    def _block(self, number: int) -> ExactSum:
        return self._blocks.setdefault(number, ExactSum((self._length,)))

    def _widen(self, frame: int) -> None:
        """Make blocks as wide as it takes to have a frame in one of the first so many."""
        while frame // self._width >= _MOST_BLOCKS:
            self._join_pairs()

    def _join_pairs(self) -> None:
        before, self._blocks = self._blocks, {}
        self._width *= 2
        for number, row in before.items():
            self._block(number // 2).merge(row)

    def to_array(self) -> NDArray[np.int64]:
        """Return everything as a table, a row for each block that has frames.

        Columns are the width of blocks in frames, the number of the block, and its sums.
        """
        rows = [
            np.concatenate([[self._width, number], row.to_array().ravel()])
            for number, row in sorted(self._blocks.items())
        ]
        return np.array(rows, np.int64).reshape(-1, 2 + 2 * self._length)

    @staticmethod
    def from_array(n_rings: int, table: NDArray[np.int64]) -> RunSums:
        """Return the sums that `to_array` has written.

        Raises
        ------
        ValueError
            If the table is not one of such a run.
        """
        sums = RunSums(n_rings)
        if table.ndim != 2 or table.shape[1] != 2 + 2 * sums._length:
            raise ValueError(f"table of shape {table.shape} is not of a run with {n_rings} rings")
        for row in table:
            sums._width = int(row[0])
            sums._blocks[int(row[1])] = ExactSum.from_array(row[2:].reshape(2, -1))
        return sums

    @property
    def _length(self) -> int:
        return _N_OWN + 2 * self.n_rings * N_AZIMUTHS

    def _parts(self, n_frames: int | None) -> dict[int, NDArray[np.float64]]:
        """Return the sums of each of `N_PARTS` parts of a run that has frames."""
        if n_frames is None:
            n_frames = (max(self._blocks, default=0) + 1) * self._width
        parts: dict[int, ExactSum] = {}
        for number, row in self._blocks.items():
            middle = number * self._width + (self._width - 1) // 2
            part = min(middle * N_PARTS // n_frames, N_PARTS - 1)
            parts.setdefault(part, ExactSum((self._length,))).merge(row)
        return {part: parts[part].value for part in sorted(parts)}

    def _joined(self, rows: dict[int, NDArray[np.float64]], parts: range) -> NDArray[np.float64]:
        there = [rows[part] for part in parts if part in rows]
        return np.sum(there, axis=0) if there else np.zeros(self._length)

    @property
    def total(self) -> BinSums:
        """All frames added up."""
        return self._bins(self._whole())

    @property
    def n_frames(self) -> int:
        """Frames that were added."""
        return int(self._whole()[0])

    def join(self) -> None:
        """Keep no parts: all frames so far are one block."""
        while max(self._blocks, default=0) > 0:
            self._join_pairs()

    def excess(self, whole: GeometryEstimate) -> float:
        """Return the variance of what frames tell over what it is by their photons alone.

        Parameters
        ----------
        whole : GeometryEstimate
            Of all frames together.

        Returns
        -------
        float
            1 at least.
        """
        return _excess(*_frames_chi2(self._whole(), whole))

    def _whole(self) -> NDArray[np.float64]:
        whole = ExactSum((self._length,))
        for row in self._blocks.values():
            whole.merge(row)
        return whole.value

    def _bins(self, row: NDArray[np.float64]) -> BinSums:
        """Photons of frames, and the exposure averaged over the photons."""
        counts, exposure = row[_N_OWN:].reshape(2, self.n_rings, N_AZIMUTHS)
        return BinSums(counts, exposure / max(counts.sum(), 1.0))

    def result(self, estimator: GeometryEstimator, n_frames: int | None = None) -> RunGeometry:
        """Estimate photon energy and camera length from all frames added so far.

        Parameters
        ----------
        estimator : GeometryEstimator
            One like that of the frames.
        n_frames : int, optional
            Frames in the whole run, of which a drift compares parts; by default about as many as
            were added.
        """
        if estimator.bins.n_rings != self.n_rings:
            raise ValueError("the estimator is of another detector than the frames")
        row = self._whole()
        whole = estimator.estimate_sums(self._bins(row))
        chi2, freedom = _frames_chi2(row, whole)
        drift = self._drift(estimator, self._parts(n_frames), chi2, freedom)
        return RunGeometry(whole, int(row[0]), drift)

    def _drift(
        self,
        estimator: GeometryEstimator,
        rows: dict[int, NDArray[np.float64]],
        chi2: float,
        freedom: int,
    ) -> Drift:
        """Compare parts of the run with one another.

        Frames that scatter by more than their own uncertainty (pulses of varying energy) make
        the parts uncertain by as much.
        """
        excess = _excess(chi2, freedom)
        parts = [estimator.estimate_sums(self._bins(row)) for row in rows.values()]
        parts_chi2, parts_freedom = _scatter([p for p in parts if p.flag == "ok"], excess)
        first, last = (
            estimator.estimate_sums(self._bins(self._joined(rows, at)))
            for at in (range(_THIRD), range(N_PARTS - _THIRD, N_PARTS))
        )
        change = Change.between(first, last, excess)
        return Drift(
            change.energy_ev,
            change.energy_sigma_ev,
            change.length_m,
            change.length_sigma_m,
            change.p,
            parts_chi2,
            parts_freedom,
            float(special.chdtrc(parts_freedom, parts_chi2)) if parts_freedom else math.nan,
            chi2,
            freedom,
        )


def _inverse(estimate: GeometryEstimate) -> NDArray[np.float64]:
    """Inverse covariance, 0 for a value that is given."""
    sigma = np.array([estimate.photon_energy_sigma_ev, estimate.camera_length_sigma_m])
    free = sigma > 0
    weight = free / np.where(free, sigma, 1.0)
    if not free.all():
        return np.diag(weight**2)
    r = estimate.correlation
    return np.outer(weight, weight) * np.array([[1.0, -r], [-r, 1.0]]) / (1.0 - r * r)


def _add_well_known(row: NDArray[np.float64], estimate: GeometryEstimate) -> None:
    """Add a frame to the sums of those whose posterior is narrow, and so nearly Gaussian."""
    sigma = np.array([estimate.photon_energy_sigma_ev, estimate.camera_length_sigma_m])
    values = estimate.values
    if estimate.flag != "ok" or not (sigma < _WELL_KNOWN * values).all():
        return
    inverse = _inverse(estimate)
    row[1] += 1
    row[2:5] += inverse[0, 0], inverse[0, 1], inverse[1, 1]
    row[5:7] += inverse @ values
    row[7] += values @ inverse @ values


def _excess(chi2: float, freedom: int) -> float:
    return max(1.0, chi2 / freedom) if freedom else 1.0


def _frames_chi2(row: NDArray[np.float64], whole: GeometryEstimate) -> tuple[float, int]:
    """Return χ² of the well-known frames against the whole run, and its degrees of freedom."""
    n, values = int(row[1]), whole.values
    # A few narrow ones among many wide ones are chosen by chance, and are not typical.
    if n < max(2, _MOST_FRAMES * row[0]) or not np.isfinite(values).all():
        return 0.0, 0
    inverse = row[[2, 3, 3, 4]].reshape(2, 2)
    chi2 = row[7] - 2 * values @ row[5:7] + values @ inverse @ values
    return max(float(chi2), 0.0), (n - 1) * int((np.diag(inverse) > 0).sum())


def _scatter(parts: list[GeometryEstimate], excess: float) -> tuple[float, int]:
    """Return χ² of estimates about their weighted mean, and its degrees of freedom."""
    if len(parts) < 2:
        return 0.0, 0
    inverses = [_inverse(part) / excess for part in parts]
    values = [part.values for part in parts]
    total = np.sum(inverses, axis=0)
    free = np.diag(total) > 0
    weighted = np.sum([i @ v for i, v in zip(inverses, values, strict=True)], axis=0)
    mean = values[0].copy()
    mean[free] = np.linalg.solve(total[np.ix_(free, free)], weighted[free])
    chi2 = sum((v - mean) @ i @ (v - mean) for i, v in zip(inverses, values, strict=True))
    return float(chi2), (len(parts) - 1) * int(free.sum())

"""Index a frame: find the orientation of a crystal whose lattice is known."""

from __future__ import annotations

import dataclasses

import numpy as np
from numpy.typing import NDArray
from scipy.spatial.transform import Rotation

from hitfinder.crystal.lattice import Lattice
from hitfinder.indexing.kernels import fit, log_likelihood, refine, search

LEAST_PEAKS = 3
"""Peaks without which no orientation is told from another."""

USUAL_BANDWIDTH, WIDEST_BANDWIDTH = 0.01, 0.2
"""Relative bandwidths of the beam, full width: that is taken where none is given, and at most."""

_STRAY = (0.1, 0.25, 0.45, 0.65)
"""Shares of Bragg peaks that belong to something else than the crystal, to choose from. No higher
ones: orientations that share a row of lattice points with the true one explain a tenth or two."""

_USUAL_STRAY = 0.5
_SEEDS = 14
_KEPT = 60
_MOST_TRIED = 400_000
_SEARCHED = 60
"""Likeliest peaks by which orientations are tried; all take part in refining them."""

_ENOUGH, _ENOUGH_SHARE = 40.0, 0.5
"""Log likelihood, and share of that of peaks which all fit, at which nothing more is tried."""

_TWIN_ANGLES_DEG = (180.0, 120.0, -120.0, 90.0, -90.0, 60.0, -60.0)
_TWINS_KEPT = 5
"""Turns about rows of lattice points that leave many of them in place, and how many of the
orientations that they lead to are refined."""

_ROUNDS = 4
_SURE = 0.999
_MOST_POINTS = 2_000_000

Floats = NDArray[np.float64]


@dataclasses.dataclass(frozen=True, eq=False)
class Orientation:
    """A crystal's orientation.

    Attributes
    ----------
    score : float
        Natural log of the likelihood over that of peaks that have nothing to do with the lattice,
        the best of all orientations. Peaks at random places reach 16 as a rule, and 22 once in
        some 500 frames.
    axes : ndarray, shape (3, 3)
        Reciprocal axes a*, b*, c* of the conventional cell as columns, in Å⁻¹, without 2π.
    hkl : ndarray of int, shape (n, 3)
        Indices of each peak in the conventional cell.
    belongs : ndarray, shape (n,)
        Probability of each peak to be that reflection.
    """

    score: float
    axes: Floats
    hkl: NDArray[np.int64]
    belongs: Floats


class Indexer:
    """Finds the orientation of a crystal whose lattice is known.

    Two of the likeliest peaks are brought onto every pair of lattice points that are as long and
    as far apart; every such orientation is judged by all peaks, each by its probability of being
    a Bragg peak at all, and the best are refined.

    Parameters
    ----------
    lattice : Lattice
        The crystal's.
    longest : float
        Longest scattering vector of a peak, in Å⁻¹ without 2π (one over the resolution).
    pixel : float
        What a pixel spans in reciprocal space, in Å⁻¹.
    bandwidth : float
        Relative bandwidth of the beam, full width.
    """

    UNKNOWN = 0.9
    """Probability that a peak without one is taken to have."""

    def __init__(
        self, lattice: Lattice, longest: float, pixel: float, bandwidth: float = USUAL_BANDWIDTH
    ) -> None:
        self.lattice, self.pixel, self.bandwidth = lattice, pixel, bandwidth
        self._reciprocal = np.ascontiguousarray(lattice.primitive)
        self._inverse = np.ascontiguousarray(np.linalg.inv(lattice.primitive))
        self._narrow = np.array([pixel, 1e-3, 2 * pixel, 0.4 * bandwidth])
        self._wide = np.array([2 * pixel, 3e-3, 3 * pixel, 0.4 * bandwidth])
        self._reach = 0.6 * bandwidth + 2e-3, 2 * pixel
        self._points, self._lengths = self._lattice_points(longest)
        self._is_unique = self._unique()
        self._twinned = self._twins()

    def _lattice_points(self, longest: float) -> tuple[Floats, Floats]:
        """Lattice points within reach, by length; peaks beyond very many of them are no seeds."""
        most = longest * (1 + self._reach[0]) + self._reach[1]
        volume = np.linalg.det(self._inverse)
        most = min(most, (3 * _MOST_POINTS / (4 * np.pi * abs(volume))) ** (1 / 3))
        limits = np.ceil(most * np.linalg.norm(self._inverse, axis=1)).astype(int)
        grids = np.meshgrid(*(np.arange(-n, n + 1) for n in limits), indexing="ij")
        points = np.stack(grids, -1).reshape(-1, 3) @ self._reciprocal.T
        lengths = np.linalg.norm(points, axis=1)
        order = np.argsort(lengths, kind="stable")
        order = order[(lengths[order] > 0) & (lengths[order] <= most)]
        return np.ascontiguousarray(points[order]), lengths[order]

    def _unique(self) -> NDArray[np.bool_]:
        """Of lattice points that the lattice's rotations map on each other, one."""
        direction = np.array([1.0, 0.618034, 0.314159])
        highest = np.max([self._points @ turn.T @ direction for turn in self.lattice.rotations], 0)
        return np.asarray(self._points @ direction >= highest - 1e-9)

    def index(self, q: Floats, probability: Floats) -> Orientation | None:
        """Find the orientation that explains a frame's peaks best.

        Parameters
        ----------
        q : ndarray, shape (n, 3)
            Scattering vectors, in Å⁻¹ without 2π.
        probability : ndarray, shape (n,)
            Of each to be a Bragg peak; NaN where unknown.

        Returns
        -------
        Orientation or None
            The likeliest orientation, however little it is worth; None if there are too few peaks
            or no two of them can be lattice points.

        Raises
        ------
        ValueError
            If a vector is not finite, as those of positions on no panel.
        """
        p = np.clip(np.nan_to_num(np.asarray(probability, float), nan=self.UNKNOWN), 0, _SURE)
        vectors = np.ascontiguousarray(np.asarray(q, float))
        if not np.isfinite(vectors).all():
            raise ValueError("scattering vectors must be finite")
        pairs, first, last = self._pairs(vectors, p)
        if len(vectors) < LEAST_PEAKS or not len(pairs):
            return None
        lattice = self._reciprocal, self._inverse
        best, turns = np.empty(_KEPT), np.zeros((_KEPT, 3, 3))
        some = np.argsort(-p, kind="stable")[:_SEARCHED]
        odds, base = _odds(p[some], _USUAL_STRAY)
        search(
            vectors, vectors[some], odds, pairs, first, last, self._points, self._lengths,
            self._is_unique, *lattice, self._wide, _MOST_TRIED,
            max(_ENOUGH - base, _ENOUGH_SHARE * self._attainable(vectors[some], odds)), best, turns,
        )  # fmt: skip
        odds, _ = _odds(p, _USUAL_STRAY)
        score, turn, stray = self._best(turns[np.isfinite(best)], vectors, p, odds)
        if turn is not None and score > _ENOUGH:
            # The search may have ended at one that explains half of the peaks.
            others = self._likely(turn @ self._twinned, vectors, odds)
            again = self._best(others, vectors, p, odds)
            score, turn, stray = max((score, turn, stray), again, key=lambda found: found[0])
        return None if turn is None else self._told(score, turn, stray, vectors, p)

    def _best(
        self, turns: Floats, q: Floats, p: Floats, odds: Floats
    ) -> tuple[float, Floats | None, float]:
        """Refine orientations; return the score of the likeliest, it, and the share of strays."""
        score, best, stray, gain = -np.inf, None, _USUAL_STRAY, np.empty(len(q))
        lattice = self._reciprocal, self._inverse
        tried = [(share, *_odds(p, share)) for share in _STRAY]
        for refined in turns:
            for spread in (self._wide, self._narrow):
                refined = refine(refined, q, odds, *lattice, spread, _ROUNDS)
            fit(refined, q, *lattice, self._narrow, gain)
            value, share = max((b + log_likelihood(gain, o), share) for share, o, b in tried)
            if value > score:
                score, best, stray = value, refined, share
        return score, best, stray

    def _likely(self, turns: Floats, q: Floats, odds: Floats) -> Floats:
        """Return the likeliest of many orientations, before they are refined."""
        gain, values = np.empty(len(q)), np.empty(len(turns))
        for number, turn in enumerate(turns):
            fit(np.ascontiguousarray(turn), q, self._reciprocal, self._inverse, self._wide, gain)
            values[number] = log_likelihood(gain, odds)
        return np.ascontiguousarray(turns[np.argsort(-values, kind="stable")[:_TWINS_KEPT]])

    def _twins(self) -> Floats:
        """Rotations by which orientations with many peaks in common differ, shape (n, 3, 3).

        About rows of lattice points of the crystal and of its reciprocal lattice.
        """
        steps = np.arange(-2, 3)
        rows = np.stack(np.meshgrid(steps, steps, steps), -1).reshape(-1, 3)
        rows = rows[[tuple(row) > (0, 0, 0) for row in rows]]
        both = (self.lattice.cell.direct, self.lattice.cell.reciprocal)
        axes = np.concatenate([rows @ lattice.T for lattice in both])
        axes /= np.linalg.norm(axes, axis=1)[:, None]
        angles = np.radians(_TWIN_ANGLES_DEG)
        vectors = (axes[:, None] * angles[:, None]).reshape(-1, 3)
        return np.asarray(Rotation.from_rotvec(vectors).as_matrix())

    def _pairs(
        self, q: Floats, probability: Floats
    ) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]:
        """Pairs of peaks to try, the best first, and the lattice points each peak may be."""
        length = np.linalg.norm(q, axis=1)
        part, constant = self._reach
        first = np.searchsorted(self._lengths, length * (1 - part) - constant)
        last = np.searchsorted(self._lengths, length * (1 + part) + constant)
        order = np.argsort(-probability, kind="stable")
        seeds = order[(last > first)[order]][:_SEEDS]
        one, other = np.triu_indices(len(seeds), 1)
        pairs = np.stack([seeds[one], seeds[other]], 1)
        n = (last - first)[pairs]
        # Symmetry is made use of in the first of a pair: that with more points.
        pairs = np.where((n[:, :1] < n[:, 1:]), pairs[:, ::-1], pairs)
        worth = probability[pairs].prod(axis=1) / np.sqrt(n.prod(axis=1))
        return np.ascontiguousarray(pairs[np.argsort(-worth, kind="stable")]), first, last

    def _attainable(self, q: Floats, odds: Floats) -> float:
        """Log likelihood of an orientation that has every peak on its lattice point."""
        length = np.linalg.norm(q, axis=1)
        across, along = (self._wide[k] + self._wide[k + 1] * length for k in (0, 2))
        volume = abs(np.linalg.det(self._reciprocal))
        top = volume / ((2 * np.pi) ** 1.5 * across**2 * along)
        return float(np.log1p(odds * top).sum())

    def _told(self, score: float, turn: Floats, stray: float, q: Floats, p: Floats) -> Orientation:
        """Put together what is said of all peaks."""
        gain = np.empty(len(q))
        fit(turn, q, self._reciprocal, self._inverse, self._narrow, gain)
        in_lattice = _odds(p, stray)[0] * gain
        axes = turn @ self.lattice.cell.reciprocal
        hkl = np.rint(q @ turn @ np.linalg.inv(self.lattice.cell.reciprocal).T).astype(int)
        return Orientation(float(score), axes, hkl, in_lattice / (1 + in_lattice))


def _odds(probability: Floats, stray: float) -> tuple[Floats, float]:
    """Odds of each peak to be one of the crystal's, and the log likelihood if none fits."""
    rest = 1 - probability + probability * stray
    return probability * (1 - stray) / rest, float(np.log(rest).sum())

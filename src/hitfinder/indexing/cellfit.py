"""Find out whether the unit cell is as large as it is said to be, from the peaks of a run.

Where a peak lies tells the direction of its reciprocal lattice vector whatever the wavelength that
is diffracted; how long the vector is, it tells to the bandwidth of the beam. So a cell of a wrong
size still gives orientations, of few frames, and the peaks' lengths tell by how much it is wrong.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

from hitfinder.crystal.cell import Cell
from hitfinder.crystal.lattice import Lattice
from hitfinder.indexing.batch import LEAST_SCORE, FramePeaks
from hitfinder.indexing.indexer import LEAST_PEAKS, Indexer

SAMPLE = 12
"""Frames with the most peaks that are tried."""

SIZES = 1 + np.array([0.0, -0.0075, 0.0075, -0.015, 0.015, -0.0225, 0.0225, -0.03, 0.03])
"""Edges over those given that are tried, if those given do not fit."""

_RIGHT_SHARE = 0.8
_NOTABLE = 0.0025
_BELONGS = 0.9
_PEAKS_FOR_SHAPE = 100
_ROUNDS = 2

Floats = NDArray[np.float64]


@dataclasses.dataclass(frozen=True)
class FittedCell:
    """The cell that a run's peaks ask for.

    Attributes
    ----------
    given, fitted : Cell
        The cell that was given, and the one that fits best.
    indexed_given, indexed_fitted : int
        Frames of the sample that are indexed with either.
    frames : int
        Frames of the sample.
    """

    given: Cell
    fitted: Cell
    indexed_given: int
    indexed_fitted: int
    frames: int

    @property
    def larger_by(self) -> float:
        """By how much the edges of the fitted cell are longer on average, as a share."""
        return float((self.fitted.volume_a3 / self.given.volume_a3) ** (1 / 3) - 1)

    @property
    def is_given_one_wrong(self) -> bool:
        """Whether the fitted cell is another one, beyond what the beam leaves open."""
        return self.fitted.disagreement(self.given) > _NOTABLE


def fitted_cell(
    lattice: Lattice, frames: Sequence[FramePeaks], indexer: Callable[[Lattice], Indexer]
) -> FittedCell | None:
    """Fit the cell to the frames with the most peaks.

    The size is tried in steps if the given one indexes few of them. Then the symmetric tensor E by
    which reciprocal space is stretched is fitted to the lengths of the peaks, |q| / |g| - 1 =
    ĝᵀ E ĝ to first order, averaged over the lattice's rotations; a single factor where there are
    few peaks. The bandwidth averages out, as the wavelengths of many reflections are as often
    above the middle of the band as below. A photon energy or a camera length that is off by as
    much looks the same.

    Parameters
    ----------
    lattice : Lattice
        The crystals', with the given cell.
    frames : sequence of FramePeaks
        The peaks of the hits.
    indexer : callable
        Returns an indexer for a lattice.

    Returns
    -------
    FittedCell or None
        None if no cell near the given one indexes a quarter of those frames, and three.
    """
    sample = sample_of(frames)
    if not sample:
        return None
    best, n_given = lattice, 0
    n_best, lengths = -1, np.empty((0, 4))
    for size in SIZES:
        tried = lattice if size == 1 else _stretched(lattice, np.eye(3) * (1 / size - 1))
        n, found = _indexed(tried, sample, indexer)
        if size == 1:
            n_given = n
        if n > n_best:
            best, n_best, lengths = tried, n, found
        if n >= _RIGHT_SHARE * len(sample):
            break
    if n_best < max(3, 0.25 * len(sample)):
        return None
    for _ in range(_ROUNDS):
        fitted = _stretched(best, _stretch(best, lengths))
        n, found = _indexed(fitted, sample, indexer)
        if n < n_best:
            break
        best, n_best, lengths = fitted, n, found
    return FittedCell(lattice.cell, best.cell, n_given, n_best, len(sample))


def sample_of(frames: Sequence[FramePeaks]) -> list[FramePeaks]:
    """Return the frames with the most peaks, `SAMPLE` of them."""
    usable = [frame for frame in frames if len(frame.q) >= LEAST_PEAKS]
    expected = [float(frame.chance.sum()) for frame in usable]
    return [usable[k] for k in np.argsort(expected)[::-1][:SAMPLE]]


def _indexed(
    lattice: Lattice, frames: Sequence[FramePeaks], indexer: Callable[[Lattice], Indexer]
) -> tuple[int, Floats]:
    """Index frames; return how many are, and of their sure peaks ĝ in the crystal and |q| / |g|."""
    index, n, rows = indexer(lattice), 0, [np.empty((0, 4))]
    for frame in frames:
        best = index.index(frame.q, frame.probability)
        if best is None or best.score < LEAST_SCORE:
            continue
        n += 1
        sure = (best.belongs > _BELONGS) & best.hkl.any(axis=1)
        g = best.hkl[sure] @ lattice.cell.reciprocal.T
        length = np.linalg.norm(g, axis=1)
        ratio = np.linalg.norm(frame.q[sure], axis=1) / length
        rows.append(np.column_stack([g / length[:, None], ratio]))
    return n, np.concatenate(rows)


def _stretch(lattice: Lattice, lengths: Floats) -> Floats:
    """Fit the tensor by which reciprocal space is stretched."""
    if not len(lengths):
        return np.zeros((3, 3))
    off = lengths[:, 3] - 1
    middle = float(np.median(off))
    if len(off) < _PEAKS_FOR_SHAPE:
        return np.eye(3) * middle
    # Peaks of other reflections are far off: three times the spread of the others.
    near = np.abs(off - middle) < 3 * 1.4826 * np.median(np.abs(off - middle)) + 1e-6
    x, y, z = lengths[near, :3].T
    design = np.stack([x * x, y * y, z * z, 2 * y * z, 2 * x * z, 2 * x * y], 1)
    xx, yy, zz, yz, xz, xy = np.linalg.lstsq(design, off[near], rcond=None)[0]
    tensor = np.array([[xx, xy, xz], [xy, yy, yz], [xz, yz, zz]])
    turns = lattice.rotations
    return np.asarray((turns @ tensor @ turns.transpose(0, 2, 1)).mean(axis=0))


def _stretched(lattice: Lattice, tensor: Floats) -> Lattice:
    """Return the lattice with its reciprocal space stretched by 1 + E."""
    reciprocal = (np.eye(3) + tensor) @ lattice.cell.reciprocal
    axes = np.linalg.inv(reciprocal).T
    edges = np.linalg.norm(axes, axis=0)
    unit = axes / edges
    cosines = [unit[:, i] @ unit[:, j] for i, j in ((1, 2), (0, 2), (0, 1))]
    angles = np.degrees(np.arccos(np.clip(cosines, -1, 1)))
    cell = Cell(*(round(float(v), 3) for v in edges), *(round(float(v), 3) for v in angles))
    return dataclasses.replace(lattice, cell=cell)

"""Find out whether the beam centre is where it is said to be, from the peaks of a run.

If the beam centre is off, all peaks of all frames are moved by the same step on the detector. The
turns of the crystals, each its own, do not make up for that: what is left between peaks and
reflections of many frames tells the step.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from hitfinder.indexing.batch import LEAST_SCORE, FramePeaks
from hitfinder.indexing.cellfit import sample_of
from hitfinder.indexing.indexer import Indexer, Orientation

TRIED_PX = 5.0
"""How far steps are tried where peaks fit badly: from one that is off by three pixels at most, the
fit finds the right one."""

NOTABLE_PX, NOTABLE_SIGMAS = 1.0, 5.0
"""Error of the beam centre that is worth a word: two pixels cost no hit (docs/indexing.md)."""

FEWEST_FRAMES = 3
"""Indexed frames from which a step is told."""

_FIT_WELL, _FIT = 0.8, 0.6
"""Share of the peaks that belong to the crystals of a run whose geometry is right, and the least
with which a step is told."""

_DIRECTIONS, _TRIED_FRAMES, _TRIED_PEAKS = 8, 3, 25
"""Directions in which steps are tried, with the peaks nearest to the beam of so many frames: to try
a step in vain takes half a second a frame."""

_ROUNDS = 4
_BELONGS = 0.9
_SPREAD = 1e-3, 0.4
"""Spread of peaks about their reflections: across, as a share of their length, besides a pixel, as
of mosaicity; along, as a share of the bandwidth. As `hitfinder.indexing.indexer.Indexer` has it."""

Floats = NDArray[np.float64]


@dataclasses.dataclass(frozen=True)
class FittedStep:
    """A step by which all peaks are moved from where the geometry has them.

    Attributes
    ----------
    step : tuple of float
        Along x and y of the laboratory, as an angle seen from the sample, in radians.
    sigma : float
        Standard deviation of its length.
    indexed_given, indexed_fitted : int
        Frames of the sample that are indexed without and with it.
    frames : int
        Frames of the sample.
    """

    step: tuple[float, float]
    sigma: float
    indexed_given: int
    indexed_fitted: int
    frames: int


def fitted_step(
    frames: Sequence[FramePeaks], index: Indexer, wavelength_a: float, pixel_rad: float
) -> FittedStep | None:
    """Fit the step to the frames with the most peaks.

    Steps are tried in several directions if few of the peaks belong to crystals without one. Then
    the step is fitted to what is left between sure peaks and their reflections, weighted by how far
    these may lie apart along and across the scattering vector, together with a small turn of each
    crystal.

    Parameters
    ----------
    frames : sequence of FramePeaks
        The peaks of the hits.
    index : Indexer
        For the crystals' lattice.
    wavelength_a : float
        In Å.
    pixel_rad : float
        Angle of a pixel seen from the sample.

    Returns
    -------
    FittedStep or None
        None if too few frames are indexed with any step, or their peaks fit badly.
    """
    sample = sample_of(frames)
    found = _indexed(sample, np.zeros(2), index, wavelength_a)
    n_given, step = len(found), np.zeros(2)
    expected = sum(float(frame.chance.sum()) for frame in sample)
    if n_given >= FEWEST_FRAMES and _belonging(found) < _FIT_WELL * expected:
        step = _tried(sample, index, wavelength_a, pixel_rad)
        found = _indexed(sample, step, index, wavelength_a) if step.any() else found
    if _belonging(found) < _FIT * expected:
        return None
    sigma = math.inf
    for _ in range(_ROUNDS):
        if len(found) < FEWEST_FRAMES:
            return None
        more, sigma = _step_left(found, index, wavelength_a)
        step = step + more
        if np.hypot(*more) < NOTABLE_PX / 2 * pixel_rad:
            break
        found = _indexed(sample, step, index, wavelength_a)
    return FittedStep((float(step[0]), float(step[1])), sigma, n_given, len(found), len(sample))


def _tried(
    sample: Sequence[FramePeaks], index: Indexer, wavelength_a: float, pixel_rad: float
) -> Floats:
    """Try steps in several directions, and none; return the best."""
    angle = np.linspace(0, 2 * np.pi, _DIRECTIONS, endpoint=False)
    around = TRIED_PX * pixel_rad * np.stack([np.cos(angle), np.sin(angle)], 1)
    steps = np.concatenate([np.zeros((1, 2)), around])
    few = [_near_beam(frame) for frame in sample[:_TRIED_FRAMES]]
    scores = [sum(best.score for _, best in _indexed(few, s, index, wavelength_a)) for s in steps]
    return np.asarray(steps[int(np.argmax(scores))])


def _near_beam(frame: FramePeaks) -> FramePeaks:
    """Return a frame with some of its sure peaks only, those nearest to the beam."""
    sure = np.flatnonzero(frame.chance > 0.5)
    length = np.linalg.norm(frame.q[sure], axis=1)
    some = sure[np.argsort(length, kind="stable")[:_TRIED_PEAKS]]
    return FramePeaks(frame.frame, frame.q[some], frame.probability[some])


def _moves(q: Floats, wavelength_a: float) -> Floats:
    """Return by how much scattering vectors change for a step along x and y, (n, 3, 2), per rad."""
    n = wavelength_a * q + [0.0, 0.0, 1.0]
    return (np.eye(3)[:, :2] - n[:, :, None] * n[:, None, :2]) * (n[:, 2] / wavelength_a)[
        :, None, None
    ]


Found = tuple[Floats, Orientation]


def _belonging(found: Sequence[Found]) -> float:
    """Return how many peaks of indexed frames belong to their crystals."""
    return sum(float(best.belongs.sum()) for _, best in found)


def _indexed(
    frames: Sequence[FramePeaks], step: Floats, index: Indexer, wavelength_a: float
) -> list[Found]:
    """Index frames whose peaks are moved back by a step; return those vectors, and orientations."""
    out = []
    for frame in frames:
        q = frame.q - _moves(frame.q, wavelength_a) @ step
        best = index.index(q, frame.probability)
        if best is not None and best.score >= LEAST_SCORE:
            out.append((q, best))
    return out


def _step_left(found: Sequence[Found], index: Indexer, wavelength_a: float) -> tuple[Floats, float]:
    """Fit the step that is left in indexed frames; return it and its standard deviation."""
    normal, right, squares, n_free = np.zeros((2, 2)), np.zeros(2), 0.0, -2
    for q, best in found:
        sure = (best.belongs > _BELONGS) & best.hkl.any(axis=1)
        g = best.hkl[sure] @ best.axes.T
        left, moves = q[sure] - g, _moves(q[sure], wavelength_a)
        length = np.linalg.norm(g, axis=1)
        unit = g / length[:, None]
        across = index.pixel + _SPREAD[0] * length
        along = 2 * index.pixel + _SPREAD[1] * index.bandwidth * length
        # Parts along the vector are scaled down to those across: all then spread alike.
        shorter = (1 - across / along)[:, None]
        turns = -np.cross(g[:, None, :], np.eye(3)).transpose(0, 2, 1)
        columns = np.concatenate([moves, turns, left[:, :, None]], axis=2)
        part = np.einsum("ni,nik->nk", unit, columns)
        columns = (columns - (shorter * unit)[:, :, None] * part[:, None]) / across[:, None, None]
        rows = columns.reshape(-1, 6)
        # The turn of this crystal is fitted by itself, and what it explains is taken away.
        design = rows[:, 2:5]
        rest = rows - design @ np.linalg.lstsq(design, rows, rcond=None)[0]
        normal += rest[:, :2].T @ rest[:, :2]
        right += rest[:, :2].T @ rest[:, 5]
        squares += float(rest[:, 5] @ rest[:, 5])
        n_free += len(rows) - 3
    step = np.asarray(np.linalg.lstsq(normal, right, rcond=None)[0], float)
    spread = max(squares - float(step @ right), 0.0) / max(n_free, 1)
    # A direction of which nothing is known has no end of an error.
    least = float(np.linalg.eigvalsh(normal)[0])
    return step, math.sqrt(spread / least) if least > 0 else math.inf

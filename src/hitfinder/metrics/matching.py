"""Which found peaks are which true peaks, and what follows from it."""

from __future__ import annotations

import dataclasses

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.optimize import linear_sum_assignment
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components
from scipy.spatial import KDTree


@dataclasses.dataclass(frozen=True, eq=False)
class Matches:
    """A one-to-one matching of found to true peaks.

    Attributes
    ----------
    found, true : ndarray of int, shape (n_matched,)
        Indices of the matched pairs: found peak ``found[i]`` is true peak ``true[i]``.
    distance : ndarray of float, shape (n_matched,)
        Distance of each pair, in pixels.
    missed : ndarray of int
        True peaks nothing was matched to.
    false : ndarray of int
        Found peaks matched to nothing.
    """

    found: NDArray[np.intp]
    true: NDArray[np.intp]
    distance: NDArray[np.float64]
    missed: NDArray[np.intp]
    false: NDArray[np.intp]

    @property
    def recall(self) -> float:
        """Fraction of the true peaks that were found; NaN if there are none."""
        n_true = len(self.true) + len(self.missed)
        return len(self.true) / n_true if n_true else float("nan")

    @property
    def precision(self) -> float:
        """Fraction of the found peaks that are true; NaN if none were found."""
        n_found = len(self.found) + len(self.false)
        return len(self.found) / n_found if n_found else float("nan")


def match_peaks(found_xy: ArrayLike, true_xy: ArrayLike, tolerance_px: float = 3.0) -> Matches:
    """Match found to true peaks one to one.

    Among all matchings of pairs no farther apart than the tolerance, take one with the most
    pairs, and among those the one with the least summed distance. Peaks that compete for a
    partner are a small group, so each group is solved exactly on its own (linear assignment).

    Parameters
    ----------
    found_xy, true_xy : array_like, shape (n, 2)
        Positions (fs, ss), in pixels, of one convention; may be empty.
    tolerance_px : float
        Largest distance of a pair, in pixels.

    Returns
    -------
    Matches
        Pairs in order of the true peak's index.

    Raises
    ------
    ValueError
        If an array is not of shape (n, 2), holds values that are not finite, or the tolerance
        is not positive.
    """
    found = _positions(found_xy, "found")
    true = _positions(true_xy, "true")
    if not tolerance_px > 0:
        raise ValueError(f"tolerance must be positive, got {tolerance_px} px")
    i, j, distance = _close_pairs(found, true, tolerance_px)
    keep = _assign(i, j, distance, len(found), len(true), tolerance_px)
    keep = keep[np.argsort(j[keep], kind="stable")]
    i, j, distance = i[keep], j[keep], distance[keep]
    return Matches(
        found=i,
        true=j,
        distance=distance,
        missed=np.setdiff1d(np.arange(len(true)), j),
        false=np.setdiff1d(np.arange(len(found)), i),
    )


def _positions(xy: ArrayLike, name: str) -> NDArray[np.float64]:
    out = np.asarray(xy, np.float64)
    if out.size == 0:
        return np.empty((0, 2))
    if out.ndim != 2 or out.shape[1] != 2:
        raise ValueError(f"{name} positions must have shape (n, 2), got {out.shape}")
    if not np.isfinite(out).all():
        raise ValueError(f"{name} positions must be finite")
    return out


def _close_pairs(
    found: NDArray[np.float64], true: NDArray[np.float64], tolerance_px: float
) -> tuple[NDArray[np.intp], NDArray[np.intp], NDArray[np.float64]]:
    """All (found, true) index pairs within the tolerance, and their distances."""
    if not (len(found) and len(true)):
        none = np.empty(0, np.intp)
        return none, none, np.empty(0)
    # The tree search works with squared distances: a pair at exactly the tolerance must not
    # depend on their rounding.
    near = KDTree(true).query_ball_point(found, tolerance_px * (1 + 1e-9))
    i = np.repeat(np.arange(len(found)), [len(hits) for hits in near])
    j = np.concatenate([np.asarray(hits, np.intp) for hits in near])
    return i, j, np.hypot(*(found[i] - true[j]).T)


def _assign(
    i: NDArray[np.intp],
    j: NDArray[np.intp],
    distance: NDArray[np.float64],
    n_found: int,
    n_true: int,
    tolerance_px: float,
) -> NDArray[np.intp]:
    """Choose pairs: indices into `i`, `j`, `distance`."""
    if not len(i):
        return np.empty(0, np.intp)
    n = n_found + n_true
    graph = coo_array((np.ones(len(i)), (i, n_found + j)), shape=(n, n))
    group = connected_components(graph, directed=False)[1][i]
    order = np.argsort(group, kind="stable")
    starts = np.flatnonzero(np.diff(group[order], prepend=-1))
    chosen = []
    for pairs in np.split(order, starts[1:]):
        if len(pairs) == 1:
            chosen.append(pairs)
            continue
        rows, row = np.unique(i[pairs], return_inverse=True)
        columns, column = np.unique(j[pairs], return_inverse=True)
        # A pair is worth more than any saving in distance the group could make without it.
        worth = 2 * tolerance_px * (min(len(rows), len(columns)) + 1)
        cost = np.zeros((len(rows), len(columns)))
        cost[row, column] = distance[pairs] - worth
        pair_of = np.full(cost.shape, -1, np.intp)
        pair_of[row, column] = pairs
        picked = pair_of[linear_sum_assignment(cost)]
        chosen.append(picked[picked >= 0])
    return np.concatenate(chosen)


def recall_by_photons(
    photons: ArrayLike, matched: ArrayLike, edges: ArrayLike
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Count true peaks, and those found, in bins of their photons.

    Parameters
    ----------
    photons : array_like, shape (n_true,)
        Photons of each true peak.
    matched : array_like of bool, shape (n_true,)
        Whether it was found.
    edges : array_like, shape (n_bins + 1,)
        Increasing bin edges; a bin holds its lower edge, not its upper one.

    Returns
    -------
    n_found, n_true : ndarray of int, shape (n_bins,)
        Found and all true peaks of each bin.
    """
    photons, matched = np.asarray(photons, float), np.asarray(matched, bool)
    edges = np.asarray(edges, float)
    place = np.searchsorted(edges, photons, side="right") - 1
    inside = (place >= 0) & (place < len(edges) - 1)
    n_true = np.bincount(place[inside], minlength=len(edges) - 1)
    n_found = np.bincount(place[inside & matched], minlength=len(edges) - 1)
    return n_found, n_true


def recall_at_false_rate(
    true_strength: ArrayLike,
    false_strength: ArrayLike,
    n_frames: int,
    false_per_frame: float,
) -> tuple[float, float]:
    """Recall when peaks are cut at the strength that meets a rate of false ones.

    The lowest cut is taken at which no more than ``false_per_frame * n_frames`` false peaks
    remain. A peak is kept if its strength is above the cut.

    Parameters
    ----------
    true_strength : array_like, shape (n_true,)
        Strength of the found peak matched to each true one; −inf for those missed.
    false_strength : array_like
        Strengths of the false peaks of all frames.
    n_frames : int
        Frames the false peaks were counted on.
    false_per_frame : float
        Allowed false peaks per frame.

    Returns
    -------
    recall : float
        Fraction of the true peaks kept; NaN if there are none.
    cut : float
        The strength above which peaks are kept; −inf if all may be.
    """
    strength = np.asarray(true_strength, float)
    false = np.sort(np.asarray(false_strength, float))[::-1]
    allowed = int(np.floor(false_per_frame * n_frames + 1e-9))
    cut = false[allowed] if len(false) > allowed else -np.inf
    if not len(strength):
        return float("nan"), float(cut)
    return float(np.mean(strength > cut)), float(cut)

"""Hits that rest on one place on which other frames of a run rest too that share nothing else."""

from __future__ import annotations

from collections.abc import Callable, Iterable

import numpy as np
from numpy.typing import NDArray
from scipy import sparse, special
from scipy.sparse.csgraph import connected_components
from scipy.spatial import cKDTree

from hitfinder.finding.static.alike import stay_a_while
from hitfinder.results.chunk import ChunkResult

_SAME_PX, _CROWDED, _FALSE_PLACES = 1.0, 10.0, 0.05
"""Distance of what is one place; how much more frequent spots are where they are most frequent;
places of a run that chance may bring twice."""

Places = Iterable[tuple[NDArray[np.int64], NDArray[np.float64]]]
"""Peaks in parts: the frame of each, and its position (fs, ss)."""


def places_of(chunk: ChunkResult) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """Return the frame of each peak of a chunk, and its position (fs, ss)."""
    at = np.stack([chunk.peaks["fs"], chunk.peaks["ss"]], 1)
    return chunk.frame_of_peak, at.astype(float)


def frames_on_static_places(
    single: NDArray[np.float64],
    hits: NDArray[np.int64],
    n_frames: int,
    peaks: Callable[[], Places],
    n_pixels: int,
) -> NDArray[np.int64]:
    """Return the frames that rest on one place, on which others that share nothing rest too.

    Frames in a row may show a crystal that stays; one that hits with other peaks show more often
    never turns.

    Parameters
    ----------
    single : ndarray, shape (n, 3)
        Number of each hit that rests on one thing, rising, and the position of this (fs, ss).
    hits : ndarray of int64
        Numbers of all hits.
    n_frames : int
        Frames of the run.
    peaks : callable
        Returns the peaks of all frames.
    n_pixels : int
        Pixels of a frame that are not masked.
    """
    none = np.empty(0, np.int64)
    if len(single) < 2:
        return none
    pairs = cKDTree(single[:, 1:]).query_pairs(_SAME_PX, output_type="ndarray")
    near = sparse.coo_array((np.ones(len(pairs)), pairs.T), shape=(len(single),) * 2)
    n_places, place = connected_components(near, directed=False)
    times = np.bincount(place)
    usual = len(single) * np.pi * _SAME_PX**2 * _CROWDED / max(n_pixels, 1)
    often = (times >= 2) & (special.pdtrc(times - 2, usual) * len(single) <= _FALSE_PLACES)
    if not often.any():
        return none
    last = int(single[-1, 0]) + 1
    shape = (max(n_frames, last), n_places)
    shown = sparse.csc_array((np.ones(len(single)), (single[:, 0].astype(int), place)), shape=shape)
    often &= ~stay_a_while(shown)
    first = np.unique(place, return_index=True)[1]
    others = np.setdiff1d(hits, single[:, 0].astype(np.int64))
    often &= _with_others(peaks, single[first, 1:], others) < times
    return single[often[place], 0].astype(np.int64)


def _with_others(
    peaks: Callable[[], Places], places: NDArray[np.float64], hits: NDArray[np.int64]
) -> NDArray[np.int64]:
    """Count the hits of some that have a peak at each place."""
    tree, times = cKDTree(places), np.zeros(len(places), np.int64)
    for owner, at in peaks():
        mine = np.isin(owner, hits)
        if not mine.any():
            continue
        distance, place = tree.query(at[mine], distance_upper_bound=_SAME_PX)
        known = np.isfinite(distance)
        seen = np.unique(np.stack([owner[mine][known], place[known]], 1), axis=0)
        times += np.bincount(seen[:, 1].astype(np.intp), minlength=len(places))
    return times

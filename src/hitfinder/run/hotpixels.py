"""Hot pixels, learnt from a sample of a run's frames.

A Bragg peak visits a pixel in a few frames; a hot pixel counts in frame after frame. Over a sample
of frames spread evenly across the run, a pixel is hot if it, and not its surroundings, reads higher
than the background allows in nearly all frames, or in many frames and as steadily as a constant
source would. A crystal that hardly turns between frames, as in a grid scan, gives peaks that come
and go with the beam, which is not steady.

Pixels that are bright time and again are hot as well, however they flicker, if they are bright
alone: most Bragg peaks reach into the pixels around them. If many of such pixels do, they may be
the peaks of one crystal that never turns, and none is masked.
"""

from __future__ import annotations

import logging
import math

import numpy as np
from numpy.typing import NDArray

from hitfinder.errors import SourceError
from hitfinder.finding.likelihood import LikelihoodFinder
from hitfinder.finding.poisson import critical_counts
from hitfinder.finding.rings import Rings
from hitfinder.geometry.geometry import Geometry
from hitfinder.io.source import FrameSource

log = logging.getLogger(__name__)

_LOG_P = math.log(1e-3)
_NEARLY_ALL = 0.9
_MANY = 0.25
_STEADY = 2.0
_LEAST_FRAMES = 12
_SURROUNDINGS_SHARE = 0.5

_LOG_P_BRIGHT = math.log(1e-6)
_MOST_BRIGHT = 20_000
_LEAST_VISITS, _LEAST_VISITS_SHARE = 6, 0.1
_ALONE_SHARE, _ALONE_SIGMAS = 0.05, 2.0
_NEARLY_ALL_ALONE = 0.75
_FEW_PIXELS = 5


def learn_hot_pixels(
    source: FrameSource, geometry: Geometry, n_frames: int = 64
) -> NDArray[np.bool_]:
    """Find the pixels that read high in frame after frame.

    The sample depends on the length of the source alone, so the result is the same however a run
    is divided or resumed.

    Parameters
    ----------
    source : FrameSource
        Frames of one run; those that cannot be read are passed over.
    geometry : Geometry
        Geometry of the frames, with the mask known so far.
    n_frames : int
        Frames to sample.

    Returns
    -------
    ndarray of bool, shape of the frames
        True for a hot pixel. All False if fewer than twelve frames could be read or, with a
        warning, if the pixels may be the peaks of one crystal that never turns.
    """
    finder = LikelihoodFinder(geometry)
    high, total, squares = (np.zeros(geometry.shape, kind) for kind in ("u2", "f4", "f4"))
    visits = []
    n_read = 0
    for index in np.unique(np.linspace(0, len(source) - 1, n_frames).astype(int)):
        try:
            frame = source.read(int(index))
        except SourceError:
            continue
        if frame.shape != geometry.shape:
            continue
        counts, rate = finder.counts_and_background(frame)
        allowed = critical_counts(rate * finder.rings.weight_range[1], _LOG_P)
        np.maximum(counts, 0, out=counts)
        high += (counts > 0) & (counts >= allowed[finder.rings.index])
        visits.append(_visits(counts, rate, finder.rings))
        total += counts
        squares += np.square(counts, dtype=np.float32)
        n_read += 1
    if n_read < _LEAST_FRAMES:
        return np.zeros(geometry.shape, bool)
    mean = total / n_read
    steady = squares / n_read - mean**2 <= _STEADY * mean
    often = (high >= _NEARLY_ALL * n_read) | ((high >= _MANY * n_read) & steady)
    hot = often & (_surroundings(high) < _SURROUNDINGS_SHARE * high)
    again, alone = _bright_again(np.concatenate(visits), n_read)
    if len(again) - alone.sum() > _FEW_PIXELS and alone.mean() < _NEARLY_ALL_ALONE:
        log.warning(
            "%d pixels are bright in frame after frame, with light around most of them; none is "
            "masked, since they may be one crystal that never turns. If they are hot, --mask them",
            len(again),
        )
        return np.zeros(geometry.shape, bool)
    hot.flat[again[alone]] = True
    return hot


def _visits(
    counts: NDArray[np.int32], rate: NDArray[np.float64], rings: Rings
) -> NDArray[np.float64]:
    """Return the pixels of a frame that the background does not explain, and what is around them.

    Returns
    -------
    ndarray, shape (n, 11)
        Place in the flattened frame, background of the pixel, and counts above it of the nine
        pixels around and of it.
    """
    limit = critical_counts(rate * rings.weight_range[1], _LOG_P_BRIGHT)
    at = np.argwhere((counts > 0) & (counts >= limit[rings.index]))
    if len(at) > _MOST_BRIGHT:
        return np.empty((0, 11))
    padded = np.pad(counts, 1)
    nine = [padded[at[:, 0] + a, at[:, 1] + b] for a in range(3) for b in range(3)]
    mean = rate[rings.index[at[:, 0], at[:, 1]]] * rings.weight[at[:, 0], at[:, 1]]
    place = at[:, 0] * counts.shape[1] + at[:, 1]
    return np.stack([place, mean, *(counts - mean for counts in nine)], 1)


def _bright_again(
    visits: NDArray[np.float64], n_frames: int
) -> tuple[NDArray[np.intp], NDArray[np.bool_]]:
    """Return the pixels bright in several frames (flat), and which of them are bright alone.

    One of the pixels around may be bright as well: defects of two pixels are common.
    """
    place, which, times = np.unique(visits[:, 0], return_inverse=True, return_counts=True)
    mean, *nine = (np.bincount(which, column, len(place)) for column in visits.T[1:])
    own = nine.pop(4)
    around = np.sort(nine, axis=0)[:-1].sum(axis=0)
    again = times >= max(_LEAST_VISITS, _LEAST_VISITS_SHARE * n_frames)
    noise = np.sqrt(len(nine) * np.maximum(mean, 0))
    alone = around <= np.maximum(_ALONE_SHARE * own, _ALONE_SIGMAS * noise)
    return place[again].astype(np.intp), alone[again]


def _surroundings(values: NDArray[np.uint16]) -> NDArray[np.uint16]:
    """Return the largest value two pixels away from each pixel.

    The nearest neighbours are passed over: a defect often touches the pixel beside it.
    """
    padded = np.pad(values, 2)
    n_ss, n_fs = values.shape
    largest = np.zeros_like(values)
    for di in range(5):
        for dj in range(5):
            if max(abs(di - 2), abs(dj - 2)) == 2:
                np.maximum(largest, padded[di : di + n_ss, dj : dj + n_fs], out=largest)
    return largest

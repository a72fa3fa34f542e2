"""Hot pixels, learnt from a sample of a run's frames.

A Bragg peak visits a pixel in a few frames; a hot pixel counts in frame after frame. Over a sample
of frames spread evenly across the run, a pixel is hot if it, and not its surroundings, reads higher
than the background allows in nearly all frames, or in many frames and as steadily as a constant
source would. A crystal that hardly turns between frames, as in a grid scan, gives peaks that come
and go with the beam, which is not steady.
"""

from __future__ import annotations

import logging
import math

import numpy as np
from numpy.typing import NDArray

from hitfinder.errors import SourceError
from hitfinder.geometry.experiment import Geometry
from hitfinder.inference.finder import Finder
from hitfinder.inference.poisson import critical_counts
from hitfinder.io.source import FrameSource

log = logging.getLogger(__name__)

_LOG_P = math.log(1e-3)
_NEARLY_ALL = 0.9
_MANY = 0.25
_STEADY = 2.0
_LEAST_FRAMES = 12
_SURROUNDINGS_SHARE = 0.5
_FEW_PIXELS = 20
_MOST_PEAKS = 0.5


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
        True for a hot pixel. All False if fewer than twelve frames could be read; or, with a
        warning, if over twenty pixels seem hot and hold most of the peaks: these may be the
        peaks of one crystal in one place in every frame.
    """
    finder = Finder(geometry)
    high, total, squares = (np.zeros(geometry.shape, kind) for kind in ("u2", "f4", "f4"))
    seen = []
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
        total += counts
        squares += np.square(counts, dtype=np.float32)
        peaks = finder.process(frame).peaks
        seen.append(np.stack([peaks["ss"], peaks["fs"]], axis=1).astype(int))
        n_read += 1
    if n_read < _LEAST_FRAMES:
        return np.zeros(geometry.shape, bool)
    mean = total / n_read
    steady = squares / n_read - mean**2 <= _STEADY * mean
    often = (high >= _NEARLY_ALL * n_read) | ((high >= _MANY * n_read) & steady)
    hot = often & (_surroundings(high) < _SURROUNDINGS_SHARE * high)
    if hot.sum() > _FEW_PIXELS and _share_of_peaks(hot, np.concatenate(seen)) > _MOST_PEAKS:
        log.warning(
            "%d pixels read high in nearly every frame, and most peaks are there; they are not "
            "masked, since they may be one crystal that never turns. If they are hot, --mask them",
            hot.sum(),
        )
        return np.zeros(geometry.shape, bool)
    return hot


def _share_of_peaks(hot: NDArray[np.bool_], pixels: NDArray[np.intp]) -> float:
    """Share of the peaks, given by the pixels (ss, fs) they are in, that lie on hot pixels."""
    return float(hot[pixels[:, 0], pixels[:, 1]].mean()) if len(pixels) else 0.0


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

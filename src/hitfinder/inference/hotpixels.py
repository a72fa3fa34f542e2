"""Hot pixels, learnt from a sample of a run's frames.

A Bragg peak visits a pixel in a frame or two; a hot pixel reads high in frame after frame. Over a
sample of frames spread evenly across the run, a pixel is hot if it alone, not its neighbours,
counts more than the background allows in so many frames that no crystal explains it.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from hitfinder.errors import SourceError
from hitfinder.geometry.experiment import Geometry
from hitfinder.inference.finder import Finder
from hitfinder.inference.poisson import critical_counts
from hitfinder.io.source import FrameSource

_LOG_P = math.log(1e-3)
_SHARE_OF_FRAMES = 0.25
_LEAST_FRAMES = 6
_NEIGHBOUR_SHARE = 0.5


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
        True for a hot pixel; all False if fewer than six frames could be read.
    """
    finder = Finder(geometry)
    high = np.zeros(geometry.shape, np.uint16)
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
        high += (counts > 0) & (counts >= allowed[finder.rings.index])
        n_read += 1
    if n_read < _LEAST_FRAMES:
        return np.zeros(geometry.shape, bool)
    least = max(_LEAST_FRAMES, math.ceil(_SHARE_OF_FRAMES * n_read))
    return (high >= least) & (_largest_neighbour(high) < _NEIGHBOUR_SHARE * high)


def _largest_neighbour(values: NDArray[np.uint16]) -> NDArray[np.uint16]:
    """Largest of the second-nearest ring of neighbours of each pixel.

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

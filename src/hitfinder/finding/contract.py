"""The contract of a finder."""

from __future__ import annotations

from typing import Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from hitfinder.finding.result import FrameResult


@runtime_checkable
class Finder(Protocol):
    """Finds the peaks of frames of one geometry, one frame a call.

    A class that is registered as a finder is called with a
    `hitfinder.geometry.geometry.Geometry` and a `hitfinder.finding.settings.FinderSettings`, and
    gives such an object. It is used by one thread at a time; each worker process builds its own.

    A finder may say more of itself by attributes, none of which is needed:

    ``OPTIONS`` : mapping of str to str, of the class or function
        The keys of `FinderSettings.options` that it takes, and what each means. Others are refused.
    ``least_score`` : float
        The score from which a frame is a hit, if the score is not minus log10 of the share of
        blank frames that look at least as good.
    ``fingerprint`` : str
        What its answers depend on besides the settings, such as the checksum of a trained model.
        A run is not resumed with another one.
    ``takes_packed`` : bool
        Whether it takes a `hitfinder.io.shuffled.ShuffledFrame` as well, of which it need not
        unpack every pixel.
    """

    def __call__(self, frame: NDArray, mask: NDArray[np.bool_] | None = None) -> FrameResult:
        """Find the peaks of one frame and judge it.

        Parameters
        ----------
        frame : ndarray, shape of the geometry
            Photon counts. Negative and NaN pixels, and those at the top of an integer type, have
            no reading. Photons of a detector that does not count are real numbers with noise, of
            which those a little below zero are readings (`hitfinder.experiment.zeropeak`). The
            array may be overwritten after the call.
        mask : ndarray of bool, optional
            Pixels to ignore in this frame, besides those that the geometry masks.

        Returns
        -------
        FrameResult
            Its `peaks` are made by `hitfinder.finding.peaks.peak_table`.
        """
        ...

"""A finder by signal to noise: the counts of 3 × 3 pixels against those around them."""

from __future__ import annotations

from typing import ClassVar

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from hitfinder.finding.peaks import peak_table
from hitfinder.finding.result import FrameResult

WINDOW, AROUND, REACH = 3, 11, 2


class SigmaFinder:
    """Finds windows that hold more than so many standard deviations of the background.

    The background is the mean of 11 × 11 pixels less the window. Where that is below one photon per
    window, one is taken, or a single photon would be a peak.
    """

    OPTIONS: ClassVar = {
        "sigmas": "standard deviations of a peak; 6 by default",
        "peaks": "peaks of a hit; 3 by default",
    }

    def __init__(self, geometry, settings):
        self.geometry = geometry
        self.bad = geometry.detector.full_mask
        self.sigmas = float(settings.options.get("sigmas", 6))
        # The score is the number of peaks, so that many make a hit.
        self.least_score = max(int(settings.options.get("peaks", 3)), settings.min_peaks)

    def __call__(self, frame: NDArray, mask: NDArray[np.bool_] | None = None) -> FrameResult:
        if frame.shape != self.bad.shape:
            raise ValueError(f"frame shape {frame.shape} is not the geometry's {self.bad.shape}")
        bad = self.bad | without_reading(frame)
        if mask is not None:
            bad |= mask
        counts = np.where(bad, 0, frame).astype(float)
        good = (~bad).astype(float)
        inner, outer = box_sum(counts, WINDOW), box_sum(counts, AROUND)
        n_inner, n_outer = box_sum(good, WINDOW), box_sum(good, AROUND)
        background = (outer - inner) / np.maximum(n_outer - n_inner, 1)
        expected = background * n_inner
        snr = (inner - expected) / np.sqrt(np.maximum(expected, 1))
        is_peak = (snr >= self.sigmas) & (snr == ndimage.maximum_filter(snr, WINDOW)) & ~bad
        ss, fs = one_of_each(is_peak)
        order = np.argsort(-snr[ss, fs], kind="stable")
        ss, fs = ss[order], fs[order]
        middle = centroids(np.maximum(counts - background, 0), ss, fs)
        peaks = peak_table(
            *middle,
            photons=(inner - expected)[ss, fs],
            background=expected[ss, fs],
            snr=snr[ss, fs],
            n_pixels=n_inner[ss, fs],
            resolution_a=self.geometry.resolution_a(*middle),
        )
        score = float(len(peaks))
        return FrameResult(score, score >= self.least_score, peaks, int(counts.sum()))


def without_reading(frame: NDArray) -> NDArray[np.bool_]:
    """Negative and NaN pixels, and those at the top of an integer type, have no reading."""
    if frame.dtype.kind == "f":
        return ~(frame >= 0)
    return (frame == np.iinfo(frame.dtype).max) | (frame < 0)


def box_sum(image: NDArray, size: int) -> NDArray[np.float64]:
    """Sum over the box around each pixel, whole numbers exactly."""
    return np.rint(ndimage.uniform_filter(image, size, mode="constant") * size**2)


def one_of_each(marked: NDArray[np.bool_]) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """Row and column of one pixel of each group: neighbours may be the brightest alike."""
    labels, _ = ndimage.label(marked, np.ones((3, 3)))
    numbers, first = np.unique(labels, return_index=True)
    return np.unravel_index(first[numbers > 0], marked.shape)


def centroids(
    weights: NDArray, ss: NDArray, fs: NDArray
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Weighted mean positions (fs, ss) around pixels; the middle of the first pixel is at 0.5."""
    steps = np.arange(-REACH, REACH + 1)
    rows, columns = ss[:, None, None] + steps[:, None], fs[:, None, None] + steps
    inside = (rows >= 0) & (rows < weights.shape[0]) & (columns >= 0) & (columns < weights.shape[1])
    n_ss, n_fs = weights.shape
    around = inside * weights[rows.clip(0, n_ss - 1), columns.clip(0, n_fs - 1)]
    total = np.maximum(around.sum((1, 2)), 1e-9)
    return (
        (around * (columns + 0.5)).sum((1, 2)) / total,
        (around * (rows + 0.5)).sum((1, 2)) / total,
    )

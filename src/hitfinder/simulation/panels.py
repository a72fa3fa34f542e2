"""Panels as plain arrays, for compiled loops."""

from __future__ import annotations

import dataclasses

import numba
import numpy as np
from numpy.typing import NDArray

from hitfinder.geometry.detector import Detector
from hitfinder.geometry.geometry import Geometry


@dataclasses.dataclass(frozen=True, eq=False)
class PanelArrays:
    """The panels of a geometry.

    Attributes
    ----------
    axes : ndarray, shape (n, 3, 3)
        Rows: outer corner of the first pixel, step along fs, step along ss; in m, in the lab.
    inverse : ndarray, shape (n, 3, 3)
        Takes a direction u to (fs, ss, 1) times a factor, which is positive if the ray meets the
        panel's plane; fs and ss count from the panel's own corner.
    extent : ndarray of int64, shape (n, 4)
        fs_start, ss_start, n_fs, n_ss.
    """

    axes: NDArray[np.float64]
    inverse: NDArray[np.float64]
    extent: NDArray[np.int64]

    @staticmethod
    def of(geometry: Geometry) -> PanelArrays:
        """Describe the panels of a geometry.

        Raises
        ------
        ValueError
            If a panel's plane holds the sample, or its axes are parallel.
        """
        axes, inverse, extent = [], [], []
        for panel in geometry.detector:
            p = panel.pixel_size_m
            corner = [panel.corner_x * p, panel.corner_y * p]
            origin = np.array([*corner, geometry.camera_length_m + panel.coffset_m])
            fs, ss = np.asarray(panel.fs_vector) * p, np.asarray(panel.ss_vector) * p
            basis = np.stack([fs, ss, origin], 1)
            if abs(np.linalg.det(basis)) < 1e-9 * p * p:
                raise ValueError(f"panel {panel.name!r} is seen edge-on or has parallel axes")
            axes.append(np.stack([origin, fs, ss]))
            inverse.append(np.linalg.inv(basis))
            extent.append([panel.fs_start, panel.ss_start, panel.n_fs, panel.n_ss])
        return PanelArrays(np.array(axes), np.array(inverse), np.array(extent, np.int64))

    @property
    def n_pixels(self) -> int:
        """Number of pixels on all panels."""
        return int((self.extent[:, 2] * self.extent[:, 3]).sum())

    def largest_t(self) -> float:
        """Return the largest sin(2θ/2) that any panel reaches, slightly enlarged.

        On a flat panel in front of the sample it is found at a corner.
        """
        sides = np.array([[0, 0], [1, 0], [0, 1], [1, 1]]) * self.extent[:, None, 2:]
        points = self.axes[:, None, 0] + np.einsum("nij,njk->nik", sides, self.axes[:, 1:])
        if np.any(points[..., 2] <= 0):
            return 1.0
        half_angle = np.arctan2(np.hypot(points[..., 0], points[..., 1]), points[..., 2]) / 2
        return float(min(1.0, np.sin(half_angle).max() * 1.001))


def covers_frame(detector: Detector) -> bool:
    """Whether the panels fill the stored frame (panels do not overlap)."""
    area = sum(panel.n_fs * panel.n_ss for panel in detector)
    return area >= detector.shape[0] * detector.shape[1]


@numba.njit(cache=True, nogil=True, error_model="numpy")
def locate(inverse, extent, ux, uy, uz):  # type: ignore[no-untyped-def]
    """Return (panel, fs, ss) where a ray from the sample hits, fs and ss from the panel's corner.

    Panel -1 if it hits none.
    """
    for n in range(len(extent)):
        m = inverse[n]
        w = m[2, 0] * ux + m[2, 1] * uy + m[2, 2] * uz
        if w <= 0.0:
            continue
        fs = (m[0, 0] * ux + m[0, 1] * uy + m[0, 2] * uz) / w
        ss = (m[1, 0] * ux + m[1, 1] * uy + m[1, 2] * uz) / w
        if 0.0 <= fs < extent[n, 2] and 0.0 <= ss < extent[n, 3]:
            return n, fs, ss
    return -1, 0.0, 0.0

"""Small frames that are made up, on which code is tried, compiled or loaded."""

from __future__ import annotations

import numpy as np

from hitfinder.geometry.geometry import Geometry

SHAPE = (96, 128)
"""Shape of the frames."""

_PIXEL_M = 0.75e-3
"""Few pixels see as much of the ring of water as a detector does: it is fitted in the same way."""


def small_geometry() -> Geometry:
    """Return the geometry of what is made up."""
    return Geometry.flat(SHAPE, _PIXEL_M, camera_length_m=0.1, photon_energy_ev=6000.0)


def made_up_frames(dtype: np.dtype) -> np.ndarray:
    """Return frames with Bragg peaks and without, of all the backgrounds treated differently."""
    rng = np.random.default_rng(0)
    rows, columns = np.ogrid[: SHAPE[0], : SHAPE[1]]
    radius = np.hypot(rows - SHAPE[0] / 2, columns - SHAPE[1] / 2)
    # A ring like that of water.
    ring = np.exp(-(((radius - 45) / 20) ** 2))
    rate = np.repeat([0.003, 0.1, 3.0, 30.0], 2)[:, None, None] * ring
    frames = rng.poisson(rate).astype(dtype)
    # Few enough that it is asked of each whether it is a ray.
    frames[::2, 8:90:24, 8:120:24] += 40
    return frames

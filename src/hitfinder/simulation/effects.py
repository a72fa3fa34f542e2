"""What the detector makes of the photons: lost counts, dead and hot pixels, the beam stop."""

from __future__ import annotations

import dataclasses
import math

import numba
import numpy as np
from numpy.typing import NDArray

from hitfinder.geometry.geometry import Geometry
from hitfinder.simulation.noise import poisson
from hitfinder.simulation.rng import uniform

DTYPES = {8: np.uint8, 16: np.uint16, 32: np.uint32}
"""Type of the counts for each bit depth."""


@dataclasses.dataclass(frozen=True)
class DetectorEffects:
    """Imperfections of a counting detector.

    Parameters
    ----------
    bits : int
        8, 16 or 32: counts stop at 2^bits - 1.
    dead_fraction, hot_fraction : float
        Share of pixels that always read 0, and that count by themselves.
    hot_counts : float
        Mean counts per frame of the hottest pixels; the others' means are spread evenly in their
        logarithm from 1 on.
    most_counts : float
        Counts in a frame at which a pixel would be paralysed, 0 for no limit. Of n photons spread
        over the exposure it counts n / (1 + n / most_counts), as a counter with a fixed dead time
        does (Knoll, Radiation Detection and Measurement, chapter 4).
    one_count_per_pulse : bool
        Count at most one photon in a pixel and pulse, as a counting detector does when a pulse is
        far shorter than its dead time.

    Raises
    ------
    ValueError
        If a value is impossible.
    """

    bits: int = 16
    dead_fraction: float = 0.0
    hot_fraction: float = 0.0
    hot_counts: float = 1000.0
    most_counts: float = 0.0
    one_count_per_pulse: bool = False

    def __post_init__(self) -> None:
        if self.bits not in DTYPES:
            raise ValueError(f"bits must be 8, 16 or 32, got {self.bits}")
        shares = self.dead_fraction, self.hot_fraction
        if not (min(shares) >= 0 and sum(shares) <= 1):
            raise ValueError(f"shares of dead and hot pixels must be in 0..1, got {shares}")
        if not self.hot_counts >= 1:
            raise ValueError(f"hot_counts must be at least 1, got {self.hot_counts}")
        if not self.most_counts >= 0:
            raise ValueError(f"most_counts must not be negative, got {self.most_counts}")

    @property
    def dtype(self) -> np.dtype:
        """Type of the counts."""
        return np.dtype(DTYPES[self.bits])

    def pixels(
        self, active: NDArray[np.bool_], rng: np.random.Generator
    ) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.float64]]:
        """Choose the dead and hot pixels of a detector.

        Parameters
        ----------
        active : ndarray of bool
            Pixels that count.
        rng : numpy.random.Generator
            Source of randomness; the same for all frames of a series.

        Returns
        -------
        dead, hot : ndarray of int64
            Flat indices.
        means : ndarray of float64
            Mean counts per frame of each hot pixel.
        """
        good = np.flatnonzero(active)
        n_dead, n_hot = (round(f * good.size) for f in (self.dead_fraction, self.hot_fraction))
        if n_dead + n_hot == 0:
            return good[:0], good[:0], np.zeros(0)
        chosen = rng.choice(good, n_dead + n_hot, replace=False)
        means = np.exp(rng.uniform(0, math.log(self.hot_counts), n_hot))
        return np.sort(chosen[:n_dead]), chosen[n_dead:], means

    def apply(
        self,
        counts: NDArray[np.unsignedinteger],
        pixels: tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.float64]],
        state: NDArray[np.uint64],
        pulses: int = 1,
    ) -> None:
        """Turn photons into what the detector reads, in place.

        Parameters
        ----------
        counts : ndarray of `dtype`
            Photons per pixel, which stop at the largest value already.
        pixels : tuple
            From `pixels`.
        state : ndarray of uint64, shape (4,)
            Generator state; advanced.
        pulses : int
            Pulses summed in the frame.
        """
        flat = counts.reshape(-1)
        if self.one_count_per_pulse:
            _one_per_pulse(flat, pulses, state)
        if self.most_counts:
            _lose(flat, self.most_counts)
        dead, hot, means = pixels
        flat[dead] = 0
        _add_hot(flat, hot, means, state, np.iinfo(counts.dtype).max)


@numba.njit(cache=True, nogil=True)
def _one_per_pulse(counts, pulses, state):  # type: ignore[no-untyped-def]
    """Replace n photons by the number of pulses that n random choices hit at least once."""
    for i in range(len(counts)):
        n = counts[i]
        if n < 2:
            continue
        seen = 1
        for _ in range(n - 1):
            if uniform(state) * pulses >= seen:
                seen += 1
        counts[i] = seen


@numba.njit(cache=True, nogil=True)
def _lose(counts, most):  # type: ignore[no-untyped-def]
    for i in range(len(counts)):
        if counts[i] > 0:
            counts[i] = int(counts[i] / (1.0 + counts[i] / most) + 0.5)


@numba.njit(cache=True, nogil=True)
def _add_hot(counts, pixels, means, state, limit):  # type: ignore[no-untyped-def]
    for n in range(len(pixels)):
        counts[pixels[n]] = min(counts[pixels[n]] + poisson(means[n], state), limit)


@dataclasses.dataclass(frozen=True)
class BeamStop:
    """An opaque disc on the beam axis, and the arm that holds it.

    Parameters
    ----------
    radius_mm : float
        Radius of the shadow on the detector, in mm; 0 for no beam stop.
    arm_mm : float
        Width of the arm's shadow, in mm; 0 for none.
    arm_angle_deg : float
        Direction of the arm from x towards y, in degrees.

    Raises
    ------
    ValueError
        If a size is negative.
    """

    radius_mm: float = 0.0
    arm_mm: float = 0.0
    arm_angle_deg: float = 90.0

    def __post_init__(self) -> None:
        if not (self.radius_mm >= 0 and self.arm_mm >= 0):
            raise ValueError(f"beam stop sizes must not be negative, got {self}")

    def shadow(self, geometry: Geometry) -> NDArray[np.bool_]:
        """Return the pixels in the shadow, shape of a frame."""
        shadow = np.zeros(geometry.shape, bool)
        if self.radius_mm == self.arm_mm == 0:
            return shadow
        angle = math.radians(self.arm_angle_deg)
        for panel in geometry.detector:
            rows, columns = panel.slices
            ss = np.arange(rows.start, rows.stop)[:, None] + 0.5
            fs = np.arange(columns.start, columns.stop)[None, :] + 0.5
            x, y, z = panel.positions(fs, ss, geometry.camera_length_m)
            # The stop stands close to the sample's side of a detector at the camera length.
            x, y = (v / z * geometry.camera_length_m * 1e3 for v in (x, y))
            along = x * math.cos(angle) + y * math.sin(angle)
            across = y * math.cos(angle) - x * math.sin(angle)
            arm = (along > 0) & (np.abs(across) < self.arm_mm / 2)
            shadow[panel.slices] = (np.hypot(x, y) < self.radius_mm) | arm
        return shadow

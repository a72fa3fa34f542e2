"""What a detector that does not count makes of the photons: shared charge, noise, offsets, ADU."""

from __future__ import annotations

import dataclasses
import math

import numpy as np
from numpy.typing import NDArray

from hitfinder.geometry.detector import Detector
from hitfinder.simulation.exposure import Exposure

_NEIGHBOURS = ((0, 1), (0, -1), (1, 1), (1, -1))
"""Axis and direction of the pixels that share a photon."""

_MOST_SHARED = 0.5
"""Part of a photon that another pixel gets at most, or that pixel would be the one it fell on."""


@dataclasses.dataclass(frozen=True)
class ChargeReadOut:
    """How a charge-integrating detector reads photons.

    Parameters
    ----------
    read_noise : float
        Standard deviation of the noise of a pixel, in photons. Without it the detector counts, and
        the rest must be left out.
    common_mode : float
        Standard deviation of the offset that a panel has in a frame, in photons.
    shared_fraction : float
        Share of the photons of which a neighbouring pixel gets a part, evenly up to half.
    adu_per_photon : float
        Value of one photon.
    whole_adu : bool
        Round to whole ADU, as a converter does.

    Raises
    ------
    ValueError
        If a value is impossible.
    """

    read_noise: float = 0.0
    common_mode: float = 0.0
    shared_fraction: float = 0.0
    adu_per_photon: float = 1.0
    whole_adu: bool = False

    def __post_init__(self) -> None:
        for name in ("read_noise", "common_mode"):
            value = getattr(self, name)
            if not 0 <= value < math.inf:
                raise ValueError(f"{name} must not be negative, got {value}")
        if not 0 <= self.shared_fraction <= 1:
            raise ValueError(f"shared_fraction must be in 0..1, got {self.shared_fraction}")
        if not 0 < self.adu_per_photon < math.inf:
            raise ValueError(f"adu_per_photon must be positive, got {self.adu_per_photon}")
        others = self.common_mode, self.shared_fraction, self.adu_per_photon - 1, self.whole_adu
        if any(others) and not self.read_noise:
            raise ValueError(
                "common_mode, shared_fraction, adu_per_photon and whole_adu are of a detector with "
                "read_noise"
            )

    @property
    def counts(self) -> bool:
        """Whether the detector counts photons."""
        return not self.read_noise


class AnalogReadOut:
    """The stage of a read-out that turns counted photons into float32 values with noise.

    Parameters
    ----------
    noise : ChargeReadOut
        The read-out.
    detector : Detector
        Its panels.
    """

    def __init__(self, noise: ChargeReadOut, detector: Detector) -> None:
        self.noise, self._blocks = noise, [panel.slices for panel in detector]

    def __call__(self, exposure: Exposure) -> None:
        """Read the counts of the frame out; draws under the purpose ``read-out``."""
        rng, noise = exposure.random.generator("read-out"), self.noise
        values = self._shared(exposure.counts, rng)
        values += noise.read_noise * rng.standard_normal(values.shape, np.float32)
        for block in self._blocks:
            values[block] += np.float32(noise.common_mode * rng.standard_normal())
        values *= np.float32(noise.adu_per_photon)
        exposure.counts = np.rint(values, out=values) if noise.whole_adu else values

    def _shared(self, counts: NDArray, rng: np.random.Generator) -> NDArray[np.float32]:
        """Give neighbours their parts of some photons; what leaves a panel is lost."""
        values = counts.astype(np.float32)
        if not self.noise.shared_fraction:
            return values
        for block in self._blocks:
            photons, out = counts[block], values[block]
            shared = np.flatnonzero(photons)
            each = rng.binomial(
                photons.ravel()[shared].astype(np.int64), self.noise.shared_fraction
            )
            at = np.repeat(shared, each)
            parts = rng.uniform(0, _MOST_SHARED, at.size).astype(np.float32)
            rows, columns = np.divmod(at, photons.shape[1])
            to = np.array(_NEIGHBOURS)[rng.integers(0, len(_NEIGHBOURS), at.size)]
            np.subtract.at(out, (rows, columns), parts)
            rows += np.where(to[:, 0] == 0, to[:, 1], 0)
            columns += np.where(to[:, 0] == 1, to[:, 1], 0)
            inside = (rows >= 0) & (rows < out.shape[0]) & (columns >= 0) & (columns < out.shape[1])
            np.add.at(out, (rows[inside], columns[inside]), parts[inside])
        return values

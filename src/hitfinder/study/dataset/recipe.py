"""How a tree of frames is made: numbers of frames, protocol, beam, sample, variation."""

from __future__ import annotations

import dataclasses
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from hitfinder.study.dataset.labels import LABEL_PHOTONS
from hitfinder.study.dataset.layout import Range, Setting

INTEGRATED_SHOTS = 2000.0
"""Shots of water that reach the 4 to 22 photons per pixel of the report's water images."""


def _check_range(name: str, values: Range) -> None:
    low, high = values
    if not (0 < low <= high and np.isfinite(high)):
        raise ValueError(f"{name} must be a rising range of positive numbers, got {low:g} {high:g}")


MOST_SHOTS, MOST_SCALE = 1e9, 1e6
"""Pulses that are summed, and times that Bragg photons are taken: with more of them all counts are
at the limit of their type."""


@dataclasses.dataclass(frozen=True)
class Conditions:
    """Beam and sample, by default those of the report.

    Parameters
    ----------
    flux_photons : float
        Photons per pulse.
    beam_radius_m : float
        Radius of the uniform disc the beam fills, in m.
    crystal_size_m : float
        Edge of the crystal, in m.
    bandwidth : float
        Relative width of the top-hat spectrum.
    water_thickness_m : float
        Path of the beam in water, in m.
    background_shots : float
        Shots of water summed under one shot of Bragg peaks.
    """

    flux_photons: float = 3e8
    beam_radius_m: float = 5e-6
    crystal_size_m: float = 10e-6
    bandwidth: float = 0.01
    water_thickness_m: float = 10e-6
    background_shots: float = INTEGRATED_SHOTS

    def __post_init__(self) -> None:
        for field in dataclasses.fields(self):
            value = getattr(self, field.name)
            least = "positive" if field.name != "background_shots" else "not negative"
            if not (np.isfinite(value) and (value > 0 or (value == 0 and least != "positive"))):
                raise ValueError(f"{field.name} must be {least}, got {value:g}")
        if self.background_shots > MOST_SHOTS:
            raise ValueError(
                f"background_shots must be {MOST_SHOTS:g} at most, got {self.background_shots:g}"
            )
        if self.bandwidth >= 2:
            raise ValueError(f"bandwidth must be below 2, got {self.bandwidth:g}")


@dataclasses.dataclass(frozen=True)
class Variation:
    """What differs from shot to shot; each is drawn evenly from its range.

    Parameters
    ----------
    flux_factor, thickness_factor : tuple of float
        Factors on the photons per pulse and on the thickness of the water.
    hit_fraction : tuple of float
        Part of the beam that meets the crystal: a factor on the Bragg photons.
    energy_spread : float
        Largest relative deviation of the photon energy from its setting.
    beam_shift_px : float
        Largest shift of the beam centre along each axis, in pixels of 75 µm.
    """

    flux_factor: Range = (0.8, 1.2)
    thickness_factor: Range = (0.5, 2.0)
    hit_fraction: Range = (0.3, 1.0)
    energy_spread: float = 0.002
    beam_shift_px: float = 4.0

    def __post_init__(self) -> None:
        for name in ("flux_factor", "thickness_factor", "hit_fraction"):
            _check_range(name, getattr(self, name))
        if not 0 <= self.energy_spread < 0.5 or self.beam_shift_px < 0:
            raise ValueError("energy_spread must be in 0..0.5 and beam_shift_px not negative")


NO_VARIATION = Variation((1.0, 1.0), (1.0, 1.0), (1.0, 1.0), 0.0, 0.0)


@dataclasses.dataclass(frozen=True)
class Recipe:
    """How a tree is made.

    Parameters
    ----------
    frames : int
        Frames with peaks in each setting.
    percent_empty : float
        Frames without peaks, as a percentage of those with peaks.
    protocol : {"realistic", "paper"}
        ``realistic`` draws fresh noise for every frame and varies the shots; ``paper`` is the
        report's: one water image for all frames of a setting, which is also every empty frame.
    seed : int
        Fixes every frame, whatever the number of workers and of frames per file.
    detector : str
        Name of the detector.
    bin : int
        Pixels that are joined to one, along each axis.
    bragg_scale : tuple of float
        Range of the factor on the Bragg photons, drawn evenly in its logarithm: 1 is the report's
        normal flux, 0.001 to 0.1 its extremely low flux.
    label_photons : float
        Bragg photons from which on a pixel is labelled.
    least_spot_photons : float
        Expected photons that the brightest spot of a frame with peaks has at least, before
        `bragg_scale` and the hit fraction; crystals are drawn until one gives such a spot. At
        6 keV and 0.35 m one orientation in nine gives no spot at all, and a frame without any
        should not be called one with peaks. 0 takes every orientation.
    frames_per_file : int
        Frames in a file; 1 makes single-frame files as in the report.
    conditions : Conditions
        Beam and sample.
    variation : Variation
        What differs from shot to shot, in the realistic protocol.
    """

    frames: int
    percent_empty: float = 100.0
    protocol: Literal["realistic", "paper"] = "realistic"
    seed: int = 0
    detector: str = "eiger-4m-report"
    bin: int = 1
    bragg_scale: Range = (1.0, 1.0)
    label_photons: float = LABEL_PHOTONS
    least_spot_photons: float = 8.0
    frames_per_file: int = 100
    conditions: Conditions = dataclasses.field(default_factory=Conditions)
    variation: Variation = dataclasses.field(default_factory=Variation)

    def __post_init__(self) -> None:
        if self.frames < 1 or self.frames_per_file < 1 or self.bin < 1:
            raise ValueError("frames, frames_per_file and bin must be at least 1")
        if not 0 <= self.percent_empty <= 1e4:
            raise ValueError(f"percent_empty must be in 0..10000, got {self.percent_empty:g}")
        if self.seed < 0:
            raise ValueError(f"seed must not be negative, got {self.seed}")
        _check_range("bragg_scale", self.bragg_scale)
        if self.bragg_scale[1] > MOST_SCALE:
            raise ValueError(
                f"bragg_scale must be {MOST_SCALE:g} at most, got {self.bragg_scale[1]:g}"
            )
        if not self.label_photons > 0:
            raise ValueError(f"label_photons must be positive, got {self.label_photons:g}")
        if not 0 <= self.least_spot_photons < np.inf:
            least = self.least_spot_photons
            raise ValueError(f"least_spot_photons must not be negative, got {least:g}")

    def n_peaks(self, setting: Setting) -> int:
        """Return the number of frames with peaks in a setting."""
        return self.frames if setting.frames is None else setting.frames

    def n_frames(self, setting: Setting) -> int:
        """Return the number of frames in a setting, those without peaks included."""
        n_peaks = self.n_peaks(setting)
        return n_peaks + round(n_peaks * self.percent_empty / 100)

    def n_files(self, setting: Setting) -> int:
        """Return the number of files of a setting in each folder."""
        return -(-self.n_frames(setting) // self.frames_per_file)

    @property
    def shots(self) -> Variation:
        """What differs from shot to shot: nothing in the report's protocol."""
        return self.variation if self.protocol == "realistic" else NO_VARIATION

    def has_peaks(self, setting: Setting) -> NDArray[np.bool_]:
        """Return which frames of a setting have peaks, in an order fixed by the seed."""
        peaks = np.arange(self.n_frames(setting)) < self.n_peaks(setting)
        return np.random.default_rng([self.seed, int(setting.name)]).permutation(peaks)

    def as_dict(self) -> dict[str, Any]:
        """Return the recipe as it is read back from JSON."""
        return {key: _plain(value) for key, value in dataclasses.asdict(self).items()}


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _plain(inner) for key, inner in value.items()}
    return list(value) if isinstance(value, tuple) else value

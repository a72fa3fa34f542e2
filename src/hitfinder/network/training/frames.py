"""Training frames: background of any level and texture, Bragg photons apart from it."""

from __future__ import annotations

import dataclasses
import itertools
import math

import numba
import numpy as np
from numpy.typing import NDArray

from hitfinder.geometry.geometry import Geometry
from hitfinder.network.training.experiment import DrawnExperiment, log_uniform
from hitfinder.simulation.beam import Beam
from hitfinder.simulation.crystals import turned
from hitfinder.simulation.exposure import Exposure, ScaledSpots
from hitfinder.simulation.light import ImageLight
from hitfinder.simulation.radial import expected_image, radial_profile
from hitfinder.simulation.rng import FrameRandom, random_state
from hitfinder.simulation.scatterers import ice_cross_section_per_m3, protein_cross_section_per_m3
from hitfinder.simulation.simulator import Simulator
from hitfinder.simulation.source import SteadySource
from hitfinder.simulation.spectrum import tophat
from hitfinder.simulation.water import WaterScattering

BACKGROUND = (1e-4, 30.0)
"""Range of the mean background, in photons per pixel."""

BRIGHT_SPOT = (1.0, 300.0)
"""Range of the photons of a bright spot (the 90th percentile of a frame) over no background."""

BLANK_SHARE = 0.3
"""Share of frames without a crystal."""

_ANY_FLUENCE_M2 = 1e30
"""Photons per m² that leave no spot out; spots are scaled afterwards."""

_SATURATED = 0.03
_MOST_CRYSTALS = 6
_AREA_PX = 9.0


@dataclasses.dataclass(frozen=True, eq=False)
class TrainingFrame:
    """A frame and the truth about it.

    Attributes
    ----------
    counts : ndarray of uint16
        Photons of everything.
    bragg : ndarray of uint16
        Photons of Bragg spots among them.
    spots : ndarray, shape (n, 3)
        Of each spot that gave a photon: fs, ss (pixels, corner convention), photons.
    background : float
        Mean background, in photons per pixel.
    saturation : float, optional
        Counts at which pixels stop.
    """

    counts: NDArray[np.uint16]
    bragg: NDArray[np.uint16]
    spots: NDArray[np.float64]
    background: float
    saturation: float | None


def draw_frame(
    experiment: DrawnExperiment, rng: np.random.Generator, blank_share: float = BLANK_SHARE
) -> TrainingFrame:
    """Draw one frame of an experiment; `blank_share` of them have no crystal."""
    geometry = experiment.geometry
    beam = Beam(
        tophat(geometry.photon_energy_ev, experiment.bandwidth),
        _ANY_FLUENCE_M2,
        geometry.polarisation,
        experiment.divergence_rad,
    )
    stages = (SteadySource(beam), AnyBackground(), AnyCrystals(experiment, blank_share))
    exposure = Simulator(geometry, stages).expose(0, OneStream(rng))
    counts, bragg = np.empty(geometry.shape, np.uint16), np.zeros(geometry.shape, np.uint16)
    exposure.count_background(counts)
    spots = [np.empty((0, 3))]
    counted = exposure.count_bragg(bragg)
    for (found, _), photons in zip(exposure.spots, counted, strict=True):
        seen = photons > 0
        table = found.table[seen]
        spots.append(np.stack([table["fs"], table["ss"], photons[seen]], 1))
    counts += bragg
    saturation = None
    if rng.random() < _SATURATED:
        saturation = float(max(2, np.ceil(np.quantile(counts, 0.9999))))
        np.minimum(counts, np.uint16(saturation), out=counts)
    level = exposure.notes["level"]
    return TrainingFrame(counts, bragg, np.concatenate(spots), level, saturation)


class OneStream(FrameRandom):
    """The random numbers of a frame from the one generator of its experiment.

    Parameters
    ----------
    rng : numpy.random.Generator
        Gives all numbers; the counting is seeded from it when it is first asked for.
    """

    def __init__(self, rng: np.random.Generator) -> None:
        self._rng = rng
        self._state: NDArray[np.uint64] | None = None

    def generator(self, purpose: str) -> np.random.Generator:
        """Return the experiment's generator, for any purpose."""
        return self._rng

    def state(self, purpose: str) -> NDArray[np.uint64]:
        """Return the state of the frame's counting, for any purpose."""
        if self._state is None:
            self._state = random_state(np.random.SeedSequence(int(self._rng.integers(1 << 62))))
        return self._state


class AnyBackground:
    """A stage: background of any level, shape and texture."""

    def __call__(self, exposure: Exposure) -> None:
        """Add the background, and note its level in photons per pixel."""
        rng = exposure.random.generator("background")
        level = log_uniform(rng, *BACKGROUND)
        expected = _background(exposure.geometry, rng)
        expected *= np.float32(level / max(float(expected.mean()), 1e-30))
        exposure.background.append(ImageLight(expected))
        exposure.notes["level"] = level
        # Seeds the counting here: what is drawn of crystals comes after it in the one stream.
        exposure.random.state("background")


class AnyCrystals:
    """A stage: spots of any strength of one crystal or a few, more where each gives few.

    Parameters
    ----------
    experiment : DrawnExperiment
        The crystal.
    blank_share : float
        Share of frames without any.
    """

    def __init__(self, experiment: DrawnExperiment, blank_share: float) -> None:
        self.experiment, self.blank_share = experiment, blank_share

    def __call__(self, exposure: Exposure) -> None:
        """Add the spots, as bright as the background makes them worth learning."""
        rng, own = exposure.random.generator("bragg"), self.experiment
        if rng.random() < self.blank_share:
            return
        bright = log_uniform(rng, *BRIGHT_SPOT) * (
            1 + math.sqrt(_AREA_PX * exposure.notes["level"])
        )
        wanted, n_spots = log_uniform(rng, 1, 60), 0
        crystals = turned(
            exposure, own.factors, rng, own.size_um * 1e4, own.mosaicity_rad, own.psf_px
        )
        for spots in itertools.islice(crystals, _MOST_CRYSTALS):
            if len(spots):
                scale = bright / float(np.percentile(spots.table["photons"], 90))
                exposure.spots.append(ScaledSpots(spots, scale))
            n_spots += len(spots)
            if n_spots >= wanted:
                break


def _background(geometry: Geometry, rng: np.random.Generator) -> NDArray[np.float32]:
    """Return the expected background up to a factor: liquid, ice, air, shadows, texture."""
    water = WaterScattering(float(rng.uniform(2, 60))).cross_section_per_m3
    liquid, flat, ice, forward, protein = rng.random(5) * (
        rng.random(5) < (0.9, 0.3, 0.1, 0.4, 0.2)
    )
    width, rise = log_uniform(rng, 0.003, 0.05), log_uniform(rng, 0.02, 0.3)

    def photons_per_sr(q: NDArray[np.float64]) -> NDArray[np.float64]:
        wet = water(q)
        total = (liquid + 0.02) * wet / wet.mean() + 0.5 * forward / (1 + (q / rise) ** 2)
        if protein:
            solution = protein_cross_section_per_m3(q, 50.0, 30.0)
            total = total + protein * solution / solution.max()
        if ice:
            rings = ice_cross_section_per_m3(q, width)
            total = total + 3 * ice * rings / max(float(rings.mean()), 1e-30)
        return total

    image = expected_image(
        geometry, radial_profile(geometry, photons_per_sr), geometry.polarisation
    )
    image += np.float32(0.3 * flat * float(image.mean()))
    if rng.random() < 0.5:
        image *= _texture(image.shape, rng, log_uniform(rng, 0.01, 0.4))
    if rng.random() < 0.2:
        image *= _shadow(image.shape, rng)
    return image


def _texture(
    shape: tuple[int, int], rng: np.random.Generator, spread: float
) -> NDArray[np.float32]:
    """Return a smooth random factor around 1, `spread` the deviation of its logarithm."""
    step = log_uniform(rng, 12, 300)
    rows, columns = (int(n / step) + 3 for n in shape)
    coarse = np.exp(spread * rng.standard_normal((rows, columns))).astype(np.float32)
    return _enlarged(coarse, shape, np.float32(step))


@numba.njit(cache=True, nogil=True)
def _enlarged(coarse, shape, step):  # type: ignore[no-untyped-def]
    """Interpolate a coarse grid linearly to the pixels."""
    out = np.empty(shape, np.float32)
    line = np.empty(coarse.shape[1], np.float32)
    for i in range(shape[0]):
        row = int(i / step)
        part = np.float32(i / step - row)
        for m in range(line.size):
            line[m] = coarse[row, m] + part * (coarse[row + 1, m] - coarse[row, m])
        for j in range(shape[1]):
            column = int(j / step)
            along = np.float32(j / step - column)
            out[i, j] = line[column] + along * (line[column + 1] - line[column])
    return out


def _shadow(shape: tuple[int, int], rng: np.random.Generator) -> NDArray[np.float32]:
    """Return a factor that falls across a blurred straight edge, or in a disc."""
    ss, fs = np.ogrid[: shape[0], : shape[1]]
    at, angle = rng.random(2) * shape, rng.uniform(0, 2 * math.pi)
    if rng.random() < 0.5:
        distance = (ss - at[0]) * math.sin(angle) + (fs - at[1]) * math.cos(angle)
    else:
        distance = np.hypot(ss - at[0], fs - at[1]) - rng.uniform(20, 300)
    blur, through = log_uniform(rng, 0.5, 30), rng.uniform(0, 0.9)
    return (through + (1 - through) / (1 + np.exp(-np.clip(distance / blur, -60, 60)))).astype(
        np.float32
    )

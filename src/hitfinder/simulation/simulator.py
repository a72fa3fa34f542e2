"""Frames with their truth: stages put together."""

from __future__ import annotations

import copy
import operator
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import DTypeLike, NDArray

from hitfinder.crystal.orientation import read_orientations
from hitfinder.crystal.reflections import StructureFactors
from hitfinder.errors import ConfigError
from hitfinder.geometry.detector import Detector
from hitfinder.geometry.geometry import Geometry
from hitfinder.simulation.analog import AnalogReadOut
from hitfinder.simulation.background import Background
from hitfinder.simulation.crystals import Crystals, structure_factors
from hitfinder.simulation.detector import (
    Placement,
    ReadOut,
    described,
    named_or_read,
    read_noise_of,
)
from hitfinder.simulation.exposure import Exposure, Stage
from hitfinder.simulation.frame import TRUTH_DTYPE, SimulatedFrame, true_spots
from hitfinder.simulation.presets import dotted, load_settings
from hitfinder.simulation.rng import PURPOSES, FrameRandom
from hitfinder.simulation.settings import SimulationSettings
from hitfinder.simulation.shot import Shot
from hitfinder.simulation.source import DrawnShot, Source

N_FRAMES = 100
"""Frames of a series, if nobody says how many."""


class Simulator:
    """Makes any frame of a series from its number, stage by stage.

    `Simulator.preset` and `Simulator.of` put together the stages that settings describe; any
    others can be given, or added by `with_stages`.

    Parameters
    ----------
    geometry : Geometry
        Detector, camera length and photon energy as far as no stage changes them.
    stages : sequence of Stage
        What happens up to the detector: source, crystal, background.
    readout : sequence of Stage
        What the detector makes of the counted photons; not used without noise.
    seed : int
        Fixes every frame.
    series : tuple of int
        Tells the series from others of the same seed.
    purposes : mapping
        Numbers of the random streams, see `hitfinder.simulation.rng.FrameRandom`.
    active : ndarray of bool, shape of a frame, optional
        Pixels that count; those that the detector does not mask by default.
    dtype : type
        Of the counts.
    analog : bool
        Whether the read-out turns the counts into float32 values.
    noise : bool
        Whether to count photons; otherwise frames hold expected photons.
    min_photons : float
        Fewest expected photons of a spot in the truth.
    n : int
        Frames of the series: ``len``, indices and iteration give so many. `frame` and `frames`
        make any others too.

    Examples
    --------
    >>> import hitfinder as hf
    >>> simulator = hf.Simulator.preset("single-shot", n=3, detector="eiger2-x-500k")
    >>> len(simulator), simulator.shape
    (3, (512, 1028))
    >>> for frame, truth in simulator:
    ...     assert frame.shape == simulator.shape
    """

    def __init__(
        self,
        geometry: Geometry,
        stages: Sequence[Stage],
        readout: Sequence[Stage] = (),
        *,
        seed: int = 0,
        series: tuple[int, ...] = (),
        purposes: Mapping[str, int] = PURPOSES,
        active: NDArray[np.bool_] | None = None,
        dtype: DTypeLike = np.uint16,
        analog: bool = False,
        noise: bool = True,
        min_photons: float = 1.0,
        n: int = N_FRAMES,
    ) -> None:
        if n < 1:
            raise ConfigError(f"the number of frames must be at least 1, got {n}")
        self.geometry, self.stages, self.readout = geometry, tuple(stages), tuple(readout)
        self.seed, self.series, self.purposes = seed, series, purposes
        self.active = ~geometry.detector.full_mask if active is None else active
        self._counted_dtype = np.dtype(dtype)
        self.dtype = np.dtype(dtype if noise and not analog else np.float32)
        self.noise, self.min_photons, self.n = noise, min_photons, n
        self._off = np.flatnonzero(~self.active)

    @classmethod
    def preset(cls, name: str = "single-shot", n: int | None = None, **changes: Any) -> Simulator:
        """Return the simulator of a preset.

        Parameters
        ----------
        name : str
            One of `hitfinder.simulation.presets.PRESETS`.
        n : int, optional
            Frames of the series.
        **changes
            Settings that differ, by their last name, such as ``flux="1e8..3e8"``; ``detector``,
            ``structure`` and other names as in the settings.

        Raises
        ------
        HitfinderError
            If a setting is unknown or impossible.

        Examples
        --------
        >>> import hitfinder as hf
        >>> simulator = hf.Simulator.preset(
        ...     "single-shot", flux="1e8..3e8", detector="eiger2-x-500k"
        ... )
        >>> frame, truth = simulator[0]
        >>> frame.dtype, truth.dtype.names[:3]
        (dtype('uint16'), ('h', 'k', 'l'))
        """
        return cls.of(load_settings(preset=name, overrides=dotted(changes)), n=n)

    @classmethod
    def of(
        cls,
        settings: SimulationSettings,
        factors: StructureFactors | None = None,
        detector: Detector | None = None,
        n: int | None = None,
    ) -> Simulator:
        """Return the simulator that settings describe.

        Parameters
        ----------
        settings : SimulationSettings
            The simulation.
        factors : StructureFactors, optional
            Instead of those the settings name.
        detector : Detector, optional
            Instead of that the settings name.
        n : int, optional
            Frames of the series; a frame for each of the orientations, if the settings name a
            file of them.

        Raises
        ------
        HitfinderError
            If a file the settings name cannot be used.
        """
        factors = structure_factors(settings) if factors is None else factors
        detector = named_or_read(settings.detector.name) if detector is None else detector
        try:
            geometry, shadow, effects = described(settings, detector)
        except ValueError as error:
            raise ConfigError(str(error)) from error
        noise = read_noise_of(settings)
        path = settings.crystal.orientations
        orientations = read_orientations(path) if path else None
        stages = (
            DrawnShot(settings, factors.cell.reciprocal, orientations),
            Placement(),
            Source(settings.beam),
            Crystals(settings.crystal, factors),
            Background(settings.background),
        )
        unmasked = ~geometry.detector.full_mask
        readout: list[Stage] = [ReadOut(effects, unmasked, settings.seed)]
        if not noise.counts:
            readout.append(AnalogReadOut(noise, geometry.detector))
        simulator = cls(
            geometry, stages, readout,
            seed=settings.seed, active=unmasked & ~shadow, dtype=effects.dtype,
            analog=not noise.counts,
            noise=settings.noise, min_photons=settings.min_photons,
            n=(N_FRAMES if orientations is None else len(orientations)) if n is None else n,
        )  # fmt: skip
        # A spectrum that cannot be used is told before the first frame.
        simulator._run(simulator._start(0), stages[:3])
        return simulator

    def with_stages(self, *stages: Stage, readout: Sequence[Stage] = ()) -> Simulator:
        """Return this simulator with more stages after its own."""
        other = copy.copy(self)
        other.stages, other.readout = (*self.stages, *stages), (*self.readout, *readout)
        return other

    @property
    def shape(self) -> tuple[int, int]:
        """Rows and columns of a frame."""
        return self.geometry.shape

    def shot(self, number: int) -> Shot:
        """Draw the parameters of a frame, and nothing else."""
        exposure = self._start(number)
        for stage in self.stages:
            stage(exposure)
            if exposure.drawn is not None:
                break
        return exposure.shot

    def expose(self, number: int, random: FrameRandom | None = None) -> Exposure:
        """Return what is to be expected of a frame, before its photons are counted.

        Parameters
        ----------
        number : int
            Number of the frame, from 0.
        random : FrameRandom, optional
            Instead of the random numbers that seed, series and number fix.
        """
        return self._run(self._start(number, random), self.stages)

    def frame(self, number: int, out: NDArray | None = None) -> SimulatedFrame:
        """Simulate one frame.

        Parameters
        ----------
        number : int
            Number of the frame, from 0; with the seed it fixes everything.
        out : ndarray, optional
            Buffer of the simulator's `shape` and `dtype` to fill.

        Raises
        ------
        ConfigError
            If what was drawn for this frame is impossible together.
        ValueError
            If the buffer does not fit.
        """
        image = np.empty(self.shape, self.dtype) if out is None else out
        if image.shape != self.shape or image.dtype != self.dtype:
            raise ValueError(f"buffer must be {self.dtype} of shape {self.shape}")
        try:
            exposure = self.expose(number)
            counts = self._counted(exposure, image) if self.noise else self._expect(exposure, image)
        except ValueError as error:
            raise ConfigError(str(error), f"frame {number}") from error
        tables = [
            true_spots(spots, crystal, counted, self.min_photons)
            for crystal, (spots, counted) in enumerate(zip(exposure.spots, counts, strict=True))
        ]
        truth = np.concatenate(tables) if tables else np.empty(0, TRUTH_DTYPE)
        order = np.argsort(-truth["photons"], kind="stable")
        return SimulatedFrame(image, truth[order], exposure.drawn)

    def __len__(self) -> int:
        return self.n

    def __getitem__(self, number: int) -> tuple[NDArray, NDArray]:
        """Return the counts of a frame of the series, and its true spots."""
        index = operator.index(number)
        if not -self.n <= index < self.n:
            raise IndexError(f"frame {number} of {self.n}")
        made = self.frame(index % self.n)
        return made.counts, made.truth

    def __iter__(self) -> Iterator[tuple[NDArray, NDArray]]:
        return (self[number] for number in range(self.n))

    def frames(
        self, n: int | None = None, start: int = 0, reuse: bool = False
    ) -> Iterator[SimulatedFrame]:
        """Yield frames, for training on the fly.

        Parameters
        ----------
        n : int, optional
            Number of frames; without end if None.
        start : int
            Number of the first one.
        reuse : bool
            Give every frame in the same buffer, which the next one overwrites: faster, as large
            fresh arrays cost as much as filling them.
        """
        buffer = np.empty(self.shape, self.dtype) if reuse else None
        number = start
        while n is None or number < start + n:
            yield self.frame(number, buffer)
            number += 1

    def expected(self, number: int) -> NDArray[np.float32]:
        """Return the expected photons of a frame, without the detector's effects."""
        image = np.empty(self.shape, np.float32)
        self._expect(self.expose(number), image)
        return image

    def _start(self, number: int, random: FrameRandom | None = None) -> Exposure:
        if random is None:
            random = FrameRandom(self.seed, *self.series, number, purposes=self.purposes)
        return Exposure(number, random, self.geometry, self.active)

    def _run(self, exposure: Exposure, stages: Sequence[Stage]) -> Exposure:
        for stage in stages:
            stage(exposure)
        return exposure

    def _counted(self, exposure: Exposure, image: NDArray) -> list[NDArray[np.int64]]:
        """Count a frame and read it out; return the photons of each spot of each crystal."""
        counted = image
        if image.dtype != self._counted_dtype:
            counted = np.empty(image.shape, self._counted_dtype)
        exposure.count_background(counted)
        counted.reshape(-1)[self._off] = 0
        counts = exposure.count_bragg(counted)
        exposure.counts = counted
        self._run(exposure, self.readout)
        if exposure.counts is not image:
            image[:] = exposure.counts
        return counts

    def _expect(self, exposure: Exposure, image: NDArray) -> list[NDArray[np.int64]]:
        """Fill an image with expected photons; return those of each spot, rounded."""
        exposure.expect_background(image)
        image.reshape(-1)[self._off] = 0
        exposure.expect_bragg(image)
        return [
            np.rint(spots.table["photons"] * scale).astype(np.int64)
            for spots, scale in exposure.spots
        ]

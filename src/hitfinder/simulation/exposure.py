"""One frame in the making, and the stages that make it."""

from __future__ import annotations

import dataclasses
from typing import NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from hitfinder.crystal.reflections import StructureFactors
from hitfinder.geometry.geometry import Geometry
from hitfinder.simulation.beam import Beam, Crystal
from hitfinder.simulation.bragg import BraggSpots, bragg_spots
from hitfinder.simulation.light import Light
from hitfinder.simulation.rng import FrameRandom
from hitfinder.simulation.shot import Shot


class ScaledSpots(NamedTuple):
    """The spots of one crystal, and the factor on their photons."""

    spots: BraggSpots
    scale: float


@dataclasses.dataclass(eq=False)
class Exposure:
    """One frame in the making: what its stages have put in so far.

    Attributes
    ----------
    number : int
        Number of the frame.
    random : FrameRandom
        The random numbers of the frame.
    geometry : Geometry
        Where the detector stands in this shot, and the photon energy.
    active : ndarray of bool, shape of a frame
        Pixels that count.
    photons : float
        Photons in a pulse.
    pulses : float
        Pulses whose background the frame sums; Bragg photons are those of one pulse.
    spots : list of ScaledSpots
        Bragg spots, crystal by crystal.
    background : list of Light
        Everything else that is expected.
    notes : dict of float
        Numbers that a stage leaves for later ones and for the record.
    counts : ndarray, shape of a frame
        The frame, once its photons are counted: stages of the read-out change it.
    drawn, pulse : Shot, Beam; optional
        Set by a stage, and asked for as `shot` and `beam`.
    """

    number: int
    random: FrameRandom
    geometry: Geometry
    active: NDArray[np.bool_]
    photons: float = 0.0
    pulses: float = 1.0
    spots: list[ScaledSpots] = dataclasses.field(default_factory=list)
    background: list[Light] = dataclasses.field(default_factory=list)
    notes: dict[str, float] = dataclasses.field(default_factory=dict)
    counts: NDArray = dataclasses.field(default_factory=lambda: np.empty((0, 0), np.uint16))
    drawn: Shot | None = None
    pulse: Beam | None = None

    @property
    def shot(self) -> Shot:
        """The parameters drawn for the frame, if the settings of a simulation give them."""
        if self.drawn is None:
            raise ValueError("no stage has drawn the shot: DrawnShot comes before this one")
        return self.drawn

    @property
    def beam(self) -> Beam:
        """The pulse on its axis."""
        if self.pulse is None:
            raise ValueError("no stage has set the beam: a source comes before this one")
        return self.pulse

    def diffract(
        self,
        factors: StructureFactors,
        crystal: Crystal,
        *,
        share: float = 1.0,
        psf_px: float = 0.0,
        min_photons: float = 0.01,
    ) -> BraggSpots:
        """Return the spots of a crystal in this pulse, on this detector.

        Parameters
        ----------
        factors, crystal, psf_px, min_photons
            See `hitfinder.simulation.bragg.bragg_spots`.
        share : float
            Mean fluence on the crystal in units of that on the beam's axis.
        """
        beam = dataclasses.replace(self.beam, fluence_m2=self.beam.fluence_m2 * share)
        return bragg_spots(
            factors, self.geometry, beam, crystal,
            psf_px=psf_px, min_photons=min_photons, active=self.active,
        )  # fmt: skip

    def count_background(self, counts: NDArray[np.unsignedinteger]) -> None:
        """Fill a frame with the counted photons of the background."""
        state = self.random.state("background")
        for number, light in enumerate(self.background):
            light.count(counts, state, add=number > 0)
        if not self.background:
            counts[:] = 0

    def count_bragg(self, counts: NDArray[np.unsignedinteger]) -> list[NDArray[np.int64]]:
        """Add the counted photons of the spots to a frame; return those of each spot."""
        state = self.random.state("bragg")
        return [spots.count(counts, state, scale) for spots, scale in self.spots]

    def expect_background(self, image: NDArray[np.float32]) -> None:
        """Fill an image with the expected photons of the background."""
        for number, light in enumerate(self.background):
            light.deposit(image, add=number > 0)
        if not self.background:
            image[:] = 0

    def expect_bragg(self, image: NDArray[np.float32]) -> None:
        """Add the expected photons of the spots to an image."""
        for spots, scale in self.spots:
            spots.deposit(image, scale)


class Stage(Protocol):
    """A step of a simulation: source, crystal, background, detector, or anything else.

    Stages are called one after the other with the exposure of a frame. Before its photons are
    counted they put in what is to be expected; stages of the read-out then change its `counts`.
    Whatever they draw comes from `Exposure.random`, under a purpose of their own: so a frame
    depends on the seed and its number alone. A stage is pickled to reach the worker processes.
    """

    def __call__(self, exposure: Exposure) -> None:
        """Take a frame one step further."""

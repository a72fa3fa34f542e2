"""What the work on a run's frames has in common where the crystal is known."""

from __future__ import annotations

import abc
import contextlib
import dataclasses
import functools
import logging
from collections.abc import Callable, Iterator
from typing import Generic, Protocol, TypeVar

import numpy as np
from numpy.typing import NDArray

from hitfinder.crystal.lattice import Lattice
from hitfinder.crystal.reflections import StructureFactors
from hitfinder.errors import SourceError
from hitfinder.finding.likelihood import LikelihoodFinder
from hitfinder.geometry.geometry import Geometry
from hitfinder.io.source import FrameSource

log = logging.getLogger(__name__)

_SAME_BEAM = 1e-3
"""Relative difference of energy or camera length up to which frames share what is prepared."""


class BeamTask(Protocol):
    """A frame, and the beam it was taken with."""

    @property
    def frame(self) -> int:
        """Its number."""

    @property
    def photon_energy_ev(self) -> float:
        """Photon energy, in eV."""

    @property
    def camera_length_m(self) -> float:
        """Camera length, in m."""


TaskT = TypeVar("TaskT", bound=BeamTask)
ModelT = TypeVar("ModelT")
FoundT = TypeVar("FoundT")


@dataclasses.dataclass(frozen=True)
class CrystalWork(abc.ABC, Generic[TaskT, ModelT, FoundT]):
    """The work on any frame; see `hitfinder.executors.contract.Work`.

    The result for a frame that cannot be read is None.

    Attributes
    ----------
    source : FrameSource
        Frames, in photons.
    geometry : Geometry
        With every mask of the run.
    lattice : Lattice
        Of the crystals.
    factors : StructureFactors or None
        Their |F|², if known.
    bandwidth : float
        Relative bandwidth of the beam, full width.
    """

    source: FrameSource
    geometry: Geometry
    lattice: Lattice
    factors: StructureFactors | None
    bandwidth: float

    @abc.abstractmethod
    def model(self, geometry: Geometry) -> ModelT:
        """Prepare for the crystal in a beam."""

    @abc.abstractmethod
    def look(
        self,
        task: TaskT,
        model: ModelT,
        finder: LikelihoodFinder,
        counts: NDArray[np.int32],
        rate: NDArray[np.float64],
    ) -> list[FoundT]:
        """Return what a frame says; counts and rate are `finder.counts_and_background`."""

    @contextlib.contextmanager
    def opened(self) -> Iterator[Callable[[TaskT], list[FoundT] | None]]:
        """Return a function that does the work on a frame."""
        buffer = np.empty(self.source.shape, self.source.dtype)

        def do(task: TaskT) -> list[FoundT] | None:
            try:
                frame = self.source.read(task.frame, out=buffer)
            except SourceError as error:
                log.warning("%s", error)
                return None
            finder, model = self._prepared(
                _nearly(task.photon_energy_ev), _nearly(task.camera_length_m)
            )
            return self.look(task, model, finder, *finder.counts_and_background(frame))

        with self.source:
            yield do

    @functools.lru_cache(maxsize=4)  # noqa: B019 - lives as long as the worker
    def _prepared(self, energy_ev: float, length_m: float) -> tuple[LikelihoodFinder, ModelT]:
        geometry = dataclasses.replace(
            self.geometry, photon_energy_ev=energy_ev, camera_length_m=length_m
        )
        return LikelihoodFinder(geometry), self.model(geometry)


def _nearly(value: float) -> float:
    """Round a value of the beam on a logarithmic scale, so that nearly equal beams are one."""
    return float(np.exp(np.rint(np.log(value) / _SAME_BEAM) * _SAME_BEAM))

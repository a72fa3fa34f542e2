"""The search of all pixels of a frame for a known crystal, as `hitfinder index` does it."""

from __future__ import annotations

import dataclasses
import time

import numpy as np
from numpy.typing import NDArray

from hitfinder.crystal.lattice import Lattice
from hitfinder.crystal.reflections import StructureFactors
from hitfinder.errors import ConfigError
from hitfinder.finding.likelihood import LikelihoodFinder
from hitfinder.geometry.geometry import Geometry
from hitfinder.indexing.known.background import background_image
from hitfinder.indexing.known.crystal import KnownCrystal
from hitfinder.indexing.known.rating import rated
from hitfinder.indexing.known.search import Hypothesis, search

RIGHT_DEG = 0.5
"""Angle within which an orientation is right."""


@dataclasses.dataclass(frozen=True, eq=False)
class SearchedFrame:
    """What the pixels of a frame say of a known crystal.

    Attributes
    ----------
    found : list of Hypothesis
        Orientations as the search gives them, the best first.
    rated : list of Hypothesis
        The same as `hitfinder index` judges them, the best first.
    seconds : float
        Time of the processor.
    """

    found: list[Hypothesis]
    rated: list[Hypothesis]
    seconds: float

    @property
    def log_ratio(self) -> float:
        """Log likelihood ratio of the best orientation; 0 where none is found."""
        return self.found[0].log_ratio if self.found else 0.0


@dataclasses.dataclass(frozen=True, eq=False)
class PixelSearcher:
    """Searches frames for a crystal as `hitfinder index --structure` and `--pixels` do.

    Attributes
    ----------
    crystal : KnownCrystal
        The crystal, the detector and the beam.
    finder : LikelihoodFinder
        Tells the background.
    """

    crystal: KnownCrystal
    finder: LikelihoodFinder

    @staticmethod
    def of(lattice: Lattice, factors: StructureFactors | None, geometry: Geometry) -> PixelSearcher:
        """Prepare for a crystal.

        Parameters
        ----------
        lattice, factors
            What is known of it, see `hitfinder.suite.known_crystals.told`.
        geometry : Geometry
            Detector and beam.

        Raises
        ------
        ConfigError
            If no reflection of the crystal reaches the detector.
        """
        try:
            crystal = KnownCrystal.of(lattice, geometry, factors=factors)
        except ValueError as error:
            raise ConfigError(str(error), factors.source if factors else str(lattice)) from error
        return PixelSearcher(crystal, LikelihoodFinder(geometry))

    def __call__(self, frame: NDArray[np.integer]) -> SearchedFrame:
        """Search a frame."""
        began = time.process_time()
        counts, rate = self.finder.counts_and_background(frame)
        background = background_image(counts, self.finder.rings, rate)
        found = search(self.crystal, counts, background)
        again = rated(self.crystal, counts, background, found)
        return SearchedFrame(found, again, time.process_time() - began)

    def is_right(self, found: list[Hypothesis], axes: NDArray[np.float64]) -> bool:
        """Return whether the best orientation is that of the true reciprocal axes, in Å⁻¹."""
        if not found:
            return False
        lattice = self.crystal.lattice
        apart = lattice.angle_deg(found[0].turn @ lattice.cell.reciprocal, axes)
        return apart < RIGHT_DEG

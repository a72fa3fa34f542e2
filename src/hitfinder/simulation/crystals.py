"""Crystals: their structure factors, and the spots they give in a shot."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from hitfinder.crystal.cell import Cell
from hitfinder.crystal.compute import random_structure_factors
from hitfinder.crystal.orientation import random_rotation
from hitfinder.crystal.reflections import StructureFactors
from hitfinder.crystal.tables import load_structure_factors
from hitfinder.errors import ConfigError
from hitfinder.simulation.beam import Crystal
from hitfinder.simulation.bragg import BraggSpots
from hitfinder.simulation.exposure import Exposure, ScaledSpots
from hitfinder.simulation.rng import SERIES_KEY, frame_seed
from hitfinder.simulation.settings import CrystalSettings, SimulationSettings

_NEGLIGIBLE = 0.01
"""Expected photons below which a spot is left out of the frame."""


class Crystals:
    """The stage of the crystals that a simulation's settings describe.

    Parameters
    ----------
    settings : CrystalSettings
        What does not vary from shot to shot.
    factors : StructureFactors
        |F|² of the crystals.
    """

    def __init__(self, settings: CrystalSettings, factors: StructureFactors) -> None:
        self.settings, self.factors = settings, factors

    def __call__(self, exposure: Exposure) -> None:
        """Add the spots of each crystal of the shot."""
        own, shot = self.settings, exposure.shot
        if not shot.bragg_scale > 0:
            return
        for one in shot.crystals:
            edge = one.size_um * 1e4
            crystal = Crystal(
                axes=one.axes,
                edges_a=(edge * own.aspect[0], edge * own.aspect[1], edge * own.aspect[2]),
                shape=own.shape,
                mosaicity_rad=np.radians(one.mosaicity_deg),
                fringes=own.fringes,
            )
            spots = exposure.diffract(
                self.factors, crystal, share=one.hit_fraction, psf_px=shot.psf_px,
                min_photons=_NEGLIGIBLE / shot.bragg_scale,
            )  # fmt: skip
            exposure.spots.append(ScaledSpots(spots, shot.bragg_scale))


def turned(
    exposure: Exposure,
    factors: StructureFactors,
    rng: np.random.Generator,
    edge_a: float,
    mosaicity_rad: float = 0.0,
    psf_px: float = 0.0,
) -> Iterator[BraggSpots]:
    """Yield the spots of a cube of crystal in one random orientation after another, without end.

    Parameters
    ----------
    exposure : Exposure
        Beam and detector.
    factors : StructureFactors
        |F|² of the crystal.
    rng : numpy.random.Generator
        Source of the orientations.
    edge_a : float
        Edge of the crystal, in Å.
    mosaicity_rad, psf_px : float
        See `hitfinder.simulation.beam.Crystal` and `hitfinder.simulation.bragg.bragg_spots`.
    """
    while True:
        axes = random_rotation(rng) @ factors.cell.reciprocal
        crystal = Crystal(axes, (edge_a, edge_a, edge_a), mosaicity_rad=mosaicity_rad)
        yield exposure.diffract(factors, crystal, psf_px=psf_px)


def structure_factors(settings: SimulationSettings) -> StructureFactors:
    """Read, compute or draw the structure factors that the settings name."""
    own = settings.crystal
    try:
        cell = Cell.parse(own.cell) if own.cell else None
        if own.structure == "random":
            assert cell is not None
            rng = np.random.default_rng(frame_seed(settings.seed, SERIES_KEY, 1))
            return random_structure_factors(cell, own.space_group, rng, own.d_min_a)
        return load_structure_factors(
            own.structure,
            d_min_a=own.d_min_a,
            column=own.column or None,
            cell=cell,
            space_group_name=own.space_group or None,
        )
    except ValueError as error:
        raise ConfigError(str(error), "crystal") from error

"""The crystal of the suite's part on known crystals, and what a search is told of it."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np

from hitfinder.crystal.cell import Cell
from hitfinder.crystal.compute import random_structure_factors
from hitfinder.crystal.lattice import Lattice, lattice_of
from hitfinder.crystal.reflections import StructureFactors
from hitfinder.crystal.tables import packaged_structure_factors
from hitfinder.errors import ConfigError
from hitfinder.geometry.geometry import Geometry
from hitfinder.job.indexing.index import known_of

KNOWN = ("structure", "cell", "wrong structure", "wrong cell")
"""What a search is told: the structure, its cell alone, another structure in the same cell, or the
structure in a cell that is `WRONG_CELL` times as long along each edge."""

WRONG_CELL = 1.015
"""An error of the cell with which few crystals are found, mostly in wrong orientations."""

_OTHER_SEED, _DRAWN_SEED = 1, 2
"""Of the structure that stands for a wrong one, and of one that is drawn as none is given."""

_FINEST_A = 3.0
"""Resolution to which it is drawn: the suite's frames reach 3.3 Å in their corners."""


def crystal_of(
    structure: str | Path | None, cell: str | Path | None, space_group: str | None
) -> StructureFactors:
    """Return |F|² of the crystal that is simulated and searched.

    Parameters
    ----------
    structure : path-like, optional
        Coordinates or structure factors, as for `hitfinder.index`. Without a structure and a cell
        it is proteinase K.
    cell : str or path-like, optional
        The cell, as for `hitfinder.index`. Without a structure, one is drawn at random in it.
    space_group : str, optional
        Space group; needed where a cell is given and no structure.

    Raises
    ------
    ConfigError
        If one of them cannot be used, they contradict one another, or one is wanting.
    """
    if structure is None and cell is None:
        if space_group is not None:
            hint = "Give --cell or --structure too."
            raise ConfigError("a space group alone says no crystal", space_group, hint)
        return packaged_structure_factors()
    if structure is None and space_group is None:
        hint = "Give --space-group: a structure is drawn at random in it."
        raise ConfigError("the space group of the cell is not given", str(cell), hint)
    lattice, factors = known_of(cell, structure, space_group)
    if factors is None:
        assert space_group is not None
        rng = np.random.default_rng(_DRAWN_SEED)
        return random_structure_factors(lattice.cell, space_group, rng, _FINEST_A)
    return factors


def told(factors: StructureFactors, known: str) -> tuple[Lattice, StructureFactors | None]:
    """Return what a search is told of a crystal: a lattice, and |F|² if a structure is.

    Parameters
    ----------
    factors : StructureFactors
        The crystal's own.
    known : str
        One of `KNOWN`.
    """
    cell, group = factors.cell, factors.space_group_name
    if known == "wrong cell":
        a, b, c = (WRONG_CELL * edge for edge in (cell.a, cell.b, cell.c))
        factors = dataclasses.replace(
            factors, cell=Cell(a, b, c, cell.alpha, cell.beta, cell.gamma)
        )
    elif known == "wrong structure":
        rng = np.random.default_rng(_OTHER_SEED)
        factors = random_structure_factors(cell, group, rng, factors.d_min_a)
    lattice = lattice_of(factors.cell, group)
    return lattice, None if known == "cell" else factors


def photons_over_usual(factors: StructureFactors, geometry: Geometry) -> float:
    """Return how many Bragg photons a crystal gives on average over one of proteinase K.

    A reflection that is excited gives photons in proportion to |F|² / (V g)² (docs/physics/
    bragg.md), V being the volume of the cell; the share of orientations in which it is goes as g.

    Parameters
    ----------
    factors : StructureFactors
        |F|² of the crystal.
    geometry : Geometry
        Detector and beam: only reflections that reach the detector count.
    """
    longest = float(np.nanmax(geometry.pixels.q)) / (2 * np.pi)

    def photons(of: StructureFactors) -> float:
        table = of.expanded
        length = np.sqrt(table.inv_d_squared)
        there = length <= longest
        total = (table.f_squared[there].sum(axis=1) / length[there]).sum()
        return float(total) / of.cell.volume_a3**2

    return photons(factors) / photons(packaged_structure_factors())

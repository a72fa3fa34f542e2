"""Pulses tried out: each is simulated, searched and indexed as real frames would be."""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Callable, Iterator

import numpy as np
from numpy.typing import NDArray

from hitfinder.crystal.lattice import Lattice, lattice_of
from hitfinder.crystal.reflections import StructureFactors, unique_reflections
from hitfinder.errors import ConfigError
from hitfinder.executors.contract import Executor, results
from hitfinder.finding.registry import make_finder
from hitfinder.finding.settings import FinderSettings
from hitfinder.geometry.geometry import Geometry
from hitfinder.indexing.batch import LEAST_SCORE
from hitfinder.indexing.indexer import Indexer
from hitfinder.progress import Advance
from hitfinder.simulation.crystals import structure_factors
from hitfinder.simulation.settings import SimulationSettings
from hitfinder.simulation.simulator import Simulator
from hitfinder.simulation.workers import FrameNumber

SHELLS = 40
"""Shells of equal volume in reciprocal space, in which recorded reflections are counted."""

RIGHT_DEG = 0.5
"""Angle within which an orientation is right."""


@dataclasses.dataclass(frozen=True, eq=False)
class PulseOutcome:
    """What became of one pulse that met a crystal.

    Attributes
    ----------
    hit, indexed, right : bool
        Whether it is a hit, was indexed, and in the right orientation.
    n_peaks : int
        Peaks found.
    resolution_a : float
        Within which 95 % of them lie, in Å; NaN without peaks.
    photons : int
        On the whole detector.
    recorded : ndarray of int64, shape (SHELLS,)
        Reflections on the detector that diffracted, however weakly, by shell.
    """

    hit: bool
    indexed: bool
    right: bool
    n_peaks: int
    resolution_a: float
    photons: int
    recorded: NDArray[np.int64]


@dataclasses.dataclass(frozen=True, eq=False)
class Shells:
    """Shells of reciprocal space and the reflections in them.

    Attributes
    ----------
    edges : ndarray, shape (SHELLS + 1,)
        1/d, in Å⁻¹; between neighbours lies the same volume.
    equivalents : ndarray of int, shape (n,)
        How many reflections may be equivalent, Friedel mates included.
    unique : ndarray of int, shape (n, SHELLS)
        Unique reflections of the crystal, by the number of their equivalents.
    """

    edges: NDArray[np.float64]
    equivalents: NDArray[np.int64]
    unique: NDArray[np.int64]

    @staticmethod
    def of(factors: StructureFactors) -> Shells:
        """Return the shells to the finest resolution of a table."""
        edges = np.cbrt(np.linspace(0, factors.d_min_a**-3, SHELLS + 1))
        edges[-1] *= 1 + 1e-9
        inv_d_squared, equivalents = unique_reflections(factors)
        sizes = np.unique(equivalents)
        unique = [np.histogram(np.sqrt(inv_d_squared[equivalents == n]), edges)[0] for n in sizes]
        return Shells(edges, sizes, np.array(unique))

    @property
    def points(self) -> NDArray[np.int64]:
        """Reflections of each shell, equivalent ones included."""
        return self.equivalents @ self.unique


@dataclasses.dataclass(frozen=True, eq=False)
class PulseWork:
    """The work of trying any pulse; see `hitfinder.executors.contract.Work`.

    Attributes
    ----------
    simulator : Simulator
        Makes the frames, each with a crystal.
    factors : StructureFactors
        Of the crystal.
    finder : FinderSettings
        How peaks are found.
    bandwidth : float
        Relative bandwidth that the indexer is told.
    """

    simulator: Simulator
    factors: StructureFactors
    finder: FinderSettings
    bandwidth: float

    @contextlib.contextmanager
    def opened(self) -> Iterator[Callable[[FrameNumber], PulseOutcome]]:
        """Return a function that tries a pulse."""
        geometry = self.simulator.geometry
        find = make_finder(geometry, self.finder)
        lattice = lattice_of(self.factors.cell, self.factors.space_group_name)
        indexer = _indexer(geometry, lattice, self.bandwidth)
        edges = Shells.of(self.factors).edges
        buffer = np.empty(self.simulator.shape, self.simulator.dtype)

        def attempt(number: FrameNumber) -> PulseOutcome:
            frame = self.simulator.frame(number, buffer)
            found = find(frame.counts)
            q = geometry.scattering_vectors(found.peaks["fs"], found.peaks["ss"])
            known = np.isfinite(q).all(axis=1) & q.any(axis=1)
            best = None
            if found.hit:
                best = indexer.index(q[known], found.peaks["probability"][known])
            indexed = right = False
            if best is not None and best.score >= LEAST_SCORE:
                indexed = True
                right = any(
                    lattice.angle_deg(best.axes, crystal.axes) < RIGHT_DEG
                    for crystal in frame.shot.crystals
                )
            hkl = np.stack([frame.truth[name] for name in ("h", "k", "l")], 1)
            inv_d = np.sqrt(self.factors.cell.inv_d_squared(hkl))
            recorded, _ = np.histogram(inv_d, edges)
            return PulseOutcome(
                bool(found.hit),
                indexed,
                right,
                len(found.peaks),
                float(found.resolution_a),
                int(found.photons),
                recorded,
            )

        yield attempt


def _indexer(geometry: Geometry, lattice: Lattice, bandwidth: float) -> Indexer:
    longest = float(np.nanmax(geometry.pixels.q)) / (2 * np.pi)
    return Indexer(lattice, longest, geometry.pixel_inv_a, bandwidth)


@dataclasses.dataclass(frozen=True, eq=False)
class Trial:
    """Pulses that met a crystal, tried out.

    Attributes
    ----------
    outcomes : list of PulseOutcome
        What became of each.
    shells : Shells
        Of the crystal.
    lattice : Lattice
        The crystal's.
    geometry : Geometry
        Detector, energy and camera length.
    """

    outcomes: list[PulseOutcome]
    shells: Shells
    lattice: Lattice
    geometry: Geometry


def attempt_pulses(
    settings: SimulationSettings,
    n: int,
    finder: FinderSettings,
    executor: Executor,
    advance: Advance,
) -> Trial:
    """Simulate pulses that meet a crystal, and search and index their frames.

    Parameters
    ----------
    settings : SimulationSettings
        The experiment. Its share of blank frames does not count here.
    n : int
        Pulses.
    finder : FinderSettings
        How peaks are found.
    executor : Executor
        Has the frames tried.
    advance : Advance
        Told of each frame that is done.

    Raises
    ------
    HitfinderError
        If a setting is impossible, or names what cannot be used.
    """
    if not settings.noise:
        raise ConfigError("frames without noise have no photons to find", "--no-noise")
    factors = structure_factors(settings)
    always = dataclasses.replace(settings, blank_fraction=0.0, min_photons=0.0)
    simulator = Simulator.of(always, factors, n=n)
    bandwidth = min(settings.beam.bandwidth.nominal, 0.2)
    work = PulseWork(simulator, factors, finder, bandwidth)
    outcomes = []
    for outcome in results(executor.run(work, map(FrameNumber, range(n)), ordered=True)):
        outcomes.append(outcome)
        advance(1, f"{sum(o.hit for o in outcomes)} hits")
    lattice = lattice_of(factors.cell, factors.space_group_name)
    return Trial(outcomes, Shells.of(factors), lattice, simulator.geometry)

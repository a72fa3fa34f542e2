"""Index the frames of a run from all their pixels, the crystal being known."""

from __future__ import annotations

import contextlib
import dataclasses
import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hitfinder.crystal.lattice import Lattice
from hitfinder.crystal.reflections import StructureFactors
from hitfinder.errors import ConfigError
from hitfinder.executors.contract import Done, Executor
from hitfinder.experiment.experiment import Experiment
from hitfinder.finding.likelihood import LikelihoodFinder
from hitfinder.geometry.geometry import Geometry
from hitfinder.indexing.known.background import background_image
from hitfinder.indexing.known.chance import Chance, scrambled
from hitfinder.indexing.known.crystal import KnownCrystal
from hitfinder.indexing.known.further import without_spots
from hitfinder.indexing.known.posterior import posterior
from hitfinder.indexing.known.rating import rated
from hitfinder.indexing.known.rivals import Rivals, apart
from hitfinder.indexing.known.search import Hypothesis, search
from hitfinder.job.indexing.frames import frames_of
from hitfinder.job.indexing.work import CrystalWork
from hitfinder.progress import Advance
from hitfinder.results.run import Run

log = logging.getLogger(__name__)

CHANCE_FRAMES = 24
"""Scrambled frames from which it is learnt what chance does. A run that has fewer frames has some
of them scrambled more than once."""

LEAST_BAND = 0.01
"""Bandwidth that a beam is searched with at least: mosaic blocks that are turned by 0.1° bring as
many reflections at 3 Å onto a detector in a beam of 1 Å as a bandwidth of 1 % does, 0.1° cot θ."""

_LEAST_CHANCE_FRAMES = 5
"""Of them, which must have been read: fewer do not tell how much their best orientations vary."""


@dataclasses.dataclass(frozen=True)
class PixelTask:
    """A frame to index.

    Attributes
    ----------
    frame : int
        Its number.
    photon_energy_ev, camera_length_m : float
        Those of the frame.
    scramble : int
        Other than 0 if its counts are to be put at random places first, which this number decides.
    taken : tuple of Hypothesis
        Crystals of the frame that are known already, whose spots are left out.
    """

    frame: int
    photon_energy_ev: float
    camera_length_m: float
    scramble: int = 0
    taken: tuple[Hypothesis, ...] = ()


@dataclasses.dataclass(frozen=True)
class PixelWork(CrystalWork[PixelTask, KnownCrystal, Hypothesis]):
    """The work of indexing any frame.

    Attributes
    ----------
    mosaicity_deg : float
        Standard deviation of the turns of mosaic blocks, in degrees.
    """

    mosaicity_deg: float = 0.0

    def model(self, geometry: Geometry) -> KnownCrystal:
        """Prepare for the crystal in a beam."""
        return KnownCrystal.of(
            self.lattice,
            geometry,
            factors=self.factors,
            bandwidth=max(self.bandwidth, LEAST_BAND),
            mosaicity_deg=self.mosaicity_deg,
        )

    def look(
        self,
        task: PixelTask,
        model: KnownCrystal,
        finder: LikelihoodFinder,
        counts: NDArray[np.int32],
        rate: NDArray[np.float64],
    ) -> list[Hypothesis]:
        """Search a frame for the crystal."""
        if task.scramble:
            rng = np.random.default_rng([task.frame, task.scramble])
            counts = scrambled(counts, finder.rings, rng)
        if task.taken:
            counts = without_spots(model, counts, [one.turn for one in task.taken])
        background = background_image(counts, finder.rings, rate)
        found = rated(model, counts, background, search(model, counts, background))
        if found and not task.scramble:
            best = found[0]
            known = posterior(model, counts, background, best.turn, best.photons)
            found[0] = dataclasses.replace(best, turn=known.turn, covariance=known.covariance)
        return found


@dataclasses.dataclass(frozen=True, eq=False)
class PixelIndexed:
    """What the pixels of a frame say of the crystal.

    Attributes
    ----------
    frame : int
        Its number.
    orientations : list of Hypothesis
        The likeliest, the best first.
    score : float
        Minus log10 of the share of frames without a crystal whose best orientation is as likely,
        and stands out as much from the next best.
    log_odds : float
        Natural logarithm of the odds that there is a crystal, were half of the frames hits.
    probability : float
        That the best orientation is right, were half of the frames hits.
    probability_of_any : float
        The same if others may be right too, being those of further crystals.
    """

    frame: int
    orientations: list[Hypothesis]
    score: float
    log_odds: float
    probability: float
    probability_of_any: float

    @property
    def false_share(self) -> float:
        """Share of frames without a crystal that are as good."""
        return 10**-self.score


@dataclasses.dataclass(frozen=True, eq=False)
class Judge:
    """Says how sure orientations are.

    Attributes
    ----------
    lattice : Lattice
        Of the crystal.
    chance : Chance
        What frames without a crystal reach.
    rivals : Rivals
        What the next best orientations of a frame tell of its best.
    """

    lattice: Lattice
    chance: Chance
    rivals: Rivals

    @staticmethod
    def learnt(lattice: Lattice, blanks: Sequence[list[Hypothesis]]) -> Judge:
        """Learn from the orientations that are found in frames without a crystal."""
        ratios = [apart(lattice, found) for found in blanks]
        chance = Chance.fitted([best for best, *_ in ratios])
        return Judge(lattice, chance, Rivals.fitted(chance, ratios))

    def judged(self, frame: int, found: list[Hypothesis]) -> PixelIndexed:
        """Judge what was found in a frame."""
        ratios = apart(self.lattice, found)
        return PixelIndexed(
            frame,
            found,
            self.rivals.score(ratios),
            self.rivals.log_odds(ratios),
            self.rivals.probability(ratios),
            self.rivals.probability(ratios, several=True),
        )


@dataclasses.dataclass(frozen=True, eq=False)
class PixelSearch:
    """Searches the pixels of a run's frames for a known crystal.

    Attributes
    ----------
    run : Run
        The run, whose input files must still be there.
    experiment : Experiment
        Its frames.
    work : PixelWork
        What is done with each.
    executor : Executor
        Has the frames searched.
    show : callable
        As `hitfinder.progress.counting`.
    """

    run: Run
    experiment: Experiment
    work: PixelWork
    executor: Executor
    show: Callable[[str, int], contextlib.AbstractContextManager[Advance]]

    @staticmethod
    def of(
        run: Run,
        lattice: Lattice,
        factors: StructureFactors | None,
        *,
        bandwidth: float,
        executor: Executor,
        show: Callable[[str, int], contextlib.AbstractContextManager[Advance]],
    ) -> PixelSearch:
        """Open the frames of a run.

        Parameters
        ----------
        run, executor, show
            See the attributes.
        lattice : Lattice
            Of the crystal.
        factors : StructureFactors, optional
            Its |F|², if known.
        bandwidth : float
            Relative bandwidth of the beam, full width.

        Raises
        ------
        ConfigError
            If the run's frames cannot be found any more, or no reflection of the crystal is at
            their resolution.
        """
        experiment, geometry = frames_of(run)
        work = PixelWork(experiment.source, geometry, lattice, factors, bandwidth)
        try:
            work.model(geometry)
        except ValueError as error:
            hint = "Does the structure reach the resolution of the detector?"
            where = factors.source if factors else str(lattice)
            raise ConfigError(str(error), where, hint) from error
        return PixelSearch(run, experiment, work, executor, show)

    def of_mosaicity(self, mosaicity_deg: float) -> PixelSearch:
        """Return the same search for crystals of another mosaicity, see `PixelWork`."""
        work = dataclasses.replace(self.work, mosaicity_deg=mosaicity_deg)
        return dataclasses.replace(self, work=work)

    def best_ratios(self, rows: NDArray[np.intp], mosaicity_deg: float) -> dict[int, float]:
        """Return the log likelihood ratio of the best orientation of frames, 0 if there is none.

        Parameters
        ----------
        rows : ndarray of int
            The frames.
        mosaicity_deg : float
            As for `PixelWork`.

        Returns
        -------
        dict
            Without frames that could not be read and those that workers died of.
        """
        what = f"frames for a mosaicity of {mosaicity_deg:g}°"
        looked = self.of_mosaicity(mosaicity_deg)
        return {
            task.frame: found[0].log_ratio if found else 0.0
            for task, found in looked._searched(what, [*map(self._task, rows)])
        }

    def first(self, rows: NDArray[np.intp]) -> tuple[list[PixelIndexed], Judge]:
        """Search frames, and some whose counts are scrambled to learn what chance reaches.

        Parameters
        ----------
        rows : ndarray of int
            The frames.

        Returns
        -------
        list of PixelIndexed
            In frame order, without frames that could not be read and those that workers died of.
        Judge
            What judges them, and what is found further.

        Raises
        ------
        ConfigError
            If too few frames can be read.
        """
        blankest = _blankest(self.run)
        blanks = [
            self._task(blankest[k % len(blankest)], scramble=1 + k // len(blankest))
            for k in range(CHANCE_FRAMES)
        ]
        found: dict[int, list[Hypothesis]] = {}
        mixed: list[list[Hypothesis]] = []
        for task, best in self._searched("frames", [*blanks, *map(self._task, rows)]):
            if not task.scramble:
                found[task.frame] = best
            elif best:
                mixed.append(best)
        if len(mixed) < _LEAST_CHANCE_FRAMES:
            raise ConfigError("too few frames of the run can be read", str(self.run.folder))
        judge = Judge.learnt(self.work.lattice, mixed)
        return [judge.judged(row, found[row]) for row in sorted(found)], judge

    def further(
        self, taken: Mapping[int, Sequence[Hypothesis]], judge: Judge
    ) -> list[PixelIndexed]:
        """Search frames for one crystal more than was found in them.

        Parameters
        ----------
        taken : mapping of int to sequence of Hypothesis
            The frames, and the crystals that were found in each.
        judge : Judge
            From `first`.

        Returns
        -------
        list of PixelIndexed
            As from `first`.
        """
        tasks = [self._task(row, taken=tuple(known)) for row, known in taken.items()]
        found = {
            task.frame: best for task, best in self._searched("frames for a further crystal", tasks)
        }
        return [judge.judged(row, found[row]) for row in sorted(found)]

    def _task(self, row: int, **more: Any) -> PixelTask:
        return PixelTask(int(row), *self.experiment.of_frame(int(row)), **more)

    def _searched(
        self, what: str, tasks: Sequence[PixelTask]
    ) -> Iterator[tuple[PixelTask, list[Hypothesis]]]:
        """Yield what was done, and what was found, in order.

        Sums of what is found must not depend on which worker is the faster.
        """
        with self.show(what, len(tasks)) as advance:
            for outcome in self.executor.run(self.work, tasks, ordered=True):
                if isinstance(outcome, Done) and outcome.result is not None:
                    yield outcome.task, outcome.result
                advance(1)


def _blankest(run: Run) -> NDArray[np.intp]:
    """Return the frames that look least like hits, to be scrambled."""
    table = run.frames
    ok = np.flatnonzero(np.array(table["status"].to_pylist()) == "ok")
    score = table["score"].to_numpy()[ok]
    return ok[np.argsort(score, kind="stable")[:CHANCE_FRAMES]]

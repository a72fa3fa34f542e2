"""Index the hits of a run: the orientations of crystals whose unit cell is known."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import logging
import math
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow.parquet
from numpy.typing import NDArray
from scipy.special import expit

import hitfinder
from hitfinder.atomic import clear_unfinished, replacing
from hitfinder.crystal.cellfiles import read_lattice
from hitfinder.crystal.lattice import Lattice, lattice_of
from hitfinder.crystal.orientation import to_columns
from hitfinder.crystal.reflections import StructureFactors
from hitfinder.crystal.tables import load_structure_factors
from hitfinder.errors import ConfigError, HitfinderError, OutputError
from hitfinder.executors.choose import executor_for
from hitfinder.executors.contract import Executor
from hitfinder.executors.processes import Processes, available_cores
from hitfinder.export import tables
from hitfinder.export.solutions import write_solutions
from hitfinder.indexing.batch import LEAST_SCORE, IndexedFrame, index_frames
from hitfinder.indexing.cellfit import FittedCell
from hitfinder.indexing.indexer import USUAL_BANDWIDTH, WIDEST_BANDWIDTH
from hitfinder.indexing.known.chance import Chance
from hitfinder.indexing.known.search import Hypothesis
from hitfinder.io.lst import write_lst
from hitfinder.io.source import FrameRef
from hitfinder.job.crystalhits import JointHits, decide_by_crystal
from hitfinder.job.index_cell import HitPeaks, fit_cell
from hitfinder.job.index_pixels import PixelIndexed, Which, index_pixels
from hitfinder.job.integrate import measure_reflections
from hitfinder.job.judge_again import judge_again
from hitfinder.job.rehit import restore
from hitfinder.locks import locked
from hitfinder.progress import Advance, counting
from hitfinder.report.verdict import IndexRate
from hitfinder.results.crystalhits import CrystalEvidence
from hitfinder.results.hits import HITS_CXI, RunHits, hit_rows
from hitfinder.results.run import CRYSTALS, REFLECTIONS, STREAM, Run

if TYPE_CHECKING:
    import pyarrow as pa

log = logging.getLogger(__name__)

INFO, SOLUTIONS, LIST = "indexed.json", "indexed.sol", "indexed.lst"
TABLES = (CRYSTALS, "indexed.csv")
MOST_CRYSTALS = 16
FRAMES_PER_MEASURER = 25
"""Frames that are measured while a worker process starts."""

FRAMES_PER_WORKER = 40
"""Hits that are indexed by their peaks while a worker process starts; fewer need none."""


@dataclasses.dataclass(frozen=True)
class IndexedRun:
    """What indexing found in the hits of a run.

    Attributes
    ----------
    folder : Path
        Folder of the run.
    lattice : Lattice
        Of the crystals.
    n_hits, n_indexed, n_crystals : int
        Hits of the run, those that are indexed, and the crystals in them.
    n_by_chance : float
        Frames that would be indexed by chance: with each peak turned about the beam at random, or
        by the stated share of frames without a crystal where pixels were searched.
    n_reflections : int
        Reflections measured; 0 where intensities are not wanted or the frames are gone.
    joint_hits : JointHits, optional
        The hits by peaks and crystal together, where pixels were searched.
    cell_fit : FittedCell, optional
        The cell that the peaks fit best, if they fit any near the given one.
    """

    folder: Path
    lattice: Lattice
    n_hits: int
    n_indexed: int
    n_crystals: int
    n_by_chance: float
    n_reflections: int = 0
    joint_hits: JointHits | None = None
    cell_fit: FittedCell | None = None

    @property
    def table(self) -> pa.Table:
        """A row per crystal, in frame order: score, and reciprocal axes."""
        return pyarrow.parquet.read_table(self.folder / CRYSTALS)

    @property
    def reflections(self) -> pa.Table:
        """A row per measured reflection, in frame order."""
        return Run(self.folder).reflections

    @property
    def stream(self) -> Path:
        """The file of intensities for CrystFEL."""
        return self.folder / STREAM

    @property
    def solutions(self) -> Path:
        """The file of orientations for CrystFEL."""
        return self.folder / SOLUTIONS


def index(
    run: Run | str | os.PathLike[str],
    cell: str | os.PathLike[str] | Sequence[float] | Lattice | None = None,
    *,
    structure: str | os.PathLike[str] | None = None,
    pixels: bool = False,
    frames: Which = "near",
    false_hits: float = 0.01,
    space_group: str | None = None,
    bandwidth: float = USUAL_BANDWIDTH,
    crystals: int = 1,
    least_score: float | None = None,
    intensities: bool = True,
    workers: int | None = None,
    executor: Executor | None = None,
    csv: bool = False,
    overwrite: bool = False,
    refine_cell: bool = False,
    show: Callable[[str, int], AbstractContextManager[Advance]] = counting,
) -> IndexedRun:
    """Find the orientation of the crystal in every hit of a run, the unit cell being known.

    This is what the command ``hitfinder index`` runs. The results are written to the folder of
    the run.

    Parameters
    ----------
    run : Run, str or PathLike
        What `hitfinder.run` returned, or its folder.
    cell : str, PathLike, sequence of float or Lattice, optional
        A PDB, mmCIF, MTZ or CrystFEL ``.cell`` file, or the cell in Å and degrees. Needed unless
        `structure` is given.
    structure : str or PathLike, optional
        Coordinates (PDB, mmCIF) or structure factors (MTZ, ``.hkl``) of the crystal, from which
        all pixels of a frame are searched, those below any peak too.
    pixels : bool
        Search all pixels though only the cell is known.
    frames : {"near", "hits", "all"}
        Frames whose pixels are searched: the hits and what is nearly one, the hits, or all.
    false_hits : float
        Share of frames without a crystal that may count as indexed, where pixels are searched.
    space_group : str, optional
        Space group, before what the file says.
    bandwidth : float
        Relative bandwidth of the beam, full width.
    crystals : int
        Crystals to look for in a frame.
    least_score : float, optional
        Score from which a crystal counts as indexed; by default
        `hitfinder.indexing.batch.LEAST_SCORE`.
    intensities : bool
        Measure the reflections of every crystal.
    workers : int, optional
        Processes, at most; as many as there are cores if not given.
    executor : Executor, optional
        Has the frames indexed, instead of so many workers.
    csv : bool
        Write the table as CSV too.
    overwrite : bool
        Replace what was indexed before.
    refine_cell : bool
        Index with the cell that the peaks fit best, if it is another than the given one. Without,
        that is only said.
    show : callable
        As `hitfinder.progress.counting`, which is the default.

    Raises
    ------
    HitfinderError
        If the run has no hits or was indexed before, the cell cannot be used, or the folder
        cannot be written to.
    ValueError
        If a number is impossible.

    Examples
    --------
    >>> import hitfinder as hf
    >>> crystals = hf.index("run7", cell="proteinase.cell")
    >>> crystals.n_hits, crystals.n_indexed
    (8, 8)
    >>> crystals.table.column_names[:4]
    ['frame', 'crystal', 'indexed', 'score']
    """
    _check(bandwidth, crystals, least_score, workers)
    if not 0 < false_hits < 1:
        raise ValueError(f"false_hits must be between 0 and 1, got {false_hits}")
    lattice, factors = known_of(cell, structure, space_group)
    folder = run.folder if isinstance(run, Run) else Path(run)
    restore(folder)
    run = Run(folder)
    with locked(folder, "indexing"):
        clear_unfinished(folder)
        if (folder / INFO).exists() and not overwrite:
            hint = "Use --overwrite to replace it."
            raise OutputError("the run has been indexed before", str(folder / INFO), hint)
        fit = fit_cell(run, lattice, bandwidth)
        if refine_cell and fit is not None and fit.is_given_one_wrong:
            lattice = dataclasses.replace(lattice, cell=fit.fitted)
            factors = None if factors is None else dataclasses.replace(factors, cell=fit.fitted)
        most = workers or available_cores()
        solved: dict[int, list[NDArray[np.float64]]]
        if factors is not None or pixels:
            # A process of its own reads the files even if it is one alone: one that dies is
            # replaced.
            with contextlib.ExitStack() as stack:
                chosen = executor or stack.enter_context(Processes(most))
                done, solved = _by_pixels(
                    run, lattice, fit, factors, frames, false_hits, bandwidth, chosen, csv, show
                )
                if not intensities:
                    return done
                return _with_intensities(
                    Run(run.folder), done, factors, solved, bandwidth, chosen, csv, show
                )
        hits = run.hits()
        least = LEAST_SCORE if least_score is None else least_score
        peaks = HitPeaks.of(hits)
        indexer = peaks.indexer(lattice, bandwidth)
        found = []
        with contextlib.ExitStack() as stack:
            useful = max(1, min(most, len(hits) // FRAMES_PER_WORKER))
            chosen = executor or stack.enter_context(executor_for(useful))
            advance = stack.enter_context(show("indexing", len(hits)))
            for one in index_frames(
                indexer, peaks.frames, chosen, least_score=least, most_crystals=crystals
            ):
                found.append(one)
                advance(1)
        settings = {"bandwidth": bandwidth, "crystals": crystals, "least_score": least}
        solved = {}
        for frame in found:
            for crystal in frame.crystals:
                if crystal.score >= least:
                    solved.setdefault(frame.frame, []).append(crystal.axes)
        by_chance = sum(bool(frame.chance >= least) for frame in found)
        rows = _rows(hits, found, least)
        done = _write(run.folder, lattice, fit, solved, rows, len(found), by_chance, settings, csv)
        if not intensities:
            return done
        with contextlib.ExitStack() as stack:
            useful = max(1, min(most, len(solved) // FRAMES_PER_MEASURER))
            chosen = executor or stack.enter_context(executor_for(useful))
            return _with_intensities(run, done, None, solved, bandwidth, chosen, csv, show)


def known_of(
    cell: str | os.PathLike[str] | Sequence[float] | Lattice | None,
    structure: str | os.PathLike[str] | None,
    space_group: str | None = None,
) -> tuple[Lattice, StructureFactors | None]:
    """Return what is known of a crystal: its lattice, and |F|² if the structure is given.

    Parameters
    ----------
    cell, structure, space_group
        As for `index`.

    Raises
    ------
    ConfigError
        If neither is given, or one cannot be used.
    """
    if structure is None:
        if cell is None:
            hint = "Give --cell or --structure."
            raise ConfigError("neither a cell nor a structure is given", hint=hint)
        return read_lattice(cell, space_group), None
    given = None if cell is None else read_lattice(cell, space_group)
    path = os.fspath(structure)
    try:
        factors = load_structure_factors(
            path, cell=None if given is None else given.cell, space_group_name=space_group
        )
    except ValueError as error:
        raise ConfigError(str(error), path, "Leave out --cell to take the structure's.") from error
    lattice = given or lattice_of(factors.cell, space_group or factors.space_group_name)
    return lattice, factors


def _with_intensities(
    run: Run,
    done: IndexedRun,
    factors: StructureFactors | None,
    solved: Mapping[int, list[NDArray[np.float64]]],
    bandwidth: float,
    executor: Executor,
    csv: bool,
    show: Callable[[str, int], AbstractContextManager[Advance]],
) -> IndexedRun:
    """Measure the reflections of what was indexed, if the frames are still there."""
    if not solved:
        return done
    if bandwidth == 0:
        log.warning("no intensities are measured: that takes the bandwidth of the beam")
        return done
    try:
        measured = measure_reflections(
            run,
            done.lattice,
            factors,
            solved,
            bandwidth=bandwidth,
            executor=executor,
            csv=csv,
            show=show,
        )
    except OutputError:
        raise
    except HitfinderError as error:
        log.warning("no intensities are measured: %s", error)
        return done
    info = json.loads((done.folder / INFO).read_bytes())
    info["intensities"] = dataclasses.asdict(measured)
    _tell(done.folder, info)
    return dataclasses.replace(done, n_reflections=measured.reflections)


def _tell(folder: Path, told: Mapping[str, Any]) -> None:
    """Write ``indexed.json``."""
    with replacing(folder / INFO) as part:
        part.write_text(json.dumps(told, indent=1) + "\n", encoding="utf-8")


def _by_pixels(
    run: Run,
    lattice: Lattice,
    fit: FittedCell | None,
    factors: StructureFactors | None,
    frames: Which,
    false_hits: float,
    bandwidth: float,
    executor: Executor,
    csv: bool,
    show: Callable[[str, int], AbstractContextManager[Advance]],
) -> tuple[IndexedRun, dict[int, list[NDArray[np.float64]]]]:
    """Index from pixels, and write what was found."""
    if bandwidth == 0:
        raise ValueError("the pixels of a beam without bandwidth cannot be searched: give its own")
    found, chance = index_pixels(
        run, lattice, factors, bandwidth=bandwidth, which=frames, executor=executor, show=show
    )
    joint = _joint_hits(run, lattice, factors, found, chance, show)
    run = Run(run.folder)
    hit = run.frames["hit"].to_numpy(zero_copy_only=False)
    solved = {
        one.frame: [one.orientations[0].turn @ lattice.cell.reciprocal]
        for one in found
        if one.false_share <= false_hits and (joint is None or hit[one.frame])
    }
    settings = {
        "bandwidth": bandwidth,
        "frames": frames,
        "false_hits": false_hits,
        "structure": factors.source if factors else None,
        "least_score": chance.least(false_hits),
    }
    rows = _pixel_rows(run, lattice, found, chance, solved)
    by_chance = false_hits * len(found)
    done = _write(run.folder, lattice, fit, solved, rows, len(found), by_chance, settings, csv)
    return dataclasses.replace(done, joint_hits=joint), solved


def _joint_hits(
    run: Run,
    lattice: Lattice,
    factors: StructureFactors | None,
    found: list[PixelIndexed],
    chance: Chance,
    show: Callable[[str, int], AbstractContextManager[Advance]],
) -> JointHits | None:
    """Decide on the run's hits by peaks and crystal together, if the run can be decided on."""
    best = [one.orientations[0].log_ratio if one.orientations else -math.inf for one in found]

    def evidence(least_score: float, min_peaks: int) -> CrystalEvidence:
        return CrystalEvidence(
            np.array([one.frame for one in found], np.int64),
            np.array([chance.score(ratio) for ratio in best]),
            np.array([chance.log_odds(ratio) for ratio in best]),
            least_score,
            min_peaks,
        )

    crystal = {
        "lattice": lattice.code,
        "cell": str(lattice.cell),
        "structure": factors.source if factors else None,
        "searched": len(found),
        "chance": dataclasses.asdict(chance),
    }
    try:
        return decide_by_crystal(run, evidence, crystal, show)
    except OutputError:
        raise
    except HitfinderError as error:
        log.warning("the hits stay those by their peaks alone: %s", error)
        return None


def orientation_probability(chance: Chance, found: Sequence[Hypothesis]) -> float:
    """Return the probability of the best orientation, were half of the frames hits.

    Parameters
    ----------
    chance : Chance
        What frames without a crystal reach.
    found : sequence of Hypothesis
        Orientations, the best first.
    """
    ratios = np.array([one.log_ratio for one in found])
    share = 1 / np.exp(ratios - ratios[0]).sum()
    return float(share * expit(chance.log_odds(ratios[0])))


def turn_sigmas(covariance: NDArray[np.float64] | None) -> dict[str, float]:
    """Return the columns that say how surely an orientation is known, in degrees."""
    square = np.full(3, np.nan) if covariance is None else np.diag(covariance)
    return dict(zip(tables.TURN_SIGMAS, np.degrees(np.sqrt(square)).tolist(), strict=True))


def _pixel_rows(
    run: Run,
    lattice: Lattice,
    found: list[PixelIndexed],
    chance: Chance,
    solved: Mapping[int, Any],
) -> Iterator[dict[str, Any]]:
    """Columns of the table of crystals, a frame at a time."""
    n_peaks = run.frames["n_peaks"].to_numpy()
    for one in found:
        for best in one.orientations[:1]:
            row = {
                "frame": one.frame,
                "crystal": 0,
                "indexed": one.frame in solved,
                "score": best.log_ratio,
                "chance": chance.mode,
                "n_peaks": n_peaks[one.frame],
                "n_indexed": math.nan,
                "false_share": one.false_share,
                "photons": best.photons,
                "probability": orientation_probability(chance, one.orientations),
            } | turn_sigmas(best.covariance)
            axes = best.turn @ lattice.cell.reciprocal
            yield {name: [value] for name, value in (row | to_columns(axes)).items()}


def _check(bandwidth: float, crystals: int, least: float | None, workers: int | None) -> None:
    if not 0 <= bandwidth <= WIDEST_BANDWIDTH:
        raise ValueError(f"bandwidth must be in 0 to {WIDEST_BANDWIDTH}, got {bandwidth}")
    if not 1 <= crystals <= MOST_CRYSTALS:
        raise ValueError(f"crystals must be in 1 to {MOST_CRYSTALS}, got {crystals}")
    if least is not None and not 0 < least < math.inf:
        raise ValueError(f"least_score must be positive and finite, got {least}")
    if workers is not None and workers < 1:
        raise ValueError(f"workers must be at least 1, got {workers}")


def _write(
    folder: Path,
    lattice: Lattice,
    fit: FittedCell | None,
    solved: Mapping[int, list[NDArray[np.float64]]],
    rows: Iterator[dict[str, Any]],
    n_searched: int,
    n_by_chance: float,
    settings: dict[str, Any],
    csv: bool,
) -> IndexedRun:
    """Write the outputs, ``indexed.json`` last, and return what was found.

    Parameters
    ----------
    solved : mapping of int to list of ndarray
        For each indexed frame, the reciprocal axes of its crystals.
    """
    hits = folder / HITS_CXI
    numbers = {int(row): number for number, row in enumerate(hit_rows(folder))}
    given = [
        (FrameRef(str(hits.resolve()), f"//{numbers[frame]}"), axes)
        for frame, crystals in solved.items()
        if frame in numbers
        for axes in crystals
    ]
    n_crystals = sum(map(len, solved.values()))
    counts = {
        "hits": n_searched,
        "indexed": len(solved),
        "crystals": n_crystals,
        "by_chance": n_by_chance,
    }
    # First what says that there is an indexing: a kill must not leave parts of two.
    for old in (INFO, *TABLES, REFLECTIONS, "reflections.csv", STREAM, SOLUTIONS, LIST):
        (folder / old).unlink(missing_ok=True)
    write_solutions(folder / SOLUTIONS, lattice, given)
    write_lst(folder / LIST, list(dict.fromkeys(ref for ref, _ in given)))
    tables.write_table(folder / CRYSTALS, tables.index_schema(), rows, csv=csv)
    told = {
        "hitfinder": hitfinder.__version__,
        "lattice": {"code": lattice.code, "cell": str(lattice.cell)},
        "settings": settings,
        "counts": counts,
        "cell_fit": _fit_told(fit),
    }
    _tell(folder, told)
    judge_again(folder, IndexRate(n_searched, len(solved), n_by_chance), lattice, fit)
    return IndexedRun(
        folder, lattice, n_searched, len(solved), n_crystals, n_by_chance, cell_fit=fit
    )


def _fit_told(fit: FittedCell | None) -> dict[str, Any] | None:
    """Return what ``indexed.json`` holds of the cell that the peaks fit."""
    if fit is None:
        return None
    return dataclasses.asdict(fit) | {"given": str(fit.given), "fitted": str(fit.fitted)}


def _rows(hits: RunHits, found: list[IndexedFrame], least: float) -> Iterator[dict[str, Any]]:
    """Columns of the table of crystals, a frame at a time."""
    for number, frame in enumerate(found):
        for k, crystal in enumerate(frame.crystals):
            row = {
                "frame": frame.frame,
                "crystal": k,
                "indexed": crystal.score >= least,
                "score": crystal.score,
                "chance": frame.chance,
                "n_peaks": len(hits.peaks(number)),
                "n_indexed": crystal.belongs.sum(),
                "false_share": math.nan,
                "photons": math.nan,
                "probability": math.nan,
            } | turn_sigmas(None)
            yield {name: [value] for name, value in (row | to_columns(crystal.axes)).items()}

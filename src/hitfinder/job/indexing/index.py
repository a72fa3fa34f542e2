"""Index the hits of a run: the orientations of crystals whose unit cell is known."""

from __future__ import annotations

import contextlib
import dataclasses
import logging
import math
import os
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from pathlib import Path

from hitfinder.atomic import clear_unfinished
from hitfinder.crystal.cellfiles import read_lattice
from hitfinder.crystal.lattice import Lattice, lattice_of
from hitfinder.crystal.reflections import StructureFactors
from hitfinder.crystal.tables import load_structure_factors
from hitfinder.errors import ConfigError, HitfinderError, OutputError
from hitfinder.executors.choose import executor_for
from hitfinder.executors.contract import Executor
from hitfinder.executors.processes import Processes, available_cores
from hitfinder.indexing.indexer import USUAL_BANDWIDTH, WIDEST_BANDWIDTH
from hitfinder.indexing.known.crystal import MOST_MOSAICITY_DEG
from hitfinder.job.indexing.by_peaks import solve_by_peaks
from hitfinder.job.indexing.by_pixels import solve_by_pixels
from hitfinder.job.indexing.cell import HitPeaks, fit_cell, peaks_of
from hitfinder.job.indexing.center import fit_center
from hitfinder.job.indexing.frames import Which
from hitfinder.job.indexing.indexed import INFO, IndexedRun, Solved, with_measured, write_indexed
from hitfinder.job.indexing.integrate import measure_reflections
from hitfinder.job.rehit import restore
from hitfinder.locks import locked
from hitfinder.progress import Advance, counting
from hitfinder.results.hits import HITS_GEOM, hit_rows
from hitfinder.results.run import CRYSTALS, Run

log = logging.getLogger(__name__)

MOST_CRYSTALS = 16
FALSE_HITS = 0.01
"""Share of frames without a crystal that may count as indexed by their pixels, if none is given."""

HITS_PER_WORKER = 40
"""Hits that are indexed by their peaks while a worker process starts; fewer need none."""


def index(
    run: Run | str | os.PathLike[str],
    cell: str | os.PathLike[str] | Sequence[float] | Lattice | None = None,
    *,
    structure: str | os.PathLike[str] | None = None,
    pixels: bool = False,
    frames: Which | None = None,
    false_hits: float | None = None,
    space_group: str | None = None,
    bandwidth: float | None = None,
    mosaicity_deg: float | None = None,
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
    frames : {"near", "hits", "all"}, optional
        Frames whose pixels are searched: the hits and what is nearly one (the default), the hits,
        or all.
    false_hits : float, optional
        Share of frames without a crystal that may count as indexed, where pixels are searched; by
        default `FALSE_HITS`.
    space_group : str, optional
        Space group, before what the file says.
    bandwidth : float, optional
        Relative bandwidth of the beam, full width; by default that of the run's geometry file,
        else `hitfinder.indexing.indexer.USUAL_BANDWIDTH`.
    mosaicity_deg : float, optional
        Standard deviation of the turns of the crystals' mosaic blocks, in degrees, with which
        pixels are searched; by default that with which the brightest hits are likeliest.
    crystals : int
        Crystals to look for in a frame.
    least_score : float, optional
        Score from which a crystal counts as indexed, where peaks are indexed; by default
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
        If the run has no hits or was indexed before, the cell cannot be used, the folder
        cannot be written to, or an option is given that indexing in this way knows nothing of.
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
    _check(false_hits, bandwidth, crystals, least_score, workers)
    if mosaicity_deg is not None and not 0 <= mosaicity_deg <= MOST_MOSAICITY_DEG:
        most = f"{MOST_MOSAICITY_DEG:g}"
        raise ValueError(f"mosaicity_deg must be in 0 to {most}, got {mosaicity_deg}")
    lattice, factors = known_of(cell, structure, space_group)
    by_pixels = pixels or factors is not None
    _check_way(by_pixels, frames, false_hits, mosaicity_deg, least_score)
    folder = run.folder if isinstance(run, Run) else Path(run)
    restore(folder)
    run = Run(folder)
    bandwidth = _bandwidth(run) if bandwidth is None else bandwidth
    with locked(folder, "indexing"), contextlib.ExitStack() as stack:
        clear_unfinished(folder)
        if (folder / INFO).exists() and not overwrite:
            hint = "Use --overwrite to replace it."
            raise OutputError("the run has been indexed before", str(folder / INFO), hint)
        peaks = peaks_of(run)
        fit = None if peaks is None else fit_cell(peaks, lattice, bandwidth)
        if refine_cell and fit is not None and fit.is_given_one_wrong:
            lattice = dataclasses.replace(lattice, cell=fit.fitted)
            factors = None if factors is None else dataclasses.replace(factors, cell=fit.fitted)
        # Without a cell that indexes some of the hits, they tell of no beam centre either.
        center = None
        if peaks is not None and fit is not None:
            center = fit_center(peaks, dataclasses.replace(lattice, cell=fit.fitted), bandwidth)
        if executor is None:
            executor = stack.enter_context(_workers(folder, workers, by_pixels))
        if by_pixels:
            solved = solve_by_pixels(
                run,
                lattice,
                factors,
                frames=frames or "near",
                false_hits=FALSE_HITS if false_hits is None else false_hits,
                crystals=crystals,
                bandwidth=bandwidth,
                mosaicity_deg=mosaicity_deg,
                executor=executor,
                show=show,
            )
        else:
            solved = solve_by_peaks(
                # Those of a run without hits cannot be had, which says why.
                peaks or HitPeaks.of(run.hits()),
                lattice,
                bandwidth=bandwidth,
                crystals=crystals,
                least_score=least_score,
                executor=executor,
                show=show,
            )
        done = write_indexed(folder, lattice, fit, center, solved, csv=csv)
        if intensities and solved.crystals:
            done = _with_intensities(
                run.reread(), done, lattice, factors, solved, bandwidth, executor, csv, show
            )
    if done.n_wanting:
        log.warning(
            "%d frames could not be searched or measured, for want of a file or since workers "
            "died; the same command with --overwrite tries them again",
            done.n_wanting,
        )
    return done


def _with_intensities(
    run: Run,
    done: IndexedRun,
    lattice: Lattice,
    factors: StructureFactors | None,
    solved: Solved,
    bandwidth: float,
    executor: Executor,
    csv: bool,
    show: Callable[[str, int], AbstractContextManager[Advance]],
) -> IndexedRun:
    """Measure the reflections, if that can be done; return what was found with them."""
    if bandwidth == 0:
        log.warning("no intensities are measured: that takes the bandwidth of the beam")
        return done
    try:
        measured = measure_reflections(
            run,
            lattice,
            factors,
            solved.crystals,
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
    return with_measured(done, measured)


def _workers(folder: Path, most: int | None, by_pixels: bool) -> Executor:
    """Return as many workers as are worth their start, or none but this process."""
    most = most or available_cores()
    if by_pixels:
        # A process of its own reads the files even if it is one alone: one that dies is replaced.
        return Processes(most)
    return executor_for(max(1, min(most, len(hit_rows(folder)) // HITS_PER_WORKER)))


def search_finished(
    run: Run,
    cell: str | os.PathLike[str] | Sequence[float] | Lattice | None,
    structure: str | os.PathLike[str] | None,
    *,
    bandwidth: float | None,
    workers: int | None,
    executor: Executor | None,
    csv: bool,
    show: Callable[[str, int], AbstractContextManager[Advance]] = counting,
) -> IndexedRun | None:
    """Search the pixels of a run that has just been done for a crystal; None if it is not done.

    A run that was complete and searched before is left as it is.

    Parameters
    ----------
    run, cell, structure, bandwidth, workers, executor, csv, show
        As for `index`, whose errors it raises too.
    """
    if not run.summary.complete or (run.was_complete and (run.folder / CRYSTALS).exists()):
        return None
    return index(
        run,
        cell,
        structure=structure,
        pixels=True,
        bandwidth=bandwidth,
        workers=workers,
        executor=executor,
        csv=csv,
        overwrite=True,
        show=show,
    )


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
        If neither is given, one cannot be used, or they contradict one another.
    """
    if structure is None:
        if cell is None:
            hint = "Give --cell or --structure."
            raise ConfigError("neither a cell nor a structure is given", hint=hint)
        return read_lattice(cell, space_group), None
    given = None if cell is None else read_lattice(cell, space_group)
    path = os.fspath(structure)
    factors = load_structure_factors(
        path, cell=None if given is None else given.cell, space_group_name=space_group
    )
    try:
        lattice = given or lattice_of(factors.cell, space_group or factors.space_group_name)
    except ValueError as error:
        hint = "Leave out --space-group to take the structure's."
        raise ConfigError(str(error), path, hint) from error
    own = lattice_of(factors.cell, factors.space_group_name)
    if own.code != lattice.code:
        what = f"a {lattice.system} {lattice.centring} lattice contradicts that of the structure"
        hint = f"The structure's is {own}: give its space group, or leave out the cell."
        raise ConfigError(what, path, hint)
    return lattice, factors


def _bandwidth(run: Run) -> float:
    """Return the bandwidth that the run's geometry file says, else the usual one."""
    told = run.bandwidth
    if told is None:
        return USUAL_BANDWIDTH
    if not 0 <= told <= WIDEST_BANDWIDTH:
        what = f"a bandwidth of {told:.3g}, full width, is not within 0 to {WIDEST_BANDWIDTH}"
        raise ConfigError(what, str(run.folder / HITS_GEOM), "Give the beam's with --bandwidth.")
    log.info("bandwidth %.4g, full width, by the geometry file", told)
    return told


def _check_way(
    by_pixels: bool,
    frames: Which | None,
    false_hits: float | None,
    mosaicity_deg: float | None,
    least_score: float | None,
) -> None:
    """Refuse what says nothing to the way in which frames are indexed."""
    if by_pixels and least_score is not None:
        what = "a least score is for peaks, and the pixels of frames are searched"
        raise ConfigError(what, hint="Give the share of false hits instead.")
    searched = {"frames": frames, "false_hits": false_hits, "mosaicity_deg": mosaicity_deg}
    for name, given in searched.items():
        if not by_pixels and given is not None:
            what = f"{name} is for a search of pixels, and the peaks of hits are indexed"
            raise ConfigError(what, hint="Search pixels, by --structure or --pixels.")


def _check(
    false_hits: float | None,
    bandwidth: float | None,
    crystals: int,
    least: float | None,
    workers: int | None,
) -> None:
    if bandwidth is not None and not 0 <= bandwidth <= WIDEST_BANDWIDTH:
        raise ValueError(f"bandwidth must be in 0 to {WIDEST_BANDWIDTH}, got {bandwidth}")
    if not 1 <= crystals <= MOST_CRYSTALS:
        raise ValueError(f"crystals must be in 1 to {MOST_CRYSTALS}, got {crystals}")
    if least is not None and not 0 < least < math.inf:
        raise ValueError(f"least_score must be positive and finite, got {least}")
    if workers is not None and workers < 1:
        raise ValueError(f"workers must be at least 1, got {workers}")
    if false_hits is not None and not 0 < false_hits < 1:
        raise ValueError(f"false_hits must be between 0 and 1, got {false_hits}")
